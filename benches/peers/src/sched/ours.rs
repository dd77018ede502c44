//! This crate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use concurrent::sched::{Scheduler, SchedulerBuilder, VirtualClock};

use super::work::{Peer, Sample, WARM_UP, action, bytes_each, hold_operations, take_ran};
use crate::random::Random;

/// One way to build a scheduler.
pub struct Ours {
    name: &'static str,
    build: fn() -> SchedulerBuilder,
}

impl Ours {
    pub fn all() -> Vec<Box<dyn Peer>> {
        let ways: [(_, fn() -> SchedulerBuilder); 3] = [
            ("concurrent", Scheduler::builder),
            ("concurrent, bounded latency", || Scheduler::builder().bounded_latency()),
            ("concurrent, final spin 100 us", || {
                Scheduler::builder().final_spin(Duration::from_micros(100))
            }),
        ];
        ways.into_iter().map(|(name, build)| Box::new(Self { name, build }) as _).collect()
    }

    fn on_virtual_clock(&self) -> Scheduler<u64> {
        (self.build)().virtual_clock(&VirtualClock::starting_at(0)).build()
    }
}

/// An event that enters its successor. Loads and stores suffice, since one thread runs all events: peers
/// whose loop is outside of the action have no lock around their numbers either.
struct Hold {
    scheduler: Scheduler<u64>,
    left: AtomicUsize,
    random: AtomicU64,
}

impl Hold {
    fn time(&self) -> u64 {
        let mut random = Random(self.random.load(Relaxed));
        let time = random.time();
        self.random.store(random.0, Relaxed);
        time
    }
}

fn again(hold: &'static Hold, one: u64) {
    let left = hold.left.load(Relaxed) - 1;
    hold.left.store(left, Relaxed);
    action(one, 0)();
    hold.scheduler.enter(hold.time(), 1, move || again(hold, one));
    if left == 0 {
        hold.scheduler.stop();
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bulk(&mut self, count: usize) -> Option<Sample> {
        let s = self.on_virtual_clock();
        let mut random = Random::new();
        let sample = Sample::of(count, || {
            for _ in 0..count {
                s.enterabs(random.time(), 1, action(1, 0));
            }
            s.run().unwrap();
        });
        assert_eq!(take_ran(), count as u64);
        Some(sample)
    }

    fn hold(&mut self, pending: usize) -> Option<Sample> {
        let operations = hold_operations(pending);
        let hold: &'static Hold = Box::leak(Box::new(Hold {
            scheduler: self.on_virtual_clock(),
            left: AtomicUsize::new(WARM_UP),
            random: AtomicU64::new(Random::new().0),
        }));
        for _ in 0..pending {
            hold.scheduler.enter(hold.time(), 1, move || again(hold, 1));
        }
        hold.scheduler.run().unwrap();
        hold.left.store(operations, Relaxed);
        let sample = Sample::of(operations, || hold.scheduler.run().unwrap());
        assert_eq!(take_ran(), (WARM_UP + operations) as u64);
        assert_eq!(hold.scheduler.clear(), pending);
        Some(sample)
    }

    fn cancel(&mut self, count: usize) -> Option<Sample> {
        let s = self.on_virtual_clock();
        let mut random = Random::new();
        let mut events: Vec<_> =
            (0..count).map(|_| s.enterabs(random.time(), 1, action(1, 0))).collect();
        random.shuffle(&mut events);
        let half = &events[..count / 2];
        let sample = Sample::of(half.len(), || {
            half.iter().for_each(|event| s.cancel(event).unwrap());
        });
        assert_eq!(s.len(), count - count / 2);
        Some(sample)
    }

    fn memory(&mut self, count: usize) -> Option<f64> {
        let s = self.on_virtual_clock();
        let mut random = Random::new();
        Some(bytes_each(count, || {
            for _ in 0..count {
                s.enterabs(random.time(), 1, action(1, 0));
            }
            s
        }))
    }

    fn lateness(&mut self, count: usize) -> Option<(Vec<f64>, f64)> {
        let s = (self.build)().build();
        let late = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let start = Instant::now() + Duration::from_millis(5);
        for number in 0..count {
            let due = start + Duration::from_millis(number as u64);
            let late = Arc::clone(&late);
            s.enterabs(due, 1, move || {
                let now = Instant::now();
                assert!(now >= due, "early");
                late.lock().unwrap().push((now - due).as_nanos() as f64 / 1e3);
            });
        }
        let sample = Sample::of(count, || s.run().unwrap());
        Some((std::mem::take(&mut *late.lock().unwrap()), sample.cpu / 1e3))
    }

    fn earlier(&mut self) -> Option<f64> {
        let s = (self.build)().build();
        let far = s.enter(Duration::from_secs(1), 1, || {});
        let runner = {
            let s = s.clone();
            thread::spawn(move || s.run().unwrap())
        };
        thread::sleep(Duration::from_millis(5)); // it is asleep by now
        let (sender, receiver) = mpsc::channel();
        let due = Instant::now() + Duration::from_millis(20);
        s.enterabs(due, 1, move || sender.send(Instant::now()).unwrap());
        let late = receiver.recv().unwrap() - due;
        s.cancel(&far).unwrap();
        runner.join().unwrap();
        Some(late.as_nanos() as f64 / 1e3)
    }
}
