//! The price of the scheduler's operations, on a virtual clock.
//!
//!     cargo bench --bench sched

use concurrent::sched::{Event, Scheduler, VirtualClock};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

const SIZES: [u64; 2] = [1_000, 100_000];

/// Times in random order, from a full-period generator.
fn times(count: u64) -> impl Iterator<Item = u64> {
    let mut state = 1_u64;
    (0..count).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        state >> 40
    })
}

fn scheduler() -> Scheduler<u64> {
    Scheduler::with_virtual_clock(&VirtualClock::starting_at(0))
}

/// An action with 16 bytes of captures.
fn fill(s: &Scheduler<u64>, count: u64) -> Vec<Event<u64>> {
    times(count)
        .map(|time| {
            s.enterabs(time, 1, move || {
                black_box((time, count));
            })
        })
        .collect()
}

/// Enter all, then run all; per event.
#[divan::bench(args = SIZES)]
fn enter_and_run(bencher: Bencher<'_, '_>, count: u64) {
    bencher.counter(ItemsCount::new(count)).with_inputs(scheduler).bench_refs(|s| {
        for time in times(count) {
            s.enterabs(time, 1, move || {
                black_box((time, count));
            });
        }
        s.run().expect("no action fails");
    });
}

/// The hold model: the number of pending events stays the same, since each enters the next when it runs.
#[divan::bench(args = SIZES)]
fn hold(bencher: Bencher<'_, '_>, pending: u64) {
    const RUNS: u64 = 100_000;
    fn again(s: &Scheduler<u64>, delay: u64) {
        let handle = s.clone();
        s.enter(delay, 1, move || again(&handle, delay.wrapping_mul(0x9e37_79b9) >> 8 & 0xff_ffff));
    }
    bencher
        .counter(ItemsCount::new(RUNS))
        .with_inputs(|| {
            let s = scheduler();
            times(pending).for_each(|delay| again(&s, delay));
            s
        })
        .bench_refs(|s| {
            for _ in 0..RUNS {
                let next = s.next_time().expect("each event enters another");
                s.run_until(next).expect("no action fails");
            }
            s.clear();
        });
}

/// Cancel every second of the pending events; per cancel.
#[divan::bench(args = SIZES)]
fn cancel_half(bencher: Bencher<'_, '_>, count: u64) {
    bencher
        .counter(ItemsCount::new(count / 2))
        .with_inputs(|| {
            let s = scheduler();
            let events = fill(&s, count);
            (s, events)
        })
        .bench_refs(|(s, events)| {
            for event in events.iter().step_by(2) {
                s.cancel(event).expect("it is queued");
            }
        });
}

/// The snapshot, sorted; per event.
#[divan::bench(args = SIZES)]
fn queue(bencher: Bencher<'_, '_>, count: u64) {
    let s = scheduler();
    fill(&s, count);
    bencher.counter(ItemsCount::new(count)).bench(|| s.queue());
}
