//! `future.await`: no lost wake-up, and no waker kept longer than it is needed.

use std::future::{Future as _, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use concurrent::Error;
use concurrent::futures::Promise;

use crate::support::{
    Counted, Counter, cancelled, failed, finished, pending, pool, rounds, tick, timely,
};

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: IntoFuture>(task: F) -> F::Output {
    let mut task = pin!(task.into_future());
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        tick(&self.0);
    }
}

#[test]
fn a_call_on_a_pool_can_be_awaited() {
    timely(|| {
        let pool = pool(2);
        for n in 0..rounds(3_000) {
            let call = pool.spawn(move || n * 2).unwrap();
            assert_eq!(block_on(async { call.await }).unwrap(), n * 2);
        }
    });
}

#[test]
fn every_kind_of_end_can_be_awaited() {
    assert_eq!(block_on(finished(1).1).unwrap(), 1);
    assert!(block_on(cancelled::<()>().1).unwrap_err().is_cancelled());
    assert!(block_on(failed::<()>("bad").1).unwrap_err().is_call_failure());
    let (promise, future) = pending::<()>();
    drop(promise);
    assert!(matches!(block_on(future), Err(Error::BrokenPromise)));
}

// F11, F36: the wake-up is not lost however close the completion is
#[test]
fn a_completion_that_races_the_poll_is_not_lost() {
    timely(|| {
        for round in 0..rounds(600) {
            let (promise, future) = Promise::pair();
            let thread = std::thread::spawn(move || {
                (0..round % 20).for_each(|_| std::hint::spin_loop());
                promise.set_result(round).unwrap();
            });
            assert_eq!(block_on(future).unwrap(), round);
            thread.join().unwrap();
        }
    });
}

#[test]
fn only_the_waker_of_the_latest_poll_is_woken() {
    let (promise, future) = pending();
    let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
    let mut task = pin!(future.into_future());
    for wakes in &wakes {
        let waker = Waker::from(Arc::clone(wakes));
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&wakes[0]), 1, "the earlier waker was let go");
    promise.set_result(1).unwrap();
    assert_eq!(wakes.each_ref().map(|wakes| wakes.0.load(Ordering::SeqCst)), [0, 1]);
    let poll = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll.map(Result::unwrap), Poll::Ready(1));
}

#[test]
fn dropping_the_awaiting_side_lets_the_waker_go_and_detaches_the_call() {
    let (promise, future) = pending();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut task = Box::pin(future.into_future());
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((task, waker));
    assert_eq!(Arc::strong_count(&wakes), 1);
    let counter = Counter::new();
    promise.set_result(counter.one()).unwrap();
    drop(promise);
    assert_eq!((wakes.0.load(Ordering::SeqCst), counter.dropped()), (0, 1));
}

#[test]
#[should_panic(expected = "polled after it returned Ready")]
fn polling_after_the_end_panics() {
    let mut task = pin!(finished(1).1.into_future());
    for _ in 0..2 {
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}

/// A waker whose drop completes the call that it waits for.
struct Owner {
    _promise: Promise<i32>,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

// No user value is dropped under the lock of a call.
#[test]
fn dropping_a_waker_may_end_its_own_call() {
    timely(|| {
        let (promise, future) = pending();
        let owner = Waker::from(Arc::new(Owner { _promise: promise }));
        let mut task = Box::pin(future.into_future());
        assert!(task.as_mut().poll(&mut Context::from_waker(&owner)).is_pending());
        drop(owner);
        let poll = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll, Poll::Ready(Err(Error::BrokenPromise))));

        let (promise, future) = pending();
        let owner = Waker::from(Arc::new(Owner { _promise: promise }));
        let mut task = Box::pin(future.into_future());
        assert!(task.as_mut().poll(&mut Context::from_waker(&owner)).is_pending());
        drop(owner);
        drop(task);
    });
}

struct PanicsOnWake;

impl Wake for PanicsOnWake {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics on purpose");
    }
}

// F84
#[test]
fn a_waker_that_panics_costs_no_worker() {
    timely(|| {
        let pool = pool(1);
        for _ in 0..rounds(100) {
            let mut task = pin!(pool.spawn(|| 5).unwrap().into_future());
            let waker = Waker::from(Arc::new(PanicsOnWake));
            let first = task.as_mut().poll(&mut Context::from_waker(&waker));
            if first.is_pending() {
                assert_eq!(block_on(task).unwrap(), 5);
            }
        }
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
    });
}

#[test]
fn an_awaited_value_is_moved_out_and_dropped_once() {
    let counter = Counter::new();
    let (promise, future) = Promise::<Counted>::pair();
    promise.set_result(counter.one()).unwrap();
    let value = block_on(future).unwrap();
    drop(promise);
    assert_eq!(counter.dropped(), 0);
    drop(value);
    assert_eq!(counter.dropped(), 1);
}
