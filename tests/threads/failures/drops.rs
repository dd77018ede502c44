//! Drops: by which thread, and how often; and drops that panic.

use concurrent::Error;
use concurrent::futures::{ReturnWhen, ThreadPoolExecutor, wait};

use crate::support::{
    Busy, Counted, Counter, PanicsOnDrop, here, keep_log, logged, pool, rounds, timely,
};

/// Runs `test` with a pool and a counter, shuts down, and says how many were made and dropped.
fn balance(test: impl FnOnce(&ThreadPoolExecutor, &Counter) + Send + 'static) -> (usize, usize) {
    timely(|| {
        let (pool, counter) = (pool(2), Counter::new());
        test(&pool, &counter);
        drop(pool);
        (counter.made(), counter.dropped())
    })
}

fn make(counter: &Counter) -> impl FnOnce() -> Counted + Send + use<> {
    let counter = counter.clone();
    move || counter.one()
}

// F17: taken, borrowed only, never looked at
#[test]
fn a_result_is_dropped_once_whether_taken_or_not() {
    let (made, dropped) = balance(|pool, counter| {
        drop(pool.spawn(make(counter)).unwrap().into_result().unwrap());
        assert_eq!(counter.dropped(), 1);
        assert!(pool.spawn(make(counter)).unwrap().result().is_ok());
        drop(pool.spawn(make(counter)).unwrap());
        let done = pool.spawn(make(counter)).unwrap();
        wait([&done], None, ReturnWhen::AllCompleted).done.clear();
        drop(done);
    });
    assert_eq!((made, dropped), (4, 4));
}

#[test]
fn a_call_detached_before_it_runs_still_runs_and_drops_its_result_once() {
    let (made, dropped) = balance(|pool, counter| {
        let busy = [Busy::on(pool), Busy::on(pool)];
        for _ in 0..10 {
            drop(pool.spawn(make(counter)).unwrap());
        }
        assert_eq!(counter.made(), 0);
        drop(busy);
    });
    assert_eq!((made, dropped), (10, 10));
}

#[test]
fn dropping_futures_that_race_their_completion_drops_each_result_once() {
    let (made, dropped) = balance(|pool, counter| {
        for round in 0..rounds(20_000) {
            let call = pool.spawn(make(counter)).unwrap();
            match round % 4 {
                0 => drop(call),
                1 => drop(call.into_result()),
                2 => assert!(call.result().is_ok()),
                _ => drop(call.cancel()),
            }
        }
    });
    assert_eq!(made, dropped);
}

#[test]
fn a_result_whose_drop_panics_is_dropped_once_and_costs_no_worker() {
    keep_log();
    let (made, dropped) = balance(|pool, counter| {
        let detached = [Busy::on(pool), Busy::on(pool)];
        for _ in 0..20 {
            let make = make(counter);
            drop(pool.spawn(move || PanicsOnDrop::new(make())).unwrap());
        }
        drop(detached);
        let busy = [Busy::on(pool), Busy::on(pool)]; // both workers are alive
        drop(busy);
        let make = make(counter);
        let call = pool.spawn(move || PanicsOnDrop::new(make())).unwrap();
        let value = call.into_result().unwrap();
        let in_the_owner = std::panic::AssertUnwindSafe(|| drop(value));
        assert!(std::panic::catch_unwind(in_the_owner).is_err());
    });
    assert_eq!((made, dropped), (21, 21));
    assert!(!logged("dropping a result that nobody took").is_empty());
}

#[test]
fn captures_whose_drop_panics_fail_their_own_call_only() {
    let (made, dropped) = balance(|pool, counter| {
        let captured = PanicsOnDrop::new(counter.one());
        let call = pool.spawn(move || assert_eq!(size_of_val(&captured), 8)).unwrap();
        let Err(Error::Panicked(panic)) = call.result() else { panic!("it panicked") };
        assert_eq!(panic.message(), "this drop panics on purpose");
        let busy = [Busy::on(pool), Busy::on(pool)];
        let captured = PanicsOnDrop::new(counter.one());
        let waiting = pool.spawn(move || drop(captured)).unwrap();
        assert!(waiting.cancel(), "its panicking drop is contained");
        drop(busy);
    });
    assert_eq!((made, dropped), (2, 2));
}

#[test]
fn a_panic_payload_whose_drop_panics_costs_no_worker() {
    let (made, dropped) = balance(|pool, counter| {
        let detached = [Busy::on(pool), Busy::on(pool)];
        for _ in 0..20 {
            let payload = PanicsOnDrop::new(counter.one());
            drop(pool.spawn(move || std::panic::panic_any(payload)).unwrap());
        }
        drop(detached);
        drop([Busy::on(pool), Busy::on(pool)]);
    });
    assert_eq!((made, dropped), (20, 20));
}

// F15: in the thread that cancels, though the queue still holds the call's place
#[test]
fn a_cancel_drops_the_captures_in_the_cancelling_thread() {
    let (made, dropped) = balance(|pool, counter| {
        let busy = [Busy::on(pool), Busy::on(pool)];
        let captured = counter.one();
        let call = pool.spawn(move || drop(captured)).unwrap();
        let noticed = counter.clone();
        call.add_done_callback(move |_| assert_eq!(noticed.dropped(), 1, "before the callbacks"));
        assert!(call.cancel());
        assert_eq!(counter.droppers(), [here()]);
        drop(busy);
    });
    assert_eq!((made, dropped), (1, 1));
}

#[test]
fn captures_are_gone_before_the_result_is_seen() {
    balance(|pool, counter| {
        for n in 1..=rounds(2_000) {
            let captured = counter.one();
            let call = pool.spawn(move || size_of_val(&captured)).unwrap();
            call.result().unwrap();
            assert_eq!(counter.dropped(), n);
        }
    });
}

#[test]
fn a_refused_call_drops_its_captures_in_the_submitting_thread() {
    let (made, dropped) = balance(|pool, counter| {
        pool.shutdown();
        let captured = counter.one();
        assert!(pool.spawn(move || drop(captured)).is_err());
        assert_eq!(counter.droppers(), [here()]);
        assert!(pool.submit(drop, PanicsOnDrop::new(counter.one())).is_err(), "contained");
    });
    assert_eq!((made, dropped), (2, 2));
}

#[test]
fn a_cancelled_map_drops_its_items() {
    let (made, dropped) = balance(|pool, counter| {
        let busy = [Busy::on(pool), Busy::on(pool)];
        let items: Vec<Counted> = (0..10).map(|_| counter.one()).collect();
        drop(pool.map(drop, items));
        assert_eq!(counter.dropped(), 10);
        drop(busy);
    });
    assert_eq!((made, dropped), (10, 10));
}

#[test]
fn flattened_values_are_dropped_once() {
    let (made, dropped) = balance(|pool, counter| {
        for round in 0..rounds(6_000) {
            let make = make(counter);
            let fails = round % 2 == 0;
            let call = pool.spawn(move || if fails { Err(Lost(make())) } else { Ok(make()) });
            let call = call.unwrap().flatten();
            match round % 3 {
                0 => drop(call),
                1 => assert_eq!(call.result().is_err(), fails),
                _ => assert_eq!(call.into_result().is_err(), fails),
            }
        }
    });
    assert_eq!(made, dropped);
}

/// An error that is counted.
struct Lost(Counted);

impl std::fmt::Debug for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lost({})", size_of_val(&self.0))
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted")
    }
}

impl std::error::Error for Lost {}
