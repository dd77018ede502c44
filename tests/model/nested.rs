//! Waits inside of calls: running in place, and circles closed by several threads at once.

use std::sync::Arc;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ReturnWhen, ThreadPoolExecutor, wait};

use crate::{Outcomes, checker};

fn pool(workers: usize) -> Arc<ThreadPoolExecutor> {
    let builder = ThreadPoolExecutor::builder().max_workers(workers).thread_name_prefix("w");
    Arc::new(builder.build().unwrap())
}

/// A future that a call finds when it needs it.
type Place = Arc<checker::sync::Mutex<Option<Future<bool>>>>;

/// Waits for the future in `place`; true if that is a deadlock.
fn meets_deadlock(place: &Place) -> bool {
    let future = place.lock().unwrap().take().expect("filled before the gate opened");
    matches!(future.into_result(), Err(Error::Deadlock(_)))
}

// A circle closed by two threads at the same instant: exactly one of them is refused
#[test]
fn of_two_calls_that_wait_for_each_other_one_gets_the_error() {
    Outcomes::with_bound(Some(1), || {
        let pool = pool(2);
        let (place_a, place_b) = (Place::default(), Place::default());
        let (gate_a, open_a) = Promise::pair();
        let (gate_b, open_b) = Promise::pair();
        let seen = Arc::new(checker::sync::Mutex::new(Vec::new()));
        let call = |open: Future<()>, place: &Place, name: char| {
            let (place, seen) = (Arc::clone(place), Arc::clone(&seen));
            pool.spawn(move || {
                open.into_result().unwrap();
                let refused = meets_deadlock(&place);
                seen.lock().unwrap().push((name, refused));
                refused
            })
            .unwrap()
        };
        *place_b.lock().unwrap() = Some(call(open_a, &place_a, 'a'));
        *place_a.lock().unwrap() = Some(call(open_b, &place_b, 'b'));
        gate_a.set_result(()).unwrap();
        gate_b.set_result(()).unwrap();
        pool.shutdown();
        let mut refused: Vec<_> = seen.lock().unwrap().clone();
        refused.sort_unstable();
        assert_eq!(refused.iter().filter(|(_, refused)| *refused).count(), 1, "{refused:?}");
        refused[0].1
    })
    .assert([false, true]);
}

// A wait for all inside of a call, against its calls' ends and a cancel from outside
#[test]
fn a_wait_inside_of_a_call_sees_cancel_and_completion() {
    Outcomes::with_bound(Some(2), || {
        let pool = pool(1);
        let inner = Arc::clone(&pool);
        let (promise, awaited) = Promise::<u32>::pair();
        let call = pool.spawn(move || {
            let queued = inner.spawn(|| 1).unwrap();
            wait([&awaited, &queued], None, ReturnWhen::AllCompleted).done.len()
        });
        promise.set_result(2).unwrap();
        assert_eq!(call.unwrap().into_result().unwrap(), 2);
        pool.shutdown();
    })
    .assert([()]);
}

// A wait for callbacks closes a circle with one of them: the callback gets the error, whichever of the
// two begins to wait last, and the value is not lost.
#[test]
fn a_callback_that_waits_for_the_worker_that_takes_its_value_gets_the_error() {
    Outcomes::with_bound(Some(2), || {
        let pool = pool(1);
        let inner = Arc::clone(&pool);
        let text = Arc::new(checker::sync::Mutex::new(String::new()));
        let found = Arc::clone(&text);
        let (promise, future) = Promise::pair();
        future.add_done_callback(move |_| {
            let behind = inner.spawn(|| ()).unwrap(); // the only worker is to take the value first
            match behind.into_result() {
                Err(Error::Deadlock(text)) => *found.lock().unwrap() = text.to_string(),
                other => panic!("{other:?}"),
            }
        });
        let takes = pool.spawn(move || future.into_result()).unwrap();
        promise.set_result(7).unwrap();
        assert_eq!(takes.into_result().unwrap().unwrap(), 7);
        pool.shutdown();
        // Both waits are named, the one that closed the circle first.
        let text = text.lock().unwrap();
        let callbacks = text.find("waits for the callbacks of `a promised call`").expect("named");
        let queued = text.find("queued in w").expect("named");
        callbacks < queued
    })
    .assert([false, true]);
}
