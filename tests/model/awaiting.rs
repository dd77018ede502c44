//! `future.await`: no wake-up is lost, whoever polls, and whenever the awaiting side is dropped.
//!
//! A task that is never woken again is a deadlock to loom. The plainest case is in `call.rs`.

use std::future::{Future as _, IntoFuture, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use concurrent::futures::{Promise, ThreadPoolExecutor};

use crate::checker::{future::block_on, thread};
use crate::{Outcomes, Watched, reads_of_nine};

// As when `select!` polls it, and it is then moved to another task: the latest waker counts.
#[test]
fn a_task_that_polls_after_another_one_is_woken() {
    Outcomes::of(|| {
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || promise.set_result(Watched::new(5)).unwrap());
        let mut awaiting = future.into_future();
        let first = pin!(&mut awaiting).poll(&mut Context::from_waker(Waker::noop()));
        let (value, at_once) = match first {
            Poll::Ready(value) => (value, true),
            Poll::Pending => (block_on(awaiting), false),
        };
        assert_eq!(value.unwrap().get(), 5);
        executor.join().unwrap();
        at_once
    })
    .assert([false, true]);
}

#[test]
fn a_task_is_woken_by_the_end_of_callbacks_that_borrow_the_value() {
    Outcomes::with_bound(Some(3), || {
        let (promise, future) = Promise::<Watched>::pair();
        let calls = reads_of_nine(&future);
        let executor = thread::spawn(move || promise.set_result(Watched::new(9)).unwrap());
        let value = block_on(async { future.await }).unwrap();
        assert_eq!((calls.load(Ordering::Relaxed), value.get()), (1, 9));
        drop(value);
        executor.join().unwrap();
    })
    .assert([()]);
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// The waker is let go, the value is dropped once, and a task that is gone may be woken at most once.
#[test]
fn the_awaiting_side_may_be_dropped_at_any_moment() {
    Outcomes::of(|| {
        let (promise, future) = Promise::pair();
        let executor = thread::spawn(move || promise.set_result(Watched::new(1)).unwrap());
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut awaiting = future.into_future();
        let ready = pin!(&mut awaiting).poll(&mut Context::from_waker(&waker)).is_ready();
        drop((awaiting, waker));
        executor.join().unwrap();
        assert_eq!(Arc::strong_count(&wakes), 1);
        let woken = wakes.0.load(Ordering::Relaxed);
        assert!(woken <= usize::from(!ready));
        (ready, woken)
    })
    .assert([(false, 0), (false, 1), (true, 0)]);
}

#[test]
fn a_task_that_awaits_a_broken_promise_is_woken() {
    Outcomes::of(|| {
        let (promise, future) = Promise::<()>::pair();
        let executor = thread::spawn(move || drop(promise));
        let mut polls = 0;
        let mut awaiting = pin!(future.into_future());
        let outcome = block_on(poll_fn(|context| {
            polls += 1;
            awaiting.as_mut().poll(context)
        }));
        assert!(outcome.is_err());
        executor.join().unwrap();
        polls > 1 // how often is up to loom, which also wakes without reason
    })
    .assert([false, true]);
}

#[test]
fn a_call_of_a_pool_wakes_the_task_that_awaits_it() {
    Outcomes::with_bound(Some(2), || {
        let pool = ThreadPoolExecutor::new(1).unwrap();
        let call = pool.spawn(|| 6).unwrap();
        assert_eq!(block_on(async { call.await }).unwrap(), 6);
        pool.shutdown();
    })
    .assert([()]);
}
