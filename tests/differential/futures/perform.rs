//! Runs a program, statement by statement.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use concurrent::futures::{
    DoneAndNotDone, Executor, Future, MapOptions, Promise, ShutdownOptions, as_completed, wait,
};
use concurrent::{Error, Result};

use super::Step;
use super::world::{
    Argument, Done, FAILED, Failure, Handle, Iteration, Label, Mapping, Stepped, World, note,
    python, settle, step, watch, world,
};
use crate::mode::Mode;

/// The function of all calls.
fn run((label, body): Argument) -> Label {
    if let Err(failure) = perform(&body) {
        FAILED.replace(Some(failure));
    }
    label
}

fn some(ids: &[u32]) -> Vec<Handle> {
    world(|w| ids.iter().filter_map(|id| w.futures.get(id)).cloned().collect())
}

fn labels(handles: &[Handle]) -> String {
    let mut labels: Vec<_> = handles.iter().map(|handle| handle.label).collect();
    labels.sort_unstable();
    let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
    format!("[{}]", labels.join(","))
}

fn failure(error: &Error) -> String {
    match error {
        Error::Cancelled => "cancelled".into(),
        Error::Timeout { .. } => "timeout".into(),
        other => match other.downcast_ref::<Failure>() {
            Some(Failure(n)) => format!("failed{n}"),
            None => format!("{other:?}"),
        },
    }
}

fn outcome(result: Result<impl ToString>) -> String {
    result.map_or_else(|error| failure(&error), |value| value.to_string())
}

fn wait_for(handles: Vec<Handle>, timeout: Option<Duration>, mode: Mode) -> String {
    let DoneAndNotDone { done, not_done } = wait(handles, timeout, mode.into());
    labels(&done) + &labels(&not_done)
}

/// Whether a `wait` of this kind returns.
fn holds(handles: &[Handle], mode: Mode) -> bool {
    let done = handles.iter().filter(|handle| handle.future.done());
    let failed =
        |handle: &Handle| matches!(handle.future.exception_timeout(Duration::ZERO), Ok(Some(_)));
    match mode {
        _ if done.clone().count() == handles.len() => true,
        Mode::All => false,
        Mode::First => done.count() > 0,
        Mode::Exception => done.into_iter().any(failed),
    }
}

fn perform(steps: &[Step]) -> Done {
    for step in steps {
        perform_one(step)?;
        settle();
    }
    Ok(())
}

fn perform_one(statement: &Step) -> Done {
    match statement {
        Step::Submit { id, body } => submit(*id, body),
        Step::Promise { id } => world(|w| {
            let (promise, future) = Promise::pair();
            let label = w.label();
            w.futures.insert(*id, Handle { future: Arc::new(future), label });
            w.promises.insert(*id, label);
            w.made.insert(label, Arc::new(promise));
        }),
        Step::Start { id } => {
            if let Some((_, promise)) = promise(*id) {
                let started = promise.set_running_or_notify_cancel();
                note(format!("s{}", started.map_or("invalid", python)));
            }
        }
        Step::Set { id, failed } => {
            if let Some((label, promise)) = promise(*id) {
                complete(label, &promise, *failed);
            }
        }
        Step::Cancel { id } => {
            for handle in some(&[*id]) {
                let cancelled = handle.future.cancel();
                note(format!("c{}", python(cancelled)));
            }
        }
        Step::Look { id } => some(&[*id]).iter().for_each(|handle| look(&handle.future)),
        Step::Callback { id, tag, body } => {
            for handle in some(&[*id]) {
                callback(&handle, *tag, body.clone());
                note("B");
            }
        }
        Step::Wait { ids, mode } => {
            note(format!("w{}", wait_for(some(ids), Some(Duration::ZERO), *mode)));
        }
        Step::Block { ids, mode } => {
            let (handles, mode) = (some(ids), *mode);
            let waited = handles.clone();
            watch(
                move || format!("W{}", wait_for(waited, None, mode)),
                move || holds(&handles, mode),
            );
        }
        Step::Await { id } => {
            for handle in some(&[*id]) {
                let waited = handle.clone();
                watch(
                    move || format!("R{}", outcome(waited.future.result())),
                    move || handle.future.done(),
                );
            }
        }
        Step::Open { key, ids } => open(*key, &some(ids)),
        Step::Pull { key } => pull(*key),
        Step::Map { key, bodies, late } => map(*key, bodies, *late),
        Step::Next { key } => next(*key),
        Step::Unmap { key } => drop(world(|w| w.maps.remove(key))),
        Step::Advance => drop(step()),
        Step::Shutdown { cancel } => {
            Stepped.shutdown_with(ShutdownOptions::new().cancel_futures(*cancel));
        }
        Step::Fail { n } => return Err(Failure(*n)),
    }
    Ok(())
}

fn submit(id: u32, body: &[Step]) {
    let label = world(World::label);
    match Executor::submit(&Stepped, run, (label, body.to_vec())) {
        Ok(future) => world(|w| {
            let handle = Handle { future: Arc::new(future), label };
            w.shared.insert(label, handle.clone());
            w.futures.insert(id, handle);
            w.promises.remove(&id);
        }),
        Err(_) => note("refused"),
    }
}

fn promise(id: u32) -> Option<(Label, Arc<Promise<Label>>)> {
    world(|w| {
        let label = *w.promises.get(&id)?;
        Some((label, Arc::clone(&w.made[&label])))
    })
}

fn complete(label: Label, promise: &Promise<Label>, failed: bool) {
    let completed = if failed {
        promise.set_exception(Error::raised(Failure(label)))
    } else {
        promise.set_result(label)
    };
    note(if completed.is_ok() { "p" } else { "pinvalid" });
}

fn look(future: &Future<Label>) {
    let digit = u8::from;
    let (cancelled, running, done) = (future.cancelled(), future.running(), future.done());
    note(format!("l{}{}{}", digit(cancelled), digit(running), digit(done)));
    note(format!("o{}", outcome(future.result_timeout(Duration::ZERO))));
    let exception = future.exception_timeout(Duration::ZERO);
    note(format!("e{}", outcome(exception.map(|error| error.map_or("None".into(), failure)))));
}

fn callback(handle: &Handle, tag: u32, body: Vec<Step>) {
    let label = handle.label;
    handle.future.add_done_callback(move |_| {
        settle();
        note(format!("b{tag}:{label}"));
        if let Err(failure) = perform(&body) {
            resume_unwind(Box::new(failure)); // a panic that prints nothing
        }
    });
}

fn open(key: u32, handles: &[Handle]) {
    let (begun, future) = Promise::pair();
    begun.set_result(0).expect("nobody else completes it");
    let first = Handle { future: Arc::new(future), label: 0 };
    let mut iterator = as_completed(handles.iter().chain([&first]).cloned());
    let over: BTreeMap<_, _> = handles.iter().map(|h| (h.label, h.clone())).collect();
    let taken = over.values().filter(|handle| handle.future.done()).count();
    let ready: Vec<_> = iterator.by_ref().take(taken + 1).collect();
    note(format!("O{}", labels(&ready)));
    let iteration = Iteration { iterator, over, taken };
    drop(world(|w| w.iterators.insert(key, iteration)));
}

fn pull(key: u32) {
    let Some(mut iteration) = world(|w| w.iterators.remove(&key)) else { return };
    let Iteration { iterator, over, taken } = &mut iteration;
    if *taken == over.len() {
        note(iterator.next().map_or("iend".into(), |handle| format!("i{}", handle.label)));
    } else if *taken < over.values().filter(|handle| handle.future.done()).count() {
        *taken += 1;
        let next = iterator.next().expect("not all were taken");
        note(format!("i{}", next.label));
    }
    world(|w| w.iterators.insert(key, iteration));
}

fn map(key: u32, bodies: &[Vec<Step>], late: bool) {
    let items: Vec<_> = bodies.iter().map(|body| (world(World::label), body.clone())).collect();
    drop(world(|w| w.maps.remove(&key)));
    let left = items.iter().map(|(label, _)| *label).collect();
    let mut results = if late {
        let options = MapOptions::new().timeout(Duration::ZERO);
        match Stepped.map_with(options, run, items) {
            Ok(results) => results,
            // As in Python.
            Err(error) => {
                assert!(matches!(error, Error::Shutdown), "{error}");
                return note("refused");
            }
        }
    } else {
        Executor::map(&Stepped, run, items)
    };
    if world(|w| w.closed) && !bodies.is_empty() {
        // Departure: the refusal of `map` comes out of the iterator.
        let refusal = results.next();
        assert!(matches!(refusal, Some(Err(Error::Shutdown))), "{refusal:?}");
        return note("refused");
    }
    world(|w| {
        w.next_serial += 1;
        let serial = w.next_serial;
        w.maps.insert(key, Mapping { results, left, late, serial })
    });
}

fn next(key: u32) {
    let look = |w: &mut World| {
        let mapping = w.maps.get(&key)?;
        let first = mapping.left.front();
        let ready = mapping.late || first.is_none_or(|label| w.ended.contains(label));
        Some((mapping.serial, ready))
    };
    let Some((serial, mut ready)) = world(look) else { return };
    while !ready {
        if !step() {
            return note("busy");
        }
        // What was done meanwhile may have ended it, or gone on with it.
        match world(look) {
            Some((now, is_ready)) if now == serial => ready = is_ready,
            _ => return,
        }
    }
    let Some(mut mapping) = world(|w| w.maps.remove(&key)) else { return };
    let result = mapping.results.next();
    let Some(label) = mapping.left.pop_front() else {
        note(result.map_or("mend".into(), |result| format!("m{}", outcome(result))));
        return drop(world(|w| w.maps.insert(key, mapping)));
    };
    let result = outcome(result.expect("a call is left"));
    note(format!("m{result}"));
    // Departure: it goes on after an error. It is given up here on both sides.
    if result == label.to_string() {
        world(|w| w.maps.insert(key, mapping));
    }
}

/// Runs `program` and gives its trace.
pub(super) fn main(program: &[Step]) -> Vec<String> {
    drop(world(std::mem::take)); // of one that panicked
    for statement in program {
        if let Err(Failure(n)) = perform(std::slice::from_ref(statement)) {
            note(format!("f{n}"));
        }
    }
    // To the end of everything, so that no thread is left waiting.
    let mut last = 0;
    loop {
        if !step() {
            let next = world(|w| w.made.range(last + 1..).next().map(|(n, p)| (*n, Arc::clone(p))));
            let Some((label, promise)) = next else { break };
            complete(label, &promise, false);
            last = label;
        }
        settle();
    }
    note(format!("left{}", world(|w| w.watchers.len())));
    world(std::mem::take).trace
}
