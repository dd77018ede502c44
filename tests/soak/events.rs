//! Events that 8 threads enter and cancel while another runs them: each runs or was cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use concurrent::sched::Scheduler;

use crate::common::random::Random;

const THREADS: u64 = 8;

pub(crate) fn run(events: u64, seed: u64) {
    if events == 0 {
        return;
    }
    let begin = Instant::now();
    let scheduler = Scheduler::new();
    let ran = Arc::new(AtomicU64::new(0));
    let cancelled = AtomicU64::new(0);
    let each = events.div_ceil(THREADS);
    std::thread::scope(|scope| {
        scope.spawn(|| scheduler.run_forever().unwrap());
        let threads: Vec<_> = (1..=THREADS)
            .map(|number| {
                let (scheduler, ran, cancelled) = (&scheduler, &ran, &cancelled);
                scope.spawn(move || {
                    let mut random = Random::new(seed + number);
                    let mut waiting = Vec::new();
                    for _ in 0..each {
                        let ran = Arc::clone(ran);
                        let delay = Duration::from_micros(random.below(300));
                        let priority = random.below(3) as i32;
                        waiting.push(scheduler.enter(delay, priority, move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                        }));
                        if waiting.len() == 100 {
                            let some = waiting.len() - random.below(60) as usize;
                            for event in waiting.drain(..some).step_by(2) {
                                let won = scheduler.cancel(&event).is_ok();
                                cancelled.fetch_add(u64::from(won), Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        while !scheduler.is_empty() {
            std::thread::yield_now(); // the last are due within milliseconds
        }
        scheduler.stop();
    });
    let (ran, cancelled) = (ran.load(Ordering::Relaxed), cancelled.into_inner());
    assert_eq!(ran + cancelled, each * THREADS, "each event once");
    println!(
        "{} events: {ran} ran, {cancelled} were cancelled, {:.1} s",
        each * THREADS,
        begin.elapsed().as_secs_f64()
    );
}
