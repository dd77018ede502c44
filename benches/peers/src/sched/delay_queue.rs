//! tokio-util's `DelayQueue`, the only peer in Rust with a virtual clock: tokio's, paused.

use std::future::poll_fn;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Expired;

use super::work::{
    Peer, SPAN, Sample, WARM_UP, boxed_action, bytes_each, hold_operations, take_ran,
};
use crate::random::Random;

type Action = Box<dyn FnOnce() + Send>;

pub struct TokioDelayQueue;

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Its unit is the millisecond.
fn fill(count: usize, random: &mut Random) -> DelayQueue<Action> {
    let mut queue = DelayQueue::new();
    let start = Instant::now();
    for _ in 0..count {
        queue.insert_at(boxed_action(1, 0), start + Duration::from_millis(random.time()));
    }
    queue
}

async fn next<T>(queue: &mut DelayQueue<T>) -> Option<Expired<T>> {
    poll_fn(|context| queue.poll_expired(context)).await
}

impl Peer for TokioDelayQueue {
    fn name(&self) -> &'static str {
        "tokio-util DelayQueue"
    }

    fn bulk(&mut self, count: usize) -> Option<Sample> {
        let mut random = Random::new();
        let sample = paused().block_on(async {
            let work = async {
                let mut queue = fill(count, &mut random);
                // In one step, which is the fastest way. In single steps the clock would show each time, as
                // ours does, at four times the cost.
                tokio::time::advance(Duration::from_millis(SPAN)).await;
                while let Some(expired) = next(&mut queue).await {
                    expired.into_inner()();
                }
            };
            measured(count, work).await
        });
        assert_eq!(take_ran(), count as u64);
        Some(sample)
    }

    fn hold(&mut self, pending: usize) -> Option<Sample> {
        let operations = hold_operations(pending);
        let mut random = Random::new();
        let sample = paused().block_on(async {
            let mut queue = fill(pending, &mut random);
            let mut hold = async |operations| {
                for _ in 0..operations {
                    let key = queue.peek().unwrap();
                    let left = queue.deadline(&key) - Instant::now();
                    tokio::time::advance(left).await; // cheaper than the runtime's own advance
                    next(&mut queue).await.unwrap().into_inner()();
                    queue.insert(boxed_action(1, 0), Duration::from_millis(random.time()));
                }
            };
            hold(WARM_UP).await;
            measured(operations, hold(operations)).await
        });
        assert_eq!(take_ran(), (WARM_UP + operations) as u64);
        Some(sample)
    }

    fn cancel(&mut self, count: usize) -> Option<Sample> {
        let mut random = Random::new();
        paused().block_on(async {
            let mut queue = DelayQueue::new();
            let start = Instant::now();
            let mut keys: Vec<_> = (0..count)
                .map(|_| {
                    let time = start + Duration::from_millis(random.time());
                    queue.insert_at(boxed_action(1, 0), time)
                })
                .collect();
            random.shuffle(&mut keys);
            let half = &keys[..count / 2];
            Some(Sample::of(half.len(), || half.iter().for_each(|key| drop(queue.remove(key)))))
        })
    }

    fn memory(&mut self, count: usize) -> Option<f64> {
        paused().block_on(async { Some(bytes_each(count, || fill(count, &mut Random::new()))) })
    }

    fn lateness(&mut self, count: usize) -> Option<(Vec<f64>, f64)> {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let mut late = Vec::with_capacity(count);
        let sample = runtime.block_on(async {
            let mut queue = DelayQueue::new();
            let start = Instant::now() + Duration::from_millis(5);
            for number in 0..count {
                let due = start + Duration::from_millis(number as u64);
                queue.insert_at(due, due);
            }
            let work = async {
                while let Some(expired) = next(&mut queue).await {
                    let due = expired.into_inner();
                    late.push((Instant::now() - due).as_nanos() as f64 / 1e3);
                }
            };
            measured(count, work).await
        });
        Some((late, sample.cpu / 1e3))
    }
}

/// [`Sample::of`] for async work.
async fn measured(items: usize, work: impl Future<Output = ()>) -> Sample {
    let (cpu, wall) = (cpu_time::ProcessTime::now(), std::time::Instant::now());
    work.await;
    let (wall, cpu) = (wall.elapsed(), cpu.elapsed());
    let each = |time: Duration| time.as_nanos() as f64 / items as f64;
    Sample { wall: each(wall), cpu: each(cpu) }
}
