//! scheduled-thread-pool, which has the real clock only.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use scheduled_thread_pool::ScheduledThreadPool;

use super::work::{Peer, SPAN, Sample, action, bytes_each, take_ran};
use crate::random::Random;

pub struct ScheduledPool;

/// A pool whose only worker waits until the gate opens, which is when the sender is dropped.
fn gated() -> (ScheduledThreadPool, mpsc::Sender<()>) {
    let pool = ScheduledThreadPool::new(1);
    let (gate, closed) = mpsc::channel::<()>();
    pool.execute(move || assert!(closed.recv().is_err()));
    (pool, gate)
}

/// The time until events are due. All are entered in less, so that their order is random.
fn span(count: usize) -> Duration {
    Duration::from_micros(10_000 + 2 * count as u64)
}

fn enter(pool: &ScheduledThreadPool, count: usize, random: &mut Random) {
    let span = span(count).as_nanos() as u64;
    for _ in 0..count {
        let delay = Duration::from_nanos(random.time() * (span / 1000) / (SPAN / 1000));
        pool.execute_after(delay, action(1, 0));
    }
}

impl Peer for ScheduledPool {
    fn name(&self) -> &'static str {
        "scheduled-thread-pool"
    }

    fn bulk(&mut self, count: usize) -> Option<Sample> {
        let (pool, gate) = gated();
        let mut random = Random::new();
        let entering = Sample::of(count, || enter(&pool, count, &mut random));
        thread::sleep(span(count)); // until all are due
        let (sender, receiver) = mpsc::channel();
        pool.execute(move || sender.send(()).unwrap()); // entered last, and due last
        let running = Sample::of(count, || {
            drop(gate);
            receiver.recv().unwrap();
        });
        assert_eq!(take_ran(), count as u64);
        Some(Sample { wall: entering.wall + running.wall, cpu: entering.cpu + running.cpu })
    }

    fn cancel(&mut self, count: usize) -> Option<Sample> {
        let (pool, _gate) = gated();
        let mut random = Random::new();
        let hour = Duration::from_secs(3600);
        let mut handles: Vec<_> = (0..count)
            .map(|_| pool.execute_after(hour + Duration::from_millis(random.time()), action(1, 0)))
            .collect();
        random.shuffle(&mut handles);
        let half = &handles[..count / 2];
        Some(Sample::of(half.len(), || half.iter().for_each(|handle| handle.cancel())))
    }

    fn memory(&mut self, count: usize) -> Option<f64> {
        let (pool, gate) = gated();
        let hour = Duration::from_secs(3600);
        let mut random = Random::new();
        Some(bytes_each(count, || {
            for _ in 0..count {
                pool.execute_after(hour + Duration::from_millis(random.time()), action(1, 0));
            }
            (pool, gate)
        }))
    }

    fn lateness(&mut self, count: usize) -> Option<(Vec<f64>, f64)> {
        let pool = ScheduledThreadPool::new(1);
        let late = Arc::new(Mutex::new(Vec::with_capacity(count)));
        let (sender, receiver) = mpsc::channel::<()>();
        let start = Instant::now() + Duration::from_millis(5);
        let sample = Sample::of(count, || {
            for number in 0..count {
                let due = start + Duration::from_millis(number as u64);
                let (late, sender) = (Arc::clone(&late), sender.clone());
                pool.execute_after(due.saturating_duration_since(Instant::now()), move || {
                    late.lock().unwrap().push((Instant::now() - due).as_nanos() as f64 / 1e3);
                    drop(sender);
                });
            }
            drop(sender);
            receiver.recv().unwrap_err();
        });
        Some((std::mem::take(&mut *late.lock().unwrap()), sample.cpu / 1e3))
    }

    fn earlier(&mut self) -> Option<f64> {
        let pool = ScheduledThreadPool::builder()
            .num_threads(1)
            .on_drop_behavior(scheduled_thread_pool::OnPoolDropBehavior::DiscardPendingScheduled)
            .build();
        pool.execute_after(Duration::from_secs(1), || ());
        thread::sleep(Duration::from_millis(5)); // it is asleep by now
        let (sender, receiver) = mpsc::channel();
        let due = Instant::now() + Duration::from_millis(20);
        pool.execute_after(due - Instant::now(), move || sender.send(Instant::now()).unwrap());
        Some((receiver.recv().unwrap() - due).as_nanos() as f64 / 1e3)
    }
}
