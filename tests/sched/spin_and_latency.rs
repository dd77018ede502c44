//! Runs that spin before they sleep, and runs that may be late by a bound: the order of events stays.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use concurrent::sched::{Event, Scheduler, SchedulerBuilder, VirtualClock};

use crate::support::{HOUR, Log, SOON};

/// Spins from the beginning, so that whatever happens to a run happens while it does.
fn spinning() -> Scheduler {
    Scheduler::builder().final_spin(2 * HOUR).build()
}

/// Calls `interrupt` when the run in another thread is under way towards an event in an hour.
fn interrupted(interrupt: impl FnOnce(&Scheduler, &Event<Instant>)) {
    let s = spinning();
    let (started, under_way) = channel();
    s.enter(Duration::ZERO, 1, move || started.send(()));
    let far = s.enter(HOUR, 1, || unreachable!("it is cancelled, or the run is stopped"));
    let (ended, end) = channel();
    let runner = thread::spawn({
        let s = s.clone();
        move || {
            s.run().unwrap();
            ended.send(()).unwrap();
        }
    });
    under_way.recv_timeout(SOON).unwrap();
    interrupt(&s, &far);
    end.recv_timeout(SOON).expect("the run ends");
    runner.join().unwrap();
}

#[test]
fn a_spinning_run_sees_an_earlier_event() {
    interrupted(|s, far| {
        let (ran, done) = channel();
        s.enter(Duration::ZERO, 1, move || ran.send(()));
        done.recv_timeout(SOON).expect("the earlier event runs");
        s.cancel(far).unwrap();
    });
}

#[test]
fn a_spinning_run_sees_a_cancel() {
    interrupted(|s, far| s.cancel(far).unwrap());
}

#[test]
fn a_spinning_run_is_stopped() {
    interrupted(|s, _| s.stop());
}

// S9: however a run waits, never early.
#[test]
fn no_event_runs_before_its_time() {
    for spin in [Duration::ZERO, Duration::from_micros(100), HOUR, Duration::MAX] {
        let s = Scheduler::builder().final_spin(spin).build();
        for delay in [0, 1, 15, 30, 90, 300, 2_000] {
            let due = s.timefunc() + Duration::from_micros(delay);
            s.enterabs(due, 1, move || assert!(Instant::now() >= due));
        }
        s.run().unwrap();
    }
}

#[test]
fn a_spin_of_no_length_or_without_end_leaves_the_order_alone() {
    for spin in [Duration::ZERO, Duration::MAX] {
        let s = Scheduler::builder().final_spin(spin).build();
        let log = Log::new();
        let now = s.timefunc();
        for (delay, priority) in [(300, 1), (100, 2), (100, 1), (0, 1)] {
            let due = now + Duration::from_micros(delay);
            s.enterabs(due, priority, log.note((delay, priority)));
        }
        s.run().unwrap();
        assert_eq!(log.take(), [(0, 1), (100, 1), (100, 2), (300, 1)]);
    }
}

/// Enters, cancels and runs many events, also from actions; what happened.
fn trace(builder: SchedulerBuilder) -> Vec<(u64, u64)> {
    let clock = VirtualClock::starting_at(0_u64);
    let s = builder.virtual_clock(&clock).build();
    let log = Log::new();
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        (state >> 33) % below
    };
    let mut events = Vec::new();
    for number in 0..20_000 {
        let (time, priority) = (random(5_000), random(3) as i32);
        let (more, delay) = (random(4) == 0, random(1_000));
        events.push(s.enterabs(time, priority, {
            let (log, clock, s) = (log.clone(), clock.clone(), s.clone());
            move || {
                log.push((number, clock.time()));
                if more {
                    s.enter(delay, 1, log.note((number + 1_000_000, 0)));
                }
            }
        }));
        if random(3) == 0 {
            let victim = &events[random(events.len() as u64) as usize];
            log.push((victim.sequence(), u64::from(s.cancel(victim).is_ok())));
        }
        if random(500) == 0 {
            s.run_until(clock.time() + random(200)).unwrap();
            log.push((s.len() as u64, s.next_time().unwrap_or(0)));
        }
    }
    let queue: Vec<_> = s.queue().iter().map(Event::sequence).collect();
    queue.iter().for_each(|sequence| log.push((*sequence, 0)));
    s.run().unwrap();
    assert!(s.is_empty());
    log.take()
}

// S4, S5, S6: the order does not depend on how the queue is kept.
#[test]
fn with_bounded_latency_everything_happens_in_the_same_order() {
    let usual = trace(Scheduler::builder());
    let bounded = trace(Scheduler::builder().bounded_latency());
    assert!(usual.len() > 20_000);
    assert_eq!(usual, bounded);
}
