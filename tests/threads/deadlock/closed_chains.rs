//! Chains that functions close to circles: calls that go on with what was made of themselves.

use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, Promise, first_ok, join_all};

use crate::support::{Counter, timely};

const LATE: Duration = Duration::from_secs(3600);

/// A call that goes on with what is put into the slot.
struct Loop {
    begin: Promise<()>,
    call: Future<u8>,
    slot: Arc<Mutex<Option<Future<u8>>>>,
}

impl Loop {
    fn new() -> Self {
        let (begin, future) = Promise::pair();
        let slot = Arc::new(Mutex::new(None));
        let next = Arc::clone(&slot);
        let call = future.and_then(move |()| take(&next));
        Self { begin, call, slot }
    }

    /// The same by `or_else`.
    fn by_or_else() -> Self {
        let (begin, future) = Promise::pair();
        let slot = Arc::new(Mutex::new(None));
        let next = Arc::clone(&slot);
        let failed = future.map(|()| Err::<u8, _>("again")).flatten();
        let call = failed.or_else(move |_| take(&next));
        Self { begin, call, slot }
    }
}

fn take(slot: &Mutex<Option<Future<u8>>>) -> Future<u8> {
    slot.lock().unwrap().take().expect("it was put there")
}

fn is_deadlock(error: &Error) -> bool {
    matches!(error, Error::Deadlock(text) if text.contains("itself"))
}

/// Closes the circle of a call and what `compose` makes of it; gives how that ends.
fn close(circle: Loop, compose: impl FnOnce(Future<u8>) -> Future<u8>) -> Result<u8, Error> {
    let Loop { begin, call, slot } = circle;
    let (sender, receiver) = channel();
    let composed = compose(call);
    composed.add_done_callback(move |future| sender.send(future.result().copied()).unwrap());
    *slot.lock().unwrap() = Some(composed);
    begin.set_result(()).unwrap();
    receiver.recv().unwrap()
}

type Compose = fn(Future<u8>) -> Future<u8>;

#[test]
fn a_call_that_goes_on_with_what_was_made_of_it_ends_with_deadlock() {
    let compositions: [Compose; 10] = [
        |call| call,
        |call| call.map(|n| n),
        |call| call.and_then(Future::ready).map(Ok::<_, Error>).flatten(),
        |call| Future::ready(()).and_then(move |()| call.map(|n| n)),
        |call| Future::ready(()).map(|()| Err("no")).flatten().or_else(move |_: Error| call),
        |call| join_all([call]).map(|all| all[0]),
        |call| join_all([Future::ready(7), call.map(|n| n)]).map(|all| all[1]),
        |call| first_ok([call]),
        |call| call.with_timeout(LATE),
        |call| join_all([first_ok([call.with_timeout(LATE)]).map(|n| n)]).map(|all| all[0]),
    ];
    for (index, compose) in compositions.into_iter().enumerate() {
        for circle in [Loop::new, Loop::by_or_else] {
            let ended = timely(move || close(circle(), compose));
            assert!(ended.as_ref().is_err_and(is_deadlock), "{index}: {ended:?}");
        }
    }
}

#[test]
fn what_makes_do_without_the_call_goes_on() {
    let ended = timely(|| close(Loop::new(), |call| call.or_else(|_| Future::ready(5))));
    assert_eq!(ended.unwrap(), 5);
    // The other member of a group may end later.
    let (other, pending) = Promise::pair();
    let Loop { begin, call, slot } = Loop::new();
    let either = first_ok([call, pending]);
    let (sender, receiver) = channel();
    either.add_done_callback(move |future| sender.send(future.result().copied()).unwrap());
    *slot.lock().unwrap() = Some(either);
    begin.set_result(()).unwrap();
    assert!(receiver.try_recv().is_err());
    other.set_result(6).unwrap();
    assert_eq!(receiver.try_recv().unwrap().unwrap(), 6);
}

#[test]
fn a_deadline_within_its_own_circle_harms_no_other() {
    timely(|| {
        let soon = Duration::from_millis(1);
        // At whatever moment the circle is closed: before the deadline, while it passes, after it.
        for round in 0..if cfg!(miri) { 3 } else { 200 } {
            let Loop { begin, call, slot } = Loop::new();
            let (sender, receiver) = channel();
            let limited = call.with_timeout(Duration::from_micros(round * 10));
            limited.add_done_callback(move |future| sender.send(future.result().copied()).unwrap());
            *slot.lock().unwrap() = Some(limited);
            let _ = begin.set_result(()); // or it was cancelled already
            let error = receiver.recv().unwrap().unwrap_err();
            assert!(error.is_timeout() || is_deadlock(&error), "{error}");
        }
        let (_promise, other) = Promise::<u8>::pair();
        assert!(other.with_timeout(soon).into_result().unwrap_err().is_timeout());
    });
}

#[test]
fn two_threads_that_close_one_circle_together_open_it() {
    timely(|| {
        for _ in 0..if cfg!(miri) { 5 } else { 500 } {
            let (one, other) = (Loop::new(), Loop::new());
            let (sender, receiver) = channel();
            let (of_one, of_other) = (one.call.map(|n| n), other.call.map(|n| n));
            of_one.add_done_callback(move |future| sender.send(future.result().copied()).unwrap());
            *one.slot.lock().unwrap() = Some(of_other);
            *other.slot.lock().unwrap() = Some(of_one);
            let barrier = Arc::new(Barrier::new(2));
            let threads = [one.begin, other.begin].map(|begin| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                    begin.set_result(()).unwrap();
                })
            });
            assert!(receiver.recv().unwrap().is_err_and(|error| is_deadlock(&error)));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn what_a_circle_held_is_dropped() {
    let drops = Counter::new();
    let token = drops.one();
    let ended = close(Loop::new(), move |call| {
        call.map(move |n| {
            let _token = &token;
            n
        })
    });
    assert!(ended.is_err());
    assert_eq!(drops.dropped(), 1);
}

/// No circle: a call that goes on with one that has been followed for long, and with a long one.
#[test]
fn long_chains_are_no_circles() {
    timely(|| {
        let count = if cfg!(miri) { 30 } else { 3_000 };
        let (first, mut call) = Promise::<usize>::pair();
        let mut begins = Vec::new();
        for _ in 0..count {
            let (begin, future) = Promise::pair();
            call = future.and_then(move |()| call).map(|n| n + 1);
            begins.push(begin);
        }
        begins.iter().for_each(|begin: &Promise<()>| begin.set_result(()).unwrap());
        first.set_result(0).unwrap();
        assert_eq!(call.into_result().unwrap(), count);
    });
}
