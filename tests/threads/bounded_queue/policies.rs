//! `FullQueue`: block, block for a time, refuse, or run in the caller.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{FullQueue, MapOptions, ThreadPoolExecutor};

use super::submitter;
use crate::support::{Busy, blocked, bounded, builder, timely, until};

#[test]
fn run_in_caller_leaves_a_call_to_an_idle_worker() {
    timely(|| {
        for _ in 0..50 {
            let pool = builder(4).queue_capacity(1).when_full(FullQueue::RunInCaller);
            let pool = pool.build().unwrap();
            pool.prestart().unwrap();
            let me = thread::current().id();
            let (open, gate) = mpsc::channel::<()>();
            let gate = Arc::new(Mutex::new(gate));
            let calls: Vec<_> = (0..5)
                .map(|_| {
                    let gate = Arc::clone(&gate);
                    let call = move || {
                        let id = thread::current().id();
                        if id != me {
                            let _ = gate.lock().unwrap().recv();
                        }
                        id
                    };
                    pool.spawn(call).unwrap()
                })
                .collect();
            let here = pool.spawn(|| thread::current().id()).unwrap();
            assert_eq!(here.into_result().unwrap(), me, "now all are taken, and one waits");
            drop(open);
            assert!(calls.into_iter().all(|call| call.into_result().unwrap() != me));
        }
    });
}

#[test]
fn a_refused_call_has_no_place_while_it_is_dropped() {
    /// Looks whether there is room while the call that captured it is dropped.
    struct Looks(Arc<ThreadPoolExecutor>, Box<dyn Fn() + Send>, mpsc::Sender<bool>);
    impl Drop for Looks {
        fn drop(&mut self) {
            (self.1)();
            let _ = self.2.send(self.0.try_spawn(|| ()).is_ok());
        }
    }
    timely(|| {
        let pool = Arc::new(bounded(2).when_full(FullQueue::Refuse).build().unwrap());
        let gate = Mutex::new(Some(Busy::on(&pool)));
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let _waits = pool.spawn(move || (begin.send(()), ended.recv())).unwrap();
        let _waits_too = pool.spawn(|| ()).unwrap();
        // One of two calls that wait begins.
        let makes_room = move || {
            let gate = gate.lock().unwrap().take();
            if let Some(gate) = gate {
                gate.finish();
            }
        };
        let begun = Mutex::new(begun);
        let makes_room = move || {
            makes_room();
            begun.lock().unwrap().recv().unwrap();
        };
        let (tell, told) = mpsc::channel();
        let looks = Looks(Arc::clone(&pool), Box::new(makes_room), tell);
        assert!(matches!(pool.spawn(move || drop(looks)), Err(Error::QueueFull)));
        assert!(told.recv().unwrap());
        drop(end);
    });
}

#[test]
fn a_submitter_that_gives_up_lets_nobody_in_and_is_in_nobodys_way() {
    timely(|| {
        let full = FullQueue::BlockFor(Duration::from_millis(20));
        let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
        let busy = Busy::on(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let gives_up = submitter(&pool, || 2);
        until(|| blocked(&pool) == 1);
        // A map waits for room whatever the pool says.
        let own = Arc::clone(&pool);
        let patient = thread::spawn(move || own.map(|n| n, 3..5).map(Result::unwrap).sum::<i32>());
        until(|| blocked(&pool) == 2);
        assert!(matches!(gives_up.join().unwrap(), Err(Error::QueueFull)));
        assert_eq!((blocked(&pool), pool.stats().queued), (1, 1));
        busy.finish();
        assert_eq!(waits.into_result().unwrap() + patient.join().unwrap(), 8);
    });
}

#[test]
fn block_for_gives_up_with_queue_full_and_leaves_no_trace() {
    timely(|| {
        let full = FullQueue::BlockFor(Duration::from_millis(5));
        let pool = bounded(1).when_full(full).build().unwrap();
        let busy = Busy::on(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let captured = Arc::new(());
        let clone = Arc::clone(&captured);
        assert!(matches!(pool.spawn(move || drop(clone)), Err(Error::QueueFull)));
        assert_eq!(Arc::strong_count(&captured), 1);
        assert_eq!(blocked(&pool), 0);
        busy.finish();
        assert_eq!(waits.into_result().unwrap(), 1);
        assert_eq!(pool.spawn(|| 3).unwrap().into_result().unwrap(), 3);
    });
}

#[test]
fn block_for_gets_in_if_there_is_room_in_time() {
    timely(|| {
        let full = FullQueue::BlockFor(Duration::MAX);
        let pool = Arc::new(bounded(1).when_full(full).build().unwrap());
        let busy = Busy::on(&pool);
        let waits = pool.spawn(|| 1).unwrap();
        let thread = submitter(&pool, || 2);
        until(|| blocked(&pool) == 1);
        busy.finish();
        assert_eq!(waits.into_result().unwrap() + thread.join().unwrap().unwrap(), 3);
    });
}

#[test]
fn run_in_caller_runs_the_call_in_the_submitting_thread() {
    timely(|| {
        let pool = bounded(1).when_full(FullQueue::RunInCaller).build().unwrap();
        let busy = Busy::on(&pool);
        let waits = pool.spawn(|| thread::current().id()).unwrap();
        let here = pool.spawn(|| thread::current().id()).unwrap();
        assert!(here.done());
        assert_eq!(here.into_result().unwrap(), thread::current().id());
        let panics = pool.spawn(|| panic!("contained")).unwrap();
        assert!(matches!(panics.into_result(), Err(Error::Panicked(_))));
        busy.finish();
        assert_ne!(waits.into_result().unwrap(), thread::current().id());
    });
}

#[test]
fn map_over_more_items_than_the_queue_holds_yields_them_all() {
    timely(|| {
        let policies = [
            FullQueue::Block,
            FullQueue::BlockFor(Duration::ZERO),
            FullQueue::Refuse,
            FullQueue::RunInCaller,
        ];
        for full in policies {
            let pool = builder(2).queue_capacity(3).when_full(full).build().unwrap();
            let squares: Vec<u32> = pool.map(|n| n * n, 0..200).map(Result::unwrap).collect();
            assert!(squares.into_iter().eq((0..200).map(|n| n * n)));
            let options = MapOptions::new().chunk_size(3).buffer_size(5).unordered(true);
            let sum: u32 = pool.map_with(options, |n| n, 0..200).unwrap().map(Result::unwrap).sum();
            assert_eq!(sum, 19_900);
            #[cfg(feature = "process")]
            {
                let portable = concurrent::futures::Executor::map(&pool, |n: u32| n, 0..200);
                assert_eq!(portable.map(Result::unwrap).sum::<u32>(), 19_900);
            }
        }
    });
}
