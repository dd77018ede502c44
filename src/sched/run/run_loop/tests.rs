//! How often a run reads the clock, and what ends its waits.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::{Delay, Failure, LOOK_AT_LEAST};
use crate::error::Error;
use crate::sched::time::clock::Clock;
use crate::sched::user_function::UserFunction;
use crate::sched::{Every, Scheduler, SchedulerBuilder};

/// A clock like our own, which nobody sees how often it is read: it goes on with each reading.
fn counted() -> (Scheduler<usize>, Arc<AtomicUsize>) {
    let readings = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&readings);
    let time = UserFunction::new(Box::new(move || read.fetch_add(1, Ordering::Relaxed)) as Box<_>);
    let clock = Clock { time, delay: Delay::Interruptible(|_, _| None), steady: true };
    (SchedulerBuilder::new().on(clock).build(), readings)
}

#[test]
fn a_clock_of_ours_is_read_again_only_if_the_next_event_is_not_due_by_the_last_reading() {
    let (s, readings) = counted();
    (0..100).for_each(|_| _ = s.enterabs(0, 1, || {}));
    s.run().expect("no action fails");
    // Once for all of them, and once to see that no more is due.
    assert_eq!(readings.load(Ordering::Relaxed), 2);
    let now = readings.load(Ordering::Relaxed);
    (0..10).for_each(|n| _ = s.enterabs(now + n, 1, || {}));
    s.run().expect("no action fails");
    assert_eq!(readings.load(Ordering::Relaxed) - now, 11, "each is due at the next reading");
}

#[test]
fn a_tick_costs_no_reading_unless_its_rhythm_needs_one() {
    for (every, own) in [(Every::fixed_rate(1), 0), (Every::fixed_delay(1), 1)] {
        let (s, readings) = counted();
        let ticks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ticks);
        s.every(every, 1, move || _ = count.fetch_add(1, Ordering::Relaxed))
            .expect("the period is positive");
        s.run_until(99).expect("no action fails");
        let (ticks, readings) = (ticks.load(Ordering::Relaxed), readings.load(Ordering::Relaxed));
        assert!(readings <= 2 + ticks * (1 + own), "{readings} of {ticks}");
        assert!(ticks >= 30, "{ticks}");
    }
}

/// Each look reads the clock: a wait that is no sleep is one that reads it all the time.
#[test]
fn a_wait_is_a_few_sleeps() {
    for (steady, length) in [(true, 20_000), (false, 20_000), (true, 1_900), (false, 1_900)] {
        let readings = Arc::new(AtomicUsize::new(0));
        let read = Arc::clone(&readings);
        let time = UserFunction::new(Box::new(move || {
            read.fetch_add(1, Ordering::Relaxed);
            Instant::now()
        }) as Box<_>);
        let clock = Clock { time, delay: Delay::Interruptible(|time, _| Some(time)), steady };
        let s = SchedulerBuilder::new().on(clock).build();
        let rounds = 10;
        for _ in 0..rounds {
            s.enter(Duration::from_micros(length), 1, || {});
            s.run().expect("no action fails");
        }
        // The last 20 us are not slept.
        let readings = readings.load(Ordering::Relaxed) / rounds;
        assert!(readings <= 50, "{readings} for {length} us");
    }
}

#[test]
fn a_clock_that_may_be_set_is_looked_at_every_second_and_no_more() {
    let readings = AtomicUsize::new(0);
    let read = move || readings.fetch_add(1, Ordering::Relaxed);
    let time = UserFunction::new(Box::new(read) as Box<_>);
    let clock = Clock { time, delay: Delay::Interruptible(|_, _| None), steady: false };
    let s: Scheduler<usize> = SchedulerBuilder::new().on(clock).build();
    s.enterabs(1, 1, || {}); // due at the second look
    let begin = Instant::now();
    s.run().expect("no action fails");
    assert!(begin.elapsed() >= LOOK_AT_LEAST);
}

#[test]
fn what_changes_while_a_distance_is_computed_ends_the_wait() {
    thread_local! {
        static CHANGE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }
    fn no_end(_: usize, _: usize) -> Option<Instant> {
        if let Some(change) = CHANGE.take() {
            change();
        }
        None
    }
    type Change = fn(&Scheduler<usize>);
    let changes: [(&str, Change); 3] = [
        ("stopped", |s| s.stop()),
        ("failed", |s| {
            let failure = Failure { name: "", error: Error::Shutdown };
            s.0.state.lock().failures.push_back(failure);
        }),
        ("earlier", |s| {
            let own = s.clone();
            s.enterabs(0, 1, move || own.stop());
        }),
    ];
    for (what, change) in changes {
        let (ended, ends) = channel();
        thread::spawn(move || {
            let time = UserFunction::new(Box::new(|| 0_usize) as Box<_>);
            let clock = Clock { time, delay: Delay::Interruptible(no_end), steady: true };
            let s = SchedulerBuilder::new().on(clock).build();
            s.enterabs(1, 1, || {});
            let own = s.clone();
            CHANGE.set(Some(Box::new(move || change(&own))));
            ended.send(s.run().is_err())
        });
        let ended = ends.recv_timeout(Duration::from_secs(30));
        assert_eq!(ended, Ok(what == "failed"), "{what}");
    }
}

#[test]
fn bounded_latency_reaches_the_queue() {
    for (builder, buckets) in
        [(Scheduler::builder(), true), (Scheduler::builder().bounded_latency(), false)]
    {
        let s = builder.build();
        let now = s.timefunc();
        (0..100).for_each(|_| _ = s.enterabs(now, 1, || {}));
        assert_eq!(s.0.state.lock().queue.buckets() > 0, buckets);
    }
}
