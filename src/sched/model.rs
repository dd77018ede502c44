//! A scheduler that sleeps, and everything that may happen to it meanwhile, in every interleaving.
//!
//! The clock stands still, so that an event at time zero is due and a later one never is: a run
//! that waits for a later one sleeps until it is woken, and a wake-up that is lost is a deadlock,
//! which the model checker reports. Each model also counts how it went and checks that every
//! acceptable outcome was met, since a model that sees one outcome only may be checking nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::checker::thread;

use super::builder::SchedulerSettings;
use super::handle::OwnedScheduler;
use super::run::dispatch::Dispatch;
use super::run::on_error::{ErrorPolicy, OnError};
use super::scheduler::Scheduler;
use super::shared::SchedulerCore;
use super::time::clock::{Clock, Delay};
use super::user_function::UserFunction;

/// Sleeps without a limit for every event after zero.
fn frozen() -> Scheduler<u64> {
    let delay = Delay::Interruptible(|_, _| None);
    on(delay, None)
}

fn on(delay: Delay<u64>, dispatch: Option<Dispatch>) -> Scheduler<u64> {
    let clock = Clock { time: UserFunction::new(Box::new(|| 0)), delay, steady: true };
    let shared = SchedulerCore::new(SchedulerSettings::default(), clock);
    let on_error = ErrorPolicy::Always(OnError::Stop);
    Scheduler(Arc::new(OwnedScheduler::new(shared, dispatch, on_error)))
}

/// Runs `model` in every interleaving with at most three preemptions; returns its outcomes.
fn outcomes<O: Ord + Send + 'static>(model: impl Fn() -> O + Send + Sync + 'static) -> BTreeSet<O> {
    crate::sync::outcomes::outcomes(Some(3), model)
}

fn assert_met<O: Ord + std::fmt::Debug, const N: usize>(seen: &BTreeSet<O>, expected: [O; N]) {
    let expected = BTreeSet::from(expected);
    if cfg!(concurrent_shuttle) {
        assert!(seen.is_subset(&expected), "{seen:?} of {expected:?}");
    } else {
        assert_eq!(*seen, expected);
    }
}

/// An action that adds one, and the sum so far.
fn counter() -> (impl Fn() + Clone + Send + 'static, impl Fn() -> usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let read = Arc::clone(&count);
    let add = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    (add, move || read.load(Ordering::Relaxed))
}

fn run_in_thread(s: &Scheduler<u64>) -> thread::JoinHandle<()> {
    let s = s.clone();
    thread::spawn(move || s.run().expect("no action fails"))
}

// S19: an event that is due wakes the run that sleeps; S24: so does cancelling the last one.
#[test]
fn an_earlier_event_and_a_cancel_wake_the_run() {
    let seen = outcomes(|| {
        let s = frozen();
        let (add, sum) = counter();
        let never = s.enterabs(9, 1, || unreachable!("the clock stands still"));
        let runner = run_in_thread(&s);
        s.enterabs(0, 1, add);
        let before = sum();
        s.cancel(&never).expect("it never ran");
        runner.join().expect("the run ends");
        assert_eq!(sum(), 1);
        before
    });
    assert_met(&seen, [0, 1]);
}

// A cancel that says yes means that the action does not run.
#[test]
fn an_event_runs_or_is_cancelled() {
    let seen = outcomes(|| {
        let s = frozen();
        let (add, sum) = counter();
        let event = s.enterabs(0, 1, add);
        let runner = run_in_thread(&s);
        let cancelled = s.cancel(&event).is_ok();
        runner.join().expect("the run ends");
        assert_eq!(sum(), usize::from(!cancelled));
        cancelled
    });
    assert_met(&seen, [false, true]);
}

// Stop ends a run that sleeps, also while others enter; the queue is left as it is.
#[test]
fn stop_ends_a_run_that_sleeps() {
    let seen = outcomes(|| {
        let s = frozen();
        let (add, sum) = counter();
        let runner = {
            let s = s.clone();
            thread::spawn(move || s.run_forever().expect("no action fails"))
        };
        let stop = {
            let s = s.clone();
            // The run may not have begun: an event cannot come too early.
            thread::spawn(move || _ = s.clone().enterabs(0, 2, move || s.stop()))
        };
        s.enterabs(0, 1, add);
        stop.join().expect("nothing panics");
        runner.join().expect("the run ends");
        assert_eq!(sum() + s.len(), 1);
        s.clear(); // the stop event holds a handle if it did not run
        sum()
    });
    assert_met(&seen, [0, 1]);
}

// S39: two threads run one scheduler; an event each, or both by one.
#[test]
fn two_runs_share_the_events() {
    outcomes(|| {
        let s = frozen();
        let (add, sum) = counter();
        s.enterabs(0, 1, add.clone());
        s.enterabs(0, 1, add);
        let runner = run_in_thread(&s);
        s.run().expect("no action fails");
        runner.join().expect("the run ends");
        assert_eq!(sum(), 2);
        assert!(s.is_empty());
    });
}

// S39, S19: both sleep, and the event that comes is run once and ends neither too early.
#[test]
fn two_sleeping_runs_both_wake() {
    outcomes(|| {
        let s = frozen();
        let (add, sum) = counter();
        let never = s.enterabs(9, 1, || unreachable!("the clock stands still"));
        let runners = [run_in_thread(&s), run_in_thread(&s)];
        s.enterabs(0, 1, add);
        s.cancel(&never).expect("it never ran");
        for runner in runners {
            runner.join().expect("the run ends");
        }
        assert_eq!(sum(), 1);
    });
}

// A recurrence that is cancelled while its action runs never ticks again, and the run ends.
#[test]
fn cancel_meets_a_running_recurrence() {
    let seen = outcomes(|| {
        let s = frozen();
        let (add, sum) = counter();
        let event = s
            .every(super::Every::fixed_rate(9).first_after(0), 1, add)
            .expect("the period is positive");
        let runner = run_in_thread(&s);
        s.cancel(&event).expect("the recurrence has no end of its own");
        runner.join().expect("the run ends");
        assert!(sum() <= 1);
        assert!(s.is_empty());
        sum()
    });
    assert_met(&seen, [0, 1]);
}

// A run ends only when what it dispatched has ended, and takes what that entered.
#[test]
fn run_waits_for_dispatched_actions() {
    outcomes(|| {
        let (threads, spawned) = std::sync::mpsc::channel();
        let dispatch: Dispatch = Box::new(move |due| {
            let handle = thread::spawn(move || due.run());
            crate::Outcome::into_result(threads.send(handle).map_err(|_| "the model ended"))
        });
        let s = on(Delay::Interruptible(|_, _| None), Some(dispatch));
        let (add, sum) = counter();
        s.enterabs(0, 1, {
            let s = s.clone();
            move || _ = s.enterabs(0, 1, add)
        });
        s.run().expect("no action fails");
        assert_eq!(sum(), 1);
        for handle in spawned.try_iter() {
            handle.join().expect("no action panics");
        }
    });
}
