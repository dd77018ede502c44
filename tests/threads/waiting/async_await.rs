//! `future.await`: no lost wake-up, and no waker kept longer than it is needed.

use std::future::{Future as _, IntoFuture};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

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

/// How a waker of [`unruly`] misbehaves.
#[derive(Default)]
struct Unruly {
    clone_panics: AtomicBool,
    drop_panics: AtomicBool,
    wake_panics: AtomicBool,
    /// How many of its clones there are.
    clones: AtomicUsize,
}

impl Unruly {
    fn clone_of(raw: *const ()) -> RawWaker {
        // SAFETY: made from a static.
        let this = unsafe { &*raw.cast::<Self>() };
        assert!(!this.clone_panics.load(Ordering::SeqCst), "a waker's clone");
        tick(&this.clones);
        RawWaker::new(raw, &CLONE)
    }

    fn gone(raw: *const (), panics: impl Fn(&Self) -> &AtomicBool) {
        // SAFETY: as above.
        let this = unsafe { &*raw.cast::<Self>() };
        this.clones.fetch_sub(1, Ordering::SeqCst);
        assert!(!panics(this).load(Ordering::SeqCst), "the end of a waker");
    }
}

const ORIGINAL: RawWakerVTable = RawWakerVTable::new(Unruly::clone_of, |_| {}, |_| {}, |_| {});

const CLONE: RawWakerVTable = RawWakerVTable::new(
    Unruly::clone_of,
    |raw| Unruly::gone(raw, |this| &this.wake_panics),
    |_| unreachable!("nobody wakes it twice"),
    |raw| Unruly::gone(raw, |this| &this.drop_panics),
);

fn unruly() -> (&'static Unruly, Waker) {
    let unruly = Box::leak(Box::new(Unruly::default()));
    let raw = RawWaker::new(std::ptr::from_ref(unruly).cast(), &ORIGINAL);
    // SAFETY: it is never freed, and atomics may be shared.
    (unruly, unsafe { Waker::from_raw(raw) })
}

#[test]
fn a_waker_whose_clone_panics_loses_nothing() {
    let (promise, future) = pending();
    let mut task = pin!(future.into_future());
    let (unruly, waker) = unruly();
    let wakes = Arc::new(Wakes::default());
    let good = Waker::from(Arc::clone(&wakes));
    assert!(task.as_mut().poll(&mut Context::from_waker(&good)).is_pending());
    unruly.clone_panics.store(true, Ordering::SeqCst);
    let poll = catch_unwind(AssertUnwindSafe(|| {
        task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
    }));
    assert!(poll.is_err(), "it is the runtime's");
    promise.set_result(1).unwrap();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1, "the waker of the poll before still counts");
    let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(poll.map(Result::unwrap), Poll::Ready(1));
}

#[test]
fn a_waker_whose_drop_panics_loses_nothing() {
    let (promise, future) = pending();
    let mut task = Box::pin(future.into_future());
    let (unruly, waker) = unruly();
    unruly.drop_panics.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        // Each lets go of the waker before.
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(unruly.clones.load(Ordering::SeqCst), 1);
    }
    let counter = Counter::new();
    drop(task);
    assert_eq!(unruly.clones.load(Ordering::SeqCst), 0);
    promise.set_result(counter.one()).unwrap();
    drop(promise);
    assert_eq!(counter.dropped(), 1);
}

#[test]
fn a_waker_that_is_dropped_too_late_by_a_poll_loses_nothing() {
    timely(|| {
        for round in 0..rounds(600) {
            let (promise, future) = Promise::pair();
            let (unruly, waker) = unruly();
            unruly.drop_panics.store(true, Ordering::SeqCst);
            let thread = std::thread::spawn(move || {
                (0..round % 20).for_each(|_| std::hint::spin_loop());
                promise.set_result(round).unwrap();
            });
            let mut task = pin!(future.into_future());
            let mut context = Context::from_waker(&waker);
            let value = loop {
                match task.as_mut().poll(&mut context) {
                    Poll::Ready(value) => break value.unwrap(),
                    Poll::Pending => std::thread::yield_now(),
                }
            };
            assert_eq!(value, round);
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_waker_whose_wake_panics_harms_neither_the_call_nor_who_ends_it() {
    let (promise, future) = pending();
    let mut task = pin!(future.into_future());
    let (unruly, waker) = unruly();
    unruly.wake_panics.store(true, Ordering::SeqCst);
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    promise.set_result(1).unwrap();
    assert_eq!(unruly.clones.load(Ordering::SeqCst), 0);
    let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(poll.map(Result::unwrap), Poll::Ready(1));
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
