//! The feature `trace`: what is recorded, and that it is what Chrome's format asks for.
//!
//! A program of its own: a recording is of all that its process does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use concurrent::futures::{Promise, ThreadPoolExecutor};
use concurrent::trace;
use serde_json::Value;

/// There is one recording for the whole process.
fn recorder() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn events() -> Vec<Value> {
    let mut json = Vec::new();
    trace::stop().write_json(&mut json).unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    json["traceEvents"].as_array().unwrap().clone()
}

fn named<'a>(events: &'a [Value], phase: &str, part: &str) -> Vec<&'a Value> {
    let fits = |event: &&Value| {
        event["ph"] == phase && event["name"].as_str().is_some_and(|name| name.contains(part))
    };
    events.iter().filter(fits).collect()
}

fn inner(n: u32) -> u32 {
    n + 1
}

fn outer(pool: Arc<ThreadPoolExecutor>) -> u32 {
    pool.submit(inner, 1).unwrap().into_result().unwrap()
}

#[test]
fn a_call_within_a_call_lies_inside_of_it_on_the_track_of_its_worker() {
    let _one = recorder();
    trace::start();
    let pool = ThreadPoolExecutor::builder().max_workers(1).thread_name_prefix("t\"rack");
    let pool = Arc::new(pool.build().unwrap());
    assert_eq!(pool.submit(outer, Arc::clone(&pool)).unwrap().into_result().unwrap(), 2);
    pool.shutdown();
    let events = events();

    let track = named(&events, "M", "thread_name");
    let track = track.iter().find(|event| event["args"]["name"] == "t\"rack_0").unwrap();
    let on_track = |event: &&Value| event["tid"] == track["tid"];
    let slices: Vec<&str> = events
        .iter()
        .filter(on_track)
        .filter_map(|event| match event["ph"].as_str().unwrap() {
            "B" => event["name"].as_str(),
            "E" => Some("end"),
            _ => None,
        })
        .collect();
    assert_eq!(slices, ["trace::outer", "trace::inner", "end", "end"]);
    let begun = named(&events, "B", "inner")[0];
    assert_eq!(begun["args"]["ended"], "returned");
    assert!(begun["args"]["queued_us"].is_number());
    let submitted = named(&events, "i", "submit trace::inner")[0];
    assert_eq!(submitted["tid"], track["tid"], "the worker submitted it");
    assert!(submitted["ts"].as_f64() <= begun["ts"].as_f64());
}

#[test]
fn every_kind_of_end_is_told() {
    let _one = recorder();
    trace::start();
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (started, runs) = std::sync::mpsc::channel();
    let held = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    runs.recv().unwrap();
    let cancelled = pool.spawn(|| ()).unwrap();
    assert!(cancelled.cancel());
    let panics = pool.spawn(|| panic!("on purpose")).unwrap();
    drop(open);
    let waited: Result<&(), _> = panics.result();
    assert!(waited.is_err());
    let (promise, kept) = Promise::<()>::pair();
    pool.shutdown();
    assert!(pool.spawn(|| ()).is_err());
    drop((held, pool));
    let events = events();
    drop((promise, kept));
    assert!(events.iter().all(|event| event["cat"] != "process"), "{events:?}");

    let mut ends: Vec<_> = events.iter().filter_map(|e| e["args"]["ended"].as_str()).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["cancelled", "failed", "given up", "not yet", "returned"]);
    // Queued calls go down to none.
    let queued = named(&events, "C", "queued in pool");
    assert_eq!(queued.last().unwrap()["args"]["calls"], 0);
}

#[test]
fn a_blocked_thread_tells_for_whom() {
    let _one = recorder();
    trace::start();
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let call = pool.spawn(move || gate.recv().is_err()).unwrap();
    let limit = std::time::Duration::from_millis(1);
    assert!(call.result_timeout(limit).unwrap_err().is_timeout());
    drop(open);
    assert!(call.into_result().unwrap());
    drop(pool);
    let events = events();
    let number = &named(&events, "i", "submit trace::a_blocked_thread")[0]["args"]["call"];
    let wait = named(&events, "B", "waits for trace::a_blocked_thread");
    assert_eq!(wait[0]["args"]["calls"][0], *number);
}

#[test]
fn what_was_not_recorded_is_not_there() {
    let _one = recorder();
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let before = pool.spawn(|| ()).unwrap();
    trace::start();
    before.result().unwrap();
    drop(pool);
    let events = events();
    assert!(events.iter().all(|event| event["cat"] != "call"), "{events:?}");
    let pool = ThreadPoolExecutor::new(1).unwrap();
    pool.spawn(|| ()).unwrap().result().unwrap();
    assert_eq!(format!("{:?}", trace::stop()), "Trace(0 calls)");
}

#[cfg(all(feature = "process", target_os = "linux"))]
concurrent::process_worker_hook!();

#[cfg(all(feature = "process", target_os = "linux"))]
#[test]
fn a_call_in_another_process_has_a_beginning_and_an_end() {
    let _one = recorder();
    trace::start();
    let pool = concurrent::futures::ProcessPoolExecutor::new(1).unwrap();
    assert_eq!(pool.submit(inner, 1).unwrap().into_result().unwrap(), 2);
    drop(pool);
    let events = events();
    let begun = named(&events, "b", "a call in another process");
    let ended = named(&events, "e", "a call in another process");
    assert_eq!((begun.len(), ended.len()), (1, 1));
    assert_eq!((&begun[0]["cat"], &begun[0]["id"]), (&"process".into(), &ended[0]["id"]));
    assert_eq!(begun[0]["args"]["ended"], "returned");
    assert!(begun[0]["ts"].as_f64() <= ended[0]["ts"].as_f64());
}
