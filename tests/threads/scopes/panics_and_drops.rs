//! `ThreadPoolExecutor::scope`: panics, cancels, and the last moment of what calls borrow.
//!
//! The grid: the body returns or panics; a call returns, panics, is cancelled, is refused, or fails
//! with its pool; its handle is asked, dropped or forgotten; on the caller's thread or in a worker.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use concurrent::futures::{ReturnWhen, ShutdownOptions, ThreadPoolExecutor, wait};
use concurrent::{Error, Result};

use crate::support::{Counter, message, pool, timely};

#[test]
fn a_panic_of_the_body_goes_on_after_the_calls_have_ended() {
    timely(|| {
        let pool = pool(1);
        let drops = Counter::new();
        let finished = AtomicUsize::new(0);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| {
                let (started, starts) = channel();
                let (gate, closed) = channel::<()>();
                let finished = &finished;
                s.spawn(move || {
                    started.send(()).unwrap();
                    let _ = closed.recv(); // until the other call is cancelled
                    finished.fetch_add(1, Ordering::SeqCst);
                })
                .unwrap();
                starts.recv().unwrap();
                let captured = (drops.one(), gate);
                s.spawn(move || {
                    drop(captured);
                    finished.fetch_add(10, Ordering::SeqCst);
                })
                .unwrap();
                panic!("the body");
            })
        }));
        assert_eq!(message(panic.unwrap_err()), "the body");
        assert_eq!(finished.into_inner(), 1, "one ran on, the other was cancelled");
        assert_eq!(drops.dropped(), 1);
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
    });
}

#[test]
fn the_first_panic_of_a_call_that_nobody_looked_at_goes_on() {
    timely(|| {
        let pool = pool(2);
        let ran = AtomicUsize::new(0);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| {
                let seen = s.spawn(|| -> u8 { panic!("seen") }).unwrap();
                assert!(matches!(seen.result(), Err(Error::Panicked(_))));
                s.spawn(|| -> u8 { panic!("first {}", 1) }).unwrap();
                s.spawn(|| -> u8 { panic!("second") }).unwrap();
                s.spawn(|| ran.fetch_add(1, Ordering::SeqCst)).unwrap();
            });
        }));
        assert_eq!(message(panic.unwrap_err()), "first 1");
        assert_eq!(ran.into_inner(), 1);
    });
}

#[test]
fn a_panic_that_somebody_looked_at_ends_there() {
    timely(|| {
        let pool = pool(1);
        pool.scope(|s| {
            let moved = s.spawn(|| -> u8 { panic!("moved out") }).unwrap();
            let error = moved.into_result().unwrap_err();
            assert!(
                error.to_string().contains("moved out")
                    && error.to_string().contains("panics_and_drops.rs")
            );
            let asked = s.spawn(|| -> u8 { panic!("asked") }).unwrap();
            assert!(asked.exception().unwrap().is_some());
        });
    });
}

#[test]
fn the_panic_of_the_body_wins_over_those_of_calls() {
    timely(|| {
        let pool = pool(1);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| {
                let call = s.spawn(|| -> u8 { panic!("a call") }).unwrap();
                let _ = wait([&*call], None, ReturnWhen::AllCompleted);
                panic!("the body");
            });
        }));
        assert_eq!(message(panic.unwrap_err()), "the body");
    });
}

#[test]
fn nested_scopes_with_a_panic_in_each() {
    timely(|| {
        let pool = pool(1);
        let drops = Counter::new();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|outer| {
                let token = drops.one();
                let inner = outer.spawn(|| {
                    let _held = token;
                    pool.scope(|s| {
                        s.spawn(|| panic!("inner call")).unwrap();
                    });
                });
                let error = inner.unwrap().into_result().unwrap_err();
                assert!(error.to_string().contains("inner call"));
                outer.spawn(|| pool.scope(|_| panic!("inner body"))).unwrap();
            })
        }));
        assert_eq!(message(panic.unwrap_err()), "inner body");
        assert_eq!(drops.dropped(), 1);
    });
}

#[test]
fn a_cancelled_call_drops_its_captures_and_harms_nobody() {
    timely(|| {
        let pool = pool(1);
        let drops = Counter::new();
        let text = String::from("borrowed");
        pool.scope(|s| {
            let (started, starts) = channel();
            let (gate, closed) = channel::<()>();
            let running = s.spawn(move || {
                started.send(()).unwrap();
                closed.recv().is_ok()
            });
            starts.recv().unwrap();
            let token = drops.one();
            let (first, text) = (text.as_str(), &text);
            let pending = s.spawn(move || (token, first, text)).unwrap();
            assert!(pending.cancel() && pending.cancelled());
            assert_eq!(drops.dropped(), 1);
            assert!(pending.into_result().unwrap_err().is_cancelled());
            gate.send(()).unwrap();
            assert!(running.unwrap().into_result().unwrap());
        });
    });
}

/// Reads what it borrows when it is dropped.
struct ReadsOnDrop<'a>(&'a str, &'a AtomicUsize);

impl Drop for ReadsOnDrop<'_> {
    fn drop(&mut self) {
        thread::yield_now();
        self.1.fetch_add(self.0.len(), Ordering::SeqCst);
    }
}

#[test]
fn captures_cancelled_by_another_thread_are_gone_before_the_scope_ends() {
    timely(|| {
        for _ in 0..if cfg!(miri) { 5 } else { 300 } {
            let pool = Arc::new(pool(1));
            let (gate, closed) = channel::<()>();
            let (started, starts) = sync_channel(1);
            pool.spawn(move || {
                started.send(()).unwrap();
                let _ = closed.recv();
            })
            .map(drop)
            .unwrap();
            starts.recv().unwrap();
            let canceller = Arc::clone(&pool);
            let (ready, go) = channel();
            let thread = thread::spawn(move || {
                go.recv().unwrap();
                canceller.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
                drop(gate);
            });
            let text = String::from("four");
            let sum = AtomicUsize::new(0);
            pool.scope(|s| {
                for _ in 0..3 {
                    let capture = ReadsOnDrop(&text, &sum);
                    s.spawn(move || drop(capture)).unwrap();
                }
                ready.send(()).unwrap();
            });
            assert_eq!(sum.into_inner(), 12);
            drop(text);
            thread.join().unwrap();
        }
    });
}

#[test]
fn values_are_gone_before_the_scope_ends_whoever_drops_them() {
    timely(|| {
        for _ in 0..if cfg!(miri) { 10 } else { 1_000 } {
            let pool = pool(2);
            let text = String::from("four");
            let sum = AtomicUsize::new(0);
            pool.scope(|s| {
                drop(s.spawn(|| ReadsOnDrop(&text, &sum)).unwrap());
                let asked = s.spawn(|| ReadsOnDrop(&text, &sum)).unwrap();
                assert_eq!(asked.result().unwrap().0, "four");
                // A handle inside of the captures of another call, and inside of its value.
                let inner = s.spawn(|| ReadsOnDrop(&text, &sum)).unwrap();
                s.spawn(move || inner).unwrap();
            });
            assert_eq!(sum.into_inner(), 12);
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "what it leaks would be reported")]
#[expect(clippy::mem_forget, reason = "what it tests")]
fn a_forgotten_handle_leaks_its_value_and_no_more() {
    timely(|| {
        let pool = pool(1);
        let drops = Counter::new();
        let text = String::from("four");
        let sum = AtomicUsize::new(0);
        pool.scope(|s| {
            let token = drops.one();
            let handle = s.spawn(|| {
                let _captured = token;
                Cell::new(Some(&text))
            });
            std::mem::forget(handle.unwrap());
            let failed = s.spawn(|| sum.fetch_add(1, Ordering::SeqCst)).unwrap();
            std::mem::forget(failed);
        });
        assert_eq!((drops.dropped(), sum.into_inner()), (1, 1));
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| std::mem::forget(s.spawn(|| -> u8 { panic!("forgotten") }).unwrap()));
        }));
        assert_eq!(message(panic.unwrap_err()), "forgotten");
    });
}

#[test]
fn a_refused_call_is_an_error_and_drops_its_captures() {
    timely(|| {
        let pool = pool(1);
        pool.shutdown();
        let drops = Counter::new();
        let result: Result<()> = pool.scope(|s| {
            let token = drops.one();
            let refused = s.spawn(move || drop(token));
            assert!(matches!(refused, Err(Error::Shutdown)));
            assert_eq!(drops.dropped(), 1);
            refused.map(drop)
        });
        assert!(result.is_err());
    });
}

#[test]
fn calls_that_fail_with_their_pool_do_not_pass_unseen() {
    timely(|| {
        let pool = ThreadPoolExecutor::builder()
            .max_workers(1)
            .initializer(|| Err::<(), _>("no licence"))
            .build()
            .unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| s.spawn(|| ()).map(drop).unwrap()); // refused, or failed later
        }));
        assert!(message(panic.unwrap_err()).contains("no licence"));
    });
}

#[test]
fn a_destructor_of_a_cancelled_call_may_spawn() {
    timely(|| {
        struct SpawnsOnDrop<F: FnMut()>(F);
        impl<F: FnMut()> Drop for SpawnsOnDrop<F> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let pool = pool(1);
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            let (started, starts) = channel();
            let (gate, closed) = channel::<()>();
            s.spawn(move || {
                started.send(()).unwrap();
                let _ = closed.recv();
            })
            .unwrap();
            starts.recv().unwrap();
            let ran = &ran;
            let captured = SpawnsOnDrop(move || {
                s.spawn(|| ran.fetch_add(1, Ordering::SeqCst)).unwrap();
            });
            assert!(s.spawn(move || drop(captured)).unwrap().cancel());
            drop(gate);
        });
        assert_eq!(ran.into_inner(), 1);
    });
}

#[test]
fn after_a_panic_of_the_body_nothing_that_is_pending_runs_though_the_list_is_swept() {
    timely(|| {
        struct OnDrop<F: FnMut()>(F);
        impl<F: FnMut()> Drop for OnDrop<F> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let pool = Arc::new(pool(1));
        // No call of the scope has started when its body panics.
        let (open, opened) = channel::<()>();
        let (begin, begun) = sync_channel(0);
        let busy = pool.spawn(move || (begin.send(()), opened.recv())).unwrap();
        begun.recv().unwrap();
        let ran = AtomicUsize::new(0);
        let body = AssertUnwindSafe(|| {
            pool.scope(|s| {
                let ran = &ran;
                let run = move || {
                    ran.fetch_add(1, Ordering::SeqCst);
                };
                // When a third of them is cancelled, so many others come that those are forgotten.
                let mut open = Some(open);
                for n in 0..60 {
                    let mut open = (n == 20).then(|| open.take());
                    let captured = OnDrop(move || {
                        let Some(open) = open.take() else { return };
                        (0..30).for_each(|_| drop(s.spawn(run).unwrap()));
                        // If one is passed over, it runs before the scope ends.
                        let opens = OnDrop(move || _ = &open);
                        drop(s.spawn(move || drop(opens)).unwrap());
                    });
                    s.spawn(move || {
                        let _captured = &captured;
                        run();
                    })
                    .unwrap();
                }
                panic!("the body");
            });
        });
        assert_eq!(message(catch_unwind(body).unwrap_err()), "the body");
        busy.into_result().unwrap().1.unwrap_err();
        assert_eq!(ran.into_inner(), 0);
    });
}
