//! Recurring events.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use concurrent::Error;
use concurrent::sched::{Every, Float, MissedTicks, Scheduler, TimePoint, VirtualClock};

use crate::support::{Log, recorded, simulated};

/// When a recurrence with period 10 ticks until 100, if its first action takes 35.
fn ticks(every: Every<i64>) -> Vec<i64> {
    let (s, clock) = simulated();
    let log = Log::new();
    s.every(every, 1, {
        let log = log.clone();
        let mut work = Some(35);
        move || {
            log.push(clock.time());
            clock.advance(work.take().unwrap_or(0));
        }
    })
    .unwrap();
    s.run_until(100).unwrap();
    log.take()
}

#[test]
fn fixed_rate_follows_its_policy_for_missed_ticks() {
    // The action ends at 45: the ticks of 20, 30 and 40 were missed.
    let late = [10, 45, 45, 45, 50, 60, 70, 80, 90, 100];
    assert_eq!(ticks(10.into()), late);
    assert_eq!(ticks(Every::fixed_rate(10)), late);
    let coalesce = Every::fixed_rate(10).missed(MissedTicks::Coalesce);
    assert_eq!(ticks(coalesce), [10, 45, 50, 60, 70, 80, 90, 100]);
    let skip = Every::fixed_rate(10).missed(MissedTicks::Skip);
    assert_eq!(ticks(skip), [10, 50, 60, 70, 80, 90, 100]);
    // From 5 on, the action ends at 40, which no tick is at: 35 was missed, 45 is next.
    assert_eq!(ticks(skip.first_after(5)), [5, 45, 55, 65, 75, 85, 95]);
    // From 15 on it ends at 50, between 45 and 55; from 25 on at 60; a tick just due is not missed.
    assert_eq!(ticks(Every::fixed_rate(7).missed(MissedTicks::Skip).first_after(0))[..2], [0, 35]);
}

#[test]
fn fixed_delay_counts_from_the_end_of_the_action() {
    assert_eq!(ticks(Every::fixed_delay(10)), [10, 55, 65, 75, 85, 95]);
    let unaffected = Every::fixed_delay(10).missed(MissedTicks::Skip);
    assert_eq!(unaffected, Every::fixed_delay(10));
}

#[test]
fn a_tick_that_waits_for_others_is_late_and_not_missed() {
    let (s, clock) = simulated();
    let log = Log::new();
    s.enterabs(9, 1, {
        let clock = clock.clone();
        move || clock.advance(3)
    });
    s.every(Every::fixed_rate(10).missed(MissedTicks::Skip), 1, {
        let (log, clock) = (log.clone(), clock.clone());
        move || log.push(clock.time())
    })
    .unwrap();
    s.run_until(30).unwrap();
    assert_eq!(log.take(), [12, 20, 30]);
}

#[test]
fn one_handle_cancels_the_recurrence_at_any_time() {
    let (s, _) = simulated();
    let log = Log::new();
    let event = s
        .every(10, 1, {
            let log = log.clone();
            let mut n = 0;
            move || {
                n += 1;
                log.push(n);
            }
        })
        .unwrap();
    s.run_until(35).unwrap();
    let next = s.queue()[0];
    assert_eq!((next.time(), next.sequence(), next.name()), (40, 3, event.name()));
    assert!(next != event && event < next);
    s.cancel(&event).unwrap();
    assert!(matches!(s.cancel(&next), Err(Error::NotQueued)));
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2, 3]);

    // The event of a later tick does it too.
    let event = s.every(10, 1, log.note_again(0)).unwrap();
    s.run_until(65).unwrap();
    s.cancel(&s.queue()[0]).unwrap();
    assert!(s.cancel(&event).is_err());
}

impl Log<i64> {
    fn note_again(&self, entry: i64) -> impl FnMut() + Send + 'static {
        let log = self.clone();
        move || log.push(entry)
    }
}

#[test]
fn a_recurrence_cancels_itself_from_its_own_action() {
    let (s, _) = simulated();
    let own = Arc::new(OnceLock::new());
    let log = Log::new();
    let event = s
        .every(10, 1, {
            let (s, own, log) = (s.clone(), own.clone(), log.clone());
            let mut left = 3;
            move || {
                log.push((s.timefunc(), s.len()));
                left -= 1;
                if left == 0 {
                    s.cancel(own.get().expect("set before the run"))?;
                    // It runs for the last time; what it uses is still there.
                    assert!(s.cancel(own.get().expect("set before the run")).is_err());
                }
                Ok::<_, Error>(())
            }
        })
        .unwrap();
    own.set(event).unwrap();
    s.run().unwrap(); // ends because the recurrence does
    assert_eq!(log.take(), [(10, 0), (20, 0), (30, 0)]);
    assert_eq!(Arc::strong_count(&own), 1, "what it captured is gone");
}

#[test]
fn a_failed_tick_comes_out_of_run_and_the_recurrence_goes_on() {
    let (s, _) = simulated();
    let log = Log::new();
    s.every(10, 1, {
        let log = log.clone();
        let mut n = 0;
        move || {
            n += 1;
            log.push(n);
            match n {
                2 => Err("second"),
                3 => panic!("third"),
                _ => Ok(()),
            }
        }
    })
    .unwrap();
    assert!(matches!(s.run_until(50), Err(Error::Raised(_))));
    assert_eq!(s.next_time(), Some(30));
    assert!(matches!(s.run_until(50), Err(Error::Panicked(_))));
    s.run_until(50).unwrap();
    assert_eq!(log.take(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_clock_that_fails_after_a_tick_does_not_end_the_recurrence() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let broken = Arc::new(AtomicBool::new(false));
    let s = Scheduler::with_clock(
        {
            let broken = broken.clone();
            move || {
                assert!(!broken.load(Ordering::Relaxed), "the clock stopped");
                0_i64
            }
        },
        |_| (),
    );
    let action = {
        let broken = broken.clone();
        move || broken.store(true, Ordering::Relaxed)
    };
    s.every(Every::fixed_delay(10).first_after(0), 1, action).unwrap();
    assert!(matches!(s.run(), Err(Error::Panicked(_))));
    assert_eq!(s.next_time(), Some(10));
}

#[test]
fn a_recurrence_has_the_name_of_its_action() {
    fn feed_the_cat() {}
    let (s, _) = simulated();
    let event = s.every(2, 1, feed_the_cat).unwrap();
    assert!(event.name().ends_with("feed_the_cat"), "{}", event.name());
    s.cancel(&event).unwrap();
    s.every(2, 1, feed_the_cat).unwrap();
    assert!(s.queue()[0].name().ends_with("feed_the_cat"), "{:?}", s.queue());
}

#[test]
fn a_period_must_be_greater_than_zero() {
    let (s, _) = simulated();
    for period in [0, -1] {
        let error = s.every(period, 1, || {}).unwrap_err();
        assert_eq!(error.to_string(), "period must be greater than 0");
        assert!(matches!(error, Error::InvalidArgument(_)));
    }
    assert!(s.is_empty());
}

// S29, S33: ticks are events like others: a zero delay follows, and equal times run in turn.
#[test]
fn ticks_take_turns_with_other_events() {
    let (s, _, delays) = recorded();
    let log = Log::new();
    s.every(10, 1, log.note_again(1)).unwrap();
    s.every(10, 1, log.note_again(2)).unwrap();
    s.enterabs(20, 0, log.note(0));
    s.run_until(20).unwrap();
    assert_eq!(log.take(), [1, 2, 0, 1, 2]);
    assert_eq!(delays.take(), [10, 0, 0, 10, 0, 0, 0]);
}

#[test]
fn a_late_recurrence_with_a_tiny_period_catches_up_in_one_step() {
    let clock = VirtualClock::starting_at(0_u64);
    let s = Scheduler::with_virtual_clock(&clock);
    let every = Every::fixed_rate(3).missed(MissedTicks::Coalesce);
    s.every(every, 1, {
        let clock = clock.clone();
        move || clock.advance(u64::MAX / 4)
    })
    .unwrap();
    s.run_until(3).unwrap();
    let late = s.next_time().expect("it goes on");
    assert!(late % 3 == 0 && late <= clock.time() && clock.time() - late < 3);
}

#[test]
fn ticks_of_one_recurrence_never_overlap() {
    let s = Scheduler::new();
    let event = Arc::new(OnceLock::new());
    let (sender, receiver) = std::sync::mpsc::channel();
    let action = {
        let (s, event) = (s.clone(), event.clone());
        let mut n = 0;
        move || {
            n += 1; // exclusive, or it would not compile
            if n == 200 {
                s.cancel(event.get().expect("set before the run"))?;
            }
            sender.send(n).expect("the test listens");
            Ok::<_, Error>(())
        }
    };
    let tick = s.every(std::time::Duration::from_nanos(1), 1, action).unwrap();
    event.set(tick).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| s.run_until(std::time::Instant::now()));
        }
        s.run().unwrap();
    });
    s.run().unwrap();
    drop(s);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), Vec::from_iter(1..=200));
}

/// The ticks of a recurrence that runs until it ends by itself.
fn ticks_to_the_end<T: TimePoint>(start: T, every: Every<T::Delay>) -> Vec<T> {
    let clock = VirtualClock::starting_at(start);
    let s = Scheduler::with_virtual_clock(&clock);
    let log = Log::new();
    let event = s
        .every(every, 1, {
            let log = log.clone();
            move || log.push(clock.time())
        })
        .unwrap();
    s.run().unwrap(); // it ends, because the recurrence does
    assert!(s.is_empty() && matches!(s.cancel(&event), Err(Error::NotQueued)));
    log.take()
}

#[test]
fn a_recurrence_ends_with_its_time() {
    let cadences = [
        Every::fixed_rate(100),
        Every::fixed_rate(100).missed(MissedTicks::Coalesce),
        Every::fixed_rate(100).missed(MissedTicks::Skip),
        Every::fixed_delay(100),
    ];
    for every in cadences {
        assert_eq!(ticks_to_the_end(0_u8, every), [100, 200]);
    }
    assert_eq!(ticks_to_the_end(0_u8, 85.into()), [85, 170, 255], "the last point is one of them");
    let last = i64::MAX;
    assert_eq!(ticks_to_the_end(last - 5, 2.into()), [last - 3, last - 1]);
    let days = Duration::from_secs(86_400);
    assert_eq!(ticks_to_the_end(Duration::MAX - days, days.into()), [Duration::MAX]);
}

#[test]
fn a_recurrence_ends_where_its_period_is_below_the_resolution() {
    let float = |number| Float::new(number).unwrap();
    let limit = 9_007_199_254_740_992.0; // 2^53: from here on a float does not count by ones
    let ticks = ticks_to_the_end(float(limit - 2.0), float(1.0).into());
    assert_eq!(ticks, [float(limit - 1.0), float(limit)]);
}

// The other events of the run go on, and `run_until` returns.
#[test]
fn a_recurrence_that_ended_holds_up_nothing() {
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u8));
    let log = Log::new();
    s.every(100, 1, {
        let log = log.clone();
        move || log.push(100)
    })
    .unwrap();
    s.enterabs(255, 1, log.note(255));
    s.run_until(u8::MAX).unwrap();
    assert_eq!(log.take(), [100, 100, 255]);
}

// What it captured is dropped with its end, not with the scheduler.
#[test]
fn a_recurrence_that_ended_keeps_nothing() {
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u8));
    let captured = Arc::new(());
    s.every(200, 1, {
        let captured = Arc::clone(&captured);
        move || assert!(Arc::strong_count(&captured) > 1)
    })
    .unwrap();
    s.run().unwrap();
    assert_eq!(Arc::strong_count(&captured), 1);
}

// A fixed delay counts from the end of the action, also if the clock was set back meanwhile.
#[test]
fn a_clock_that_was_set_back_does_not_end_a_recurrence() {
    let (s, now, _) = recorded();
    let log = Log::new();
    s.every(Every::fixed_delay(10).first_after(100), 1, {
        let (now, log) = (now.clone(), log.clone());
        let mut set_back = Some(50);
        move || {
            log.push(now.load(Relaxed));
            now.store(set_back.take().unwrap_or(now.load(Relaxed)), Relaxed);
        }
    })
    .unwrap();
    s.run_until(100).unwrap();
    assert_eq!(log.take(), [100, 60, 70, 80, 90, 100]);
}
