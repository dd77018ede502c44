//! Real clocks: they go on while actions run, are set, and runs sleep by them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use concurrent::sched::Scheduler;

use crate::support::{HOUR, Log, SOON};

// S31 on the real clock: what becomes due while an action runs takes part.
#[test]
fn run_pending_runs_what_became_due_while_an_action_ran() {
    let s = Scheduler::new();
    let log = Log::new();
    let now = s.timefunc();
    let soon = now + Duration::from_millis(1);
    s.enterabs(now, 1, {
        let log = log.clone();
        move || {
            log.push("slow");
            while Instant::now() < soon {
                std::hint::spin_loop();
            }
        }
    });
    s.enterabs(soon, 1, log.note("due meanwhile"));
    s.enterabs(now + HOUR, 1, log.note("later"));
    let left = s.run_pending().unwrap().expect("one is left");
    assert_eq!(log.take(), ["slow", "due meanwhile"]);
    assert!(left <= HOUR - Duration::from_millis(1) && left > HOUR - SOON, "{left:?}");
}

/// A clock that tests set: how far, in seconds, it is ahead of where it began. It stands still.
struct SetClock {
    ahead: Arc<AtomicI64>,
    begin: SystemTime,
    /// Somebody reads it.
    read: std::sync::mpsc::Receiver<()>,
    s: Scheduler<SystemTime>,
}

impl SetClock {
    fn new() -> Self {
        let begin = SystemTime::now();
        let ahead = Arc::new(AtomicI64::new(0));
        let (reading, read) = channel();
        let time = {
            let (ahead, reading) = (Arc::clone(&ahead), Mutex::new(reading));
            move || {
                let _ = reading.lock().expect("nothing panics").send(());
                let seconds = ahead.load(Ordering::SeqCst);
                let by = Duration::from_secs(seconds.unsigned_abs());
                if seconds < 0 { begin - by } else { begin + by }
            }
        };
        let s = Scheduler::builder().timefunc(time).build();
        Self { ahead, begin, read, s }
    }

    /// Sets it, and waits until the run has read it twice: after the first time it goes to sleep.
    fn set(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::SeqCst);
        self.read.try_iter().for_each(drop);
        for _ in 0..2 {
            self.read.recv_timeout(SOON).expect("a run looks at a clock that may be set");
        }
    }
}

// Nothing wakes a run when the system's clock is set: it looks at least every second.
#[test]
fn an_alarm_on_the_system_time_notices_that_the_clock_was_set() {
    let clock = SetClock::new();
    let (rung, rings) = channel();
    let s = clock.s.clone();
    s.enterabs(clock.begin + HOUR, 1, move || rung.send(()));
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run()
    });
    clock.set(-3_600);
    clock.set(3_599);
    assert!(rings.try_recv().is_err(), "it is not due");
    clock.ahead.store(3_600, Ordering::SeqCst);
    rings.recv_timeout(SOON).expect("it is due");
    runner.join().unwrap().unwrap();
}

// With an empty queue too, for a run that ends at a time.
#[test]
fn a_run_until_a_system_time_notices_that_the_clock_was_set() {
    let clock = SetClock::new();
    let (s, end) = (clock.s.clone(), clock.begin + HOUR);
    let (ended, ends) = channel();
    let runner = thread::spawn(move || ended.send(s.run_until(end)));
    clock.set(1);
    assert!(ends.try_recv().is_err(), "it is not the time");
    clock.ahead.store(3_600, Ordering::SeqCst);
    ends.recv_timeout(SOON).expect("it is the time").unwrap();
    runner.join().unwrap().unwrap();
}

/// How long this thread has been on a processor; `None` if the system does not say.
#[cfg(all(target_os = "linux", not(miri)))]
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// However short they are, waits are sleeps but for their last bit, by the processor's clock.
#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn waits_for_events_are_sleeps() {
    for (count, period) in [(100, Duration::from_millis(1)), (40, Duration::from_millis(5))] {
        let waited = count * period;
        let s = Scheduler::new();
        let begin = s.timefunc();
        (1..=count).for_each(|n| _ = s.enterabs(begin + n * period, 1, || {}));
        let Some(before) = processor_time() else { return };
        s.run().unwrap();
        let used = processor_time().unwrap() - before;
        assert!(begin.elapsed() >= waited);
        assert!(used < waited / 2, "{used:?} of {waited:?}");
    }
}
