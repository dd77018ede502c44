//! Deadlines of calls: `Future::with_timeout`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolExecutor, first_ok, join_all};

use crate::support::{Counter, timely};

const SOON: Duration = Duration::from_millis(2);

const LATE: Duration = Duration::from_secs(3600);

#[test]
fn a_call_that_is_not_done_in_time_fails_and_is_cancelled() {
    timely(|| {
        let (promise, future) = Promise::<u8>::pair();
        let (held, gone) = channel::<()>();
        let begin = Instant::now();
        let limited = future.map(move |_| drop(held)).with_timeout(SOON);
        let error = limited.result().unwrap_err();
        assert!(begin.elapsed() >= SOON);
        assert!(matches!(error, Error::Timeout { unfinished: 1, total: 1 }));
        assert!(limited.done() && !limited.cancelled());
        assert!(promise.set_result(1).is_err(), "cancelled before the failure was seen");
        assert!(gone.recv().is_err());
    });
}

#[test]
fn a_call_that_ends_in_time_takes_its_deadline_with_it() {
    timely(|| {
        let (promise, future) = Promise::pair();
        let limited = future.with_timeout(LATE);
        assert!(!limited.done() && !limited.running());
        promise.set_running_or_notify_cancel().unwrap();
        assert!(limited.running() && !limited.cancel());
        promise.set_result(5).unwrap();
        assert_eq!(limited.into_result().unwrap(), 5);
    });
}

#[test]
fn failures_and_cancels_pass_through() {
    let (promise, future) = Promise::<u8>::pair();
    let limited = future.with_timeout(LATE);
    promise.set_exception(Error::raised("its own")).unwrap();
    assert!(limited.into_result().unwrap_err().to_string().contains("its own"));

    let (promise, future) = Promise::<u8>::pair();
    let limited = future.with_timeout(LATE);
    assert!(limited.cancel() && limited.cancelled());
    assert!(promise.set_result(1).is_err());
}

#[test]
fn a_running_call_goes_on_and_its_result_is_dropped() {
    timely(|| {
        let drops = Counter::new();
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let (started, starts) = channel();
        let (gate, closed) = channel::<()>();
        let token = drops.one();
        let running = pool.spawn(move || {
            started.send(()).unwrap();
            closed.recv().unwrap();
            token
        });
        starts.recv().unwrap();
        let limited = running.unwrap().with_timeout(SOON);
        assert!(limited.result().unwrap_err().is_timeout());
        assert_eq!(drops.dropped(), 0);
        gate.send(()).unwrap();
        pool.shutdown();
        assert_eq!(drops.dropped(), 1);
    });
}

#[test]
fn zero_is_up_at_once_and_the_longest_is_never() {
    let (promise, future) = Promise::<u8>::pair();
    let limited = future.with_timeout(Duration::ZERO);
    assert!(limited.done());
    assert!(limited.into_result().unwrap_err().is_timeout());
    assert!(promise.set_result(1).is_err());

    let (promise, future) = Promise::pair();
    let limited = future.with_timeout(Duration::MAX);
    promise.set_result(1).unwrap();
    assert_eq!(limited.into_result().unwrap(), 1);
    assert_eq!(Future::ready(2).with_timeout(Duration::ZERO).into_result().unwrap(), 2);
}

#[test]
fn the_earliest_of_two_deadlines_counts() {
    timely(|| {
        let (promise, future) = Promise::<u8>::pair();
        let limited = future.with_timeout(SOON).with_timeout(LATE);
        assert!(limited.into_result().unwrap_err().is_timeout());
        assert!(promise.set_result(1).is_err());
        let (promise, future) = Promise::<u8>::pair();
        let limited = future.with_timeout(LATE).with_timeout(SOON);
        assert!(limited.into_result().unwrap_err().is_timeout());
        assert!(promise.set_result(1).is_err());
    });
}

#[test]
fn a_deadline_is_a_failure_like_any_other() {
    timely(|| {
        let (_slow, future) = Promise::<u8>::pair();
        let (_other, pending) = Promise::<u8>::pair();
        let either = first_ok([future.with_timeout(SOON), Future::ready(1)]);
        assert_eq!(either.into_result().unwrap(), 1);
        let both = join_all([Future::ready(1), pending]).with_timeout(SOON);
        assert!(both.into_result().unwrap_err().is_timeout());
    });
}

/// Something that notes the thread in which it is dropped.
struct DropsIn(Sender<Option<String>>);

impl Drop for DropsIn {
    fn drop(&mut self) {
        let _ = self.0.send(thread::current().name().map(str::to_string));
    }
}

/// Sets off all that a deadline can, and gives the names of the threads in which it ran.
fn set_off(timeout: Duration) -> Vec<Option<String>> {
    let pool = ThreadPoolExecutor::new(1).unwrap();
    let (open, gate) = channel::<()>();
    let busy = pool.spawn(move || gate.recv().is_err()).unwrap();
    let (sender, receiver) = channel();
    let queued = |sender| {
        let captured = DropsIn(sender);
        pool.spawn(move || drop(captured)).unwrap()
    };
    let called = |sender: &Sender<_>| {
        let sender = sender.clone();
        move || sender.send(thread::current().name().map(str::to_string)).unwrap()
    };
    // A cancelled call drops its captures and runs a callback; an ended one runs a callback and goes on.
    let first = queued(sender.clone());
    let on_cancel = called(&sender);
    first.add_done_callback(move |_| on_cancel());
    let captured = DropsIn(sender.clone());
    let limited = join_all([first.map(move |()| drop(captured)), queued(sender.clone())])
        .with_timeout(timeout);
    let (on_end, on_failure) = (called(&sender), called(&sender));
    limited.add_done_callback(move |_| on_end());
    let last = limited.or_else(move |_| {
        on_failure();
        Future::ready(Vec::new())
    });
    assert!(last.into_result().unwrap().is_empty());
    drop(sender);
    let threads = receiver.iter().collect();
    drop(open);
    assert!(busy.into_result().unwrap());
    threads
}

#[test]
fn nothing_that_a_deadline_sets_off_runs_in_the_timer_thread() {
    timely(|| {
        // On a slow machine the time may be up before everything is added; then some runs here.
        for doublings in 0.. {
            let threads = set_off(SOON * (1 << doublings));
            assert_eq!(threads.len(), 6);
            assert!(threads.iter().all(|name| name.as_deref() != Some("concurrent-timer")));
            if threads.iter().all(|name| name.as_deref() == Some("concurrent-timeouts")) {
                break;
            }
        }
    });
}

/// The case of `with_timeout` in what follows a call whose time was up.
#[test]
fn what_a_deadline_sets_off_may_wait_for_another_deadline() {
    type Wait = fn(Future<u8>) -> Result<u8, Error>;
    let waits: [Wait; 8] = [
        |call| call.with_timeout(SOON).into_result(),
        |call| call.with_timeout(SOON).result().copied(),
        |call| call.with_timeout(SOON).map(|n| n).into_result(),
        |call| first_ok([call.with_timeout(SOON)]).into_result(),
        |call| join_all([call.with_timeout(SOON)]).into_result().map(|all| all[0]),
        |call| call.with_timeout(SOON).or_else(Err::<Future<u8>, _>).into_result(),
        |call| {
            let limited = call.with_timeout(SOON);
            limited.add_done_callback(|_| {});
            limited.into_result()
        },
        |call| {
            // Nothing that the crate knows of.
            let (sender, receiver) = channel();
            let limited = call.with_timeout(SOON);
            limited.add_done_callback(move |future| sender.send(future.result().copied()).unwrap());
            receiver.recv().unwrap()
        },
    ];
    for (index, wait) in waits.into_iter().enumerate() {
        let waited = timely(move || {
            let (_first, call) = Promise::<u8>::pair();
            let (_second, another) = Promise::<u8>::pair();
            let made = call.with_timeout(SOON).or_else(move |_| {
                let waited = wait(another);
                Future::ready(u8::from(waited.is_err()))
            });
            made.into_result()
        });
        assert_eq!(waited.unwrap(), 1, "{index}");
    }
}

#[test]
fn what_blocks_after_a_deadline_holds_up_no_other() {
    timely(|| {
        let (release, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (begun, begins) = channel();
        let (_promises, calls): (Vec<_>, Vec<_>) = (0..5).map(|_| Promise::<u8>::pair()).unzip();
        // In threads: if the time is up before the function is added, it runs, and blocks, there.
        let blocked = calls.into_iter().map(|call| {
            let (held, begun) = (Arc::clone(&held), begun.clone());
            let blocks = move |_| {
                begun.send(()).unwrap();
                let _ = held.lock().unwrap().recv();
                Future::ready(1)
            };
            thread::spawn(move || call.with_timeout(SOON).or_else(blocks).into_result())
        });
        let blocked: Vec<_> = blocked.collect();
        // All of them come to block, each in a thread.
        (0..5).for_each(|_| begins.recv().unwrap());
        let (_promise, call) = Promise::<u8>::pair();
        let limited = call.with_timeout(SOON);
        let (sender, receiver) = channel();
        limited.add_done_callback(move |_| sender.send(()).unwrap());
        receiver.recv().unwrap();
        assert!(limited.into_result().unwrap_err().is_timeout());
        drop(release);
        blocked.into_iter().for_each(|call| assert_eq!(call.join().unwrap().unwrap(), 1));
    });
}

#[test]
fn a_panic_in_what_a_deadline_sets_off_harms_no_other_deadline() {
    timely(|| {
        let (_promise, future) = Promise::<u8>::pair();
        let limited = future.with_timeout(SOON);
        limited.add_done_callback(|_| panic!("where it is run"));
        let failed = limited.or_else(|_| -> Future<u8> { panic!("there too") });
        assert!(failed.into_result().unwrap_err().to_string().contains("there too"));
        let (_promise, future) = Promise::<u8>::pair();
        assert!(future.with_timeout(SOON).into_result().unwrap_err().is_timeout());
    });
}

#[test]
fn completion_against_the_deadline_has_one_winner() {
    timely(|| {
        let rounds = if cfg!(miri) { 5 } else { 300 };
        for round in 0..rounds {
            let drops = Counter::new();
            let (promise, future) = Promise::pair();
            let limited = future.with_timeout(Duration::from_micros(round));
            let token = drops.one();
            let executor = thread::spawn(move || promise.set_result(token).is_ok());
            let result = limited.into_result();
            let completed = executor.join().unwrap();
            assert!(completed || result.is_err());
            drop(result);
            assert_eq!(drops.dropped(), 1);
        }
    });
}

#[test]
fn many_deadlines_at_once() {
    timely(|| {
        let count = if cfg!(miri) { 50 } else { 10_000 };
        let (promises, futures): (Vec<_>, Vec<_>) = (0..count).map(|_| Promise::pair()).unzip();
        let limited = futures.into_iter().map(|future| future.with_timeout(LATE));
        let all = join_all(limited.collect::<Vec<_>>());
        promises.iter().for_each(|promise| promise.set_result(1).unwrap());
        assert_eq!(all.into_result().unwrap().len(), count);
    });
}

// The error is the callback's to look at until it returns: whoever takes it out waits.
#[test]
fn a_callback_has_the_end_by_a_deadline_until_it_returns() {
    /// False if the deadline passed before there was a callback.
    fn holds() -> bool {
        let here = thread::current().id();
        let (_promise, never) = Promise::<()>::pair();
        let limited = never.with_timeout(Duration::from_millis(30));
        let (begin, begun) = channel();
        let (open, opened) = channel::<()>();
        let returns = Arc::new(AtomicBool::new(false));
        let returned = Arc::clone(&returns);
        limited.add_done_callback(move |future| {
            let in_time = thread::current().id() != here;
            begin.send(in_time).unwrap();
            if in_time {
                let _ = opened.recv();
            }
            assert!(future.result().unwrap_err().is_timeout());
            returned.store(true, Ordering::SeqCst);
        });
        let takes = thread::spawn(move || {
            let error = limited.into_result().unwrap_err();
            (error.is_timeout(), returns.load(Ordering::SeqCst))
        });
        let in_time = begun.recv().unwrap();
        for _ in 0..200 {
            thread::yield_now();
            assert!(!in_time || !takes.is_finished());
        }
        drop(open);
        assert_eq!(takes.join().unwrap(), (true, true));
        in_time
    }
    timely(|| while !holds() {});
}
