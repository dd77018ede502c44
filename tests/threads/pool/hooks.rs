//! User code around workers and calls: hooks, worker state, context.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{FullQueue, ThreadPoolExecutor, with_worker_state};

use crate::support::{Busy, bounded, builder, timely, until};

#[test]
fn each_worker_starts_and_stops_once_in_its_own_thread() {
    timely(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let log = Arc::clone(&log);
            move || log.lock().unwrap().push((what, thread::current().id()))
        };
        let (start, initialize, stop) = (note("start"), note("initialize"), note("stop"));
        let pool = builder(2).on_worker_start(start).initializer(initialize).on_worker_stop(stop);
        let pool = pool.build().unwrap();
        pool.prestart().unwrap();
        pool.shutdown();
        let log = log.lock().unwrap();
        let ids: Vec<_> =
            log.iter().filter(|(what, _)| *what == "stop").map(|(_, id)| id).collect();
        assert_eq!(ids.len(), 2);
        for id in ids {
            let own: Vec<_> =
                log.iter().filter(|(_, own)| own == id).map(|(what, _)| *what).collect();
            assert_eq!(own, ["start", "initialize", "stop"]);
        }
    });
}

#[test]
fn the_error_of_an_initializer_is_said_to_be_its_own() {
    timely(|| {
        let pool = builder(1).initializer(|| Err::<(), _>("no licence")).build().unwrap();
        let error = pool.spawn(|| ()).unwrap().into_result().unwrap_err();
        assert_eq!(
            error.to_string(),
            "A thread initializer failed, the thread pool is not usable anymore: \
             the initializer returned an error: no licence"
        );
    });
}

#[test]
fn a_worker_that_retires_stops_too() {
    timely(|| {
        let (stop, stops) = mpsc::channel();
        let pool = builder(1).keep_alive(Duration::from_millis(1));
        let pool = pool.on_worker_stop(move || stop.send(()).unwrap()).build().unwrap();
        for _ in 0..3 {
            pool.spawn(|| ()).unwrap().into_result().unwrap();
            stops.recv().unwrap();
        }
    });
}

#[test]
fn a_panic_in_a_hook_is_contained() {
    timely(|| {
        let pool = builder(1)
            .on_worker_start(|| panic!("contained"))
            .on_worker_stop(|| panic!("contained"))
            .build()
            .unwrap();
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        pool.shutdown();
    });
}

#[test]
fn a_stop_hook_may_shut_the_pool_down() {
    timely(|| {
        let pool: Arc<Mutex<Option<Arc<ThreadPoolExecutor>>>> = Arc::default();
        let own = Arc::clone(&pool);
        let (stopped, stops) = mpsc::channel();
        let built = builder(1).keep_alive(Duration::from_millis(1)).on_worker_stop(move || {
            let pool = own.lock().unwrap().take();
            if let Some(pool) = pool {
                pool.shutdown();
            }
            stopped.send(()).unwrap();
        });
        let built = Arc::new(built.build().unwrap());
        *pool.lock().unwrap() = Some(Arc::clone(&built));
        built.spawn(|| ()).unwrap().into_result().unwrap();
        stops.recv().unwrap();
        assert!(matches!(built.spawn(|| ()), Err(Error::Shutdown)));
    });
}

/// Not `Send`, and counted.
struct State {
    calls: u32,
    drops: Arc<AtomicUsize>,
    _not_send: *const (),
}

impl Drop for State {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn each_worker_has_its_own_state_until_it_ends() {
    timely(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (made, counted) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&drops));
        let makes = Arc::clone(&made);
        let pool = builder(2)
            .worker_state(move || {
                makes.fetch_add(1, Ordering::SeqCst);
                let drops = Arc::clone(&counted);
                Ok::<_, Error>(State { calls: 0, drops, _not_send: std::ptr::null() })
            })
            .build()
            .unwrap();
        let count = |_| {
            with_worker_state(|state: &mut State| {
                state.calls += 1;
                state.calls
            })
        };
        let most = pool.map(count, 0..100).map(|calls| calls.unwrap().unwrap()).max().unwrap();
        assert!((50..=100).contains(&most));
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        pool.shutdown();
        assert_eq!(drops.load(Ordering::SeqCst), made.load(Ordering::SeqCst));
    });
}

#[test]
fn state_is_none_elsewhere_of_another_type_and_when_it_is_in_use() {
    timely(|| {
        assert_eq!(with_worker_state(|n: &mut u32| *n), None);
        let pool = builder(1).worker_state(|| Ok::<_, Error>(5_u32)).build().unwrap();
        let call = || {
            let other = with_worker_state(|text: &mut String| text.len());
            let nested = with_worker_state(|n: &mut u32| {
                *n += 1;
                with_worker_state(|n: &mut u32| *n)
            });
            (other, nested, with_worker_state(|n: &mut u32| *n))
        };
        let result = pool.spawn(call).unwrap().into_result().unwrap();
        assert_eq!(result, (None, Some(None), Some(6)));
        let without = builder(1).build().unwrap();
        let none = without.spawn(|| with_worker_state(|n: &mut u32| *n)).unwrap();
        assert_eq!(none.into_result().unwrap(), None);
    });
}

#[test]
fn a_panic_while_the_state_is_in_use_leaves_it_as_it_is() {
    timely(|| {
        let pool = builder(1).worker_state(|| Ok::<_, Error>(0_u32)).build().unwrap();
        let panics = pool.spawn(|| {
            with_worker_state(|n: &mut u32| {
                *n = 9;
                panic!("contained");
            })
        });
        assert!(panics.unwrap().into_result().is_err());
        let read = pool.spawn(|| with_worker_state(|n: &mut u32| *n)).unwrap();
        assert_eq!(read.into_result().unwrap(), Some(9));
    });
}

#[test]
fn a_state_that_cannot_be_made_breaks_the_pool() {
    timely(|| {
        let pool = builder(1).worker_state(|| Err::<u32, _>("no connection")).build().unwrap();
        let error = pool.spawn(|| ()).and_then(|call| call.into_result()).unwrap_err();
        assert!(error.is_broken_executor() && error.to_string().contains("no connection"));
        let pool =
            builder(1).worker_state(|| -> Result<u32, Error> { panic!("oh") }).build().unwrap();
        let error = pool.spawn(|| ()).and_then(|call| call.into_result()).unwrap_err();
        assert!(error.is_broken_executor() && error.to_string().contains("oh"));
    });
}

thread_local!(static CONTEXT: Cell<u32> = const { Cell::new(0) });

fn with_context(builder: concurrent::futures::ThreadPoolBuilder) -> ThreadPoolExecutor {
    let enter = |context, run: &mut dyn FnMut()| {
        let before = CONTEXT.replace(context);
        run();
        run(); // does nothing
        CONTEXT.set(before);
    };
    builder.propagate(|| CONTEXT.get(), enter).build().unwrap()
}

#[test]
fn context_goes_with_every_way_to_submit() {
    timely(|| {
        for builder in [builder(1), bounded(1)] {
            let pool = with_context(builder);
            CONTEXT.set(3);
            let seen = |()| CONTEXT.get();
            assert_eq!(pool.submit(seen, ()).unwrap().into_result().unwrap(), 3);
            assert_eq!(pool.spawn(|| CONTEXT.get()).unwrap().into_result().unwrap(), 3);
            assert_eq!(pool.try_submit(seen, ()).unwrap().into_result().unwrap(), 3);
            assert_eq!(pool.try_spawn(|| CONTEXT.get()).unwrap().into_result().unwrap(), 3);
            let (told, context) = std::sync::mpsc::channel();
            pool.execute(move || told.send(CONTEXT.get()).unwrap()).unwrap();
            assert_eq!(context.recv(), Ok(3));
            assert!(pool.map(seen, [(), (), ()]).all(|seen| seen.unwrap() == 3));
            CONTEXT.set(0);
            assert_eq!(pool.spawn(|| CONTEXT.get()).unwrap().into_result().unwrap(), 0);
        }
    });
}

#[test]
fn context_is_in_force_in_a_call_that_runs_in_its_submitter() {
    timely(|| {
        let pool = with_context(bounded(1).when_full(FullQueue::RunInCaller));
        let busy = Busy::on(&pool);
        let _waits = pool.spawn(|| ()).unwrap();
        CONTEXT.set(4);
        assert_eq!(pool.spawn(|| CONTEXT.replace(9)).unwrap().into_result().unwrap(), 4);
        assert_eq!(CONTEXT.get(), 4);
        busy.finish();
    });
}

#[test]
fn hooks_around_a_call_that_panic_or_do_nothing_lose_no_call() {
    timely(|| {
        let nothing = builder(1).propagate(|| (), |(), _| ()).build().unwrap();
        assert_eq!(nothing.spawn(|| 1).unwrap().into_result().unwrap(), 1);

        let capture = || -> u32 { panic!("contained") };
        let pool = builder(1).propagate(capture, |_, run| run()).build().unwrap();
        assert_eq!(pool.spawn(|| 2).unwrap().into_result().unwrap(), 2);

        let pool = builder(1).propagate(|| (), |(), _| panic!("in enter")).build().unwrap();
        let error = pool.spawn(|| 3).unwrap().into_result().unwrap_err();
        assert!(matches!(error, Error::Panicked(panic) if panic.message() == "in enter"));

        let catches = |(), run: &mut dyn FnMut()| {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            assert!(caught.is_err());
        };
        let pool = builder(1).propagate(|| (), catches).build().unwrap();
        let error = pool.spawn(|| panic!("in the call")).unwrap().into_result().unwrap_err();
        assert!(matches!(error, Error::Panicked(_)));
    });
}

#[test]
fn what_was_captured_for_a_cancelled_call_is_dropped_with_it() {
    timely(|| {
        let context = Arc::new(());
        let capture = {
            let context = Arc::clone(&context);
            move || Arc::clone(&context)
        };
        let pool = builder(1).propagate(capture, |_context, run| run()).build().unwrap();
        let busy = Busy::on(&pool);
        let before = Arc::strong_count(&context);
        let call = pool.spawn(|| ()).unwrap();
        assert_eq!(Arc::strong_count(&context), before + 1);
        assert!(call.cancel());
        assert_eq!(Arc::strong_count(&context), before);
        busy.finish();
    });
}

#[test]
fn a_tracing_span_goes_with_the_call() {
    timely(|| {
        let subscriber = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
        let enter = |span: tracing::Span, run: &mut dyn FnMut()| span.in_scope(run);
        let pool = builder(1).propagate(tracing::Span::current, enter).build().unwrap();
        let name = || tracing::Span::current().metadata().map(|metadata| metadata.name());
        let request = tracing::info_span!("request");
        let call = request.in_scope(|| pool.spawn(name).unwrap());
        assert_eq!(call.into_result().unwrap(), Some("request"));
        assert_eq!(pool.spawn(name).unwrap().into_result().unwrap(), None);
        until(|| pool.stats().running == 0);
    });
}

/// Counts its drop, and panics.
struct Unruly(Arc<AtomicUsize>);

impl Unruly {
    fn touch(&self) {}
}

impl Drop for Unruly {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("this drop panics on purpose");
    }
}

#[test]
fn what_hooks_captured_may_panic_when_it_is_dropped() {
    timely(|| {
        for last_in_a_worker in [false, true] {
            let drops = Arc::new(AtomicUsize::new(0));
            let unruly = || Unruly(Arc::clone(&drops));
            let captured = [(); 5].map(|()| unruly());
            let [initializer, start, stop, state, context] = captured;
            let pool = builder(1)
                .initializer(move || {
                    initializer.touch();
                    Ok::<(), Error>(())
                })
                .on_worker_start(move || start.touch())
                .on_worker_stop(move || stop.touch())
                .worker_state(move || {
                    state.touch();
                    Ok::<_, Error>(1)
                })
                .propagate(move || context.touch(), |(), run| run())
                .build()
                .unwrap();
            if last_in_a_worker {
                let options = concurrent::futures::ShutdownOptions::new().wait(false);
                drop(pool.spawn(|| ()).unwrap());
                pool.shutdown_with(options);
            }
            drop(pool);
            until(|| drops.load(Ordering::SeqCst) == 5);
        }
    });
}

#[test]
fn a_state_that_panics_when_it_is_dropped_harms_nobody() {
    timely(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&drops);
        let (stopped, stops) = mpsc::channel();
        let stopped = Mutex::new(stopped);
        let pool = builder(1)
            .worker_state(move || Ok::<_, Error>(Unruly(Arc::clone(&counted))))
            .on_worker_stop(move || stopped.lock().unwrap().send(()).unwrap())
            .build()
            .unwrap();
        assert_eq!(pool.spawn(|| 1).unwrap().into_result().unwrap(), 1);
        pool.shutdown();
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        stops.recv().unwrap();
    });
}

#[test]
fn a_hook_may_panic_before_a_call_whose_captures_panic_when_they_are_dropped() {
    timely(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let captured = Unruly(Arc::clone(&drops));
        let pool = builder(1).propagate(|| (), |(), _| panic!("in enter")).build().unwrap();
        let error = pool.spawn(move || captured.touch()).unwrap().into_result().unwrap_err();
        assert!(matches!(error, Error::Panicked(panic) if panic.message() == "in enter"));
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}
