//! One kind of work, so many times: `instructions FIGURE COUNT`.
//!
//! Under callgrind threads run one at a time, in a random order. So that no figure depends on the order,
//! a pool has one worker, which a gate holds until all calls are submitted, and the main thread takes no
//! result before the last call has ended. No thread sleeps or is woken up in between.

use std::env;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

use concurrent::Result;
use concurrent::futures::{Future, ThreadPoolExecutor, as_completed};
use concurrent::sched::{Scheduler, VirtualClock};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let figure = arguments.next();
    let count = arguments.next().and_then(|count| count.parse().ok());
    let (Some(figure), Some(count)) = (figure, count) else {
        eprintln!("usage: instructions FIGURE COUNT");
        return ExitCode::FAILURE;
    };
    let ran = match figure.as_str() {
        "submit_and_result" => submit_and_result(count),
        "map" => map(count),
        "execute" => execute(count),
        "nested_call" => nested_call(count),
        "as_completed" => completed(count),
        "enter_and_run" => enter_and_run(count),
        "nothing" => Held::new().and_then(Held::run_all).map(drop),
        _ => {
            eprintln!("no such figure: {figure}");
            return ExitCode::FAILURE;
        }
    };
    ran.map_or_else(
        |error| {
            eprintln!("{figure}: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// A pool whose only worker is held, so that submitted calls stay pending.
struct Held {
    pool: Arc<ThreadPoolExecutor>,
    gate: mpsc::Sender<()>,
}

impl Held {
    fn new() -> Result<Self> {
        let pool = Arc::new(ThreadPoolExecutor::new(1)?);
        let (gate, held) = mpsc::channel::<()>();
        let (holds, is_held) = mpsc::channel();
        pool.execute(move || {
            let _ = holds.send(());
            let _ = held.recv(); // an error is the opening
        })?;
        let _ = is_held.recv();
        Ok(Self { pool, gate })
    }

    /// Lets the worker run the pending calls, and waits for the last one.
    fn run_all(self) -> Result<Arc<ThreadPoolExecutor>> {
        let last = self.pool.spawn(|| ())?;
        drop(self.gate);
        last.into_result()?;
        Ok(self.pool)
    }
}

fn use_up(n: usize) {
    black_box(n);
}

fn submit(pool: &ThreadPoolExecutor, count: usize) -> Result<Vec<Future<usize>>> {
    (0..count).map(|n| pool.spawn(move || black_box(n))).collect()
}

fn submit_and_result(count: usize) -> Result<()> {
    let held = Held::new()?;
    let futures = submit(&held.pool, count)?;
    let _pool = held.run_all()?;
    futures.into_iter().try_for_each(|future| future.into_result().map(use_up))
}

fn map(count: usize) -> Result<()> {
    let held = Held::new()?;
    let results = held.pool.map(black_box, 0..count);
    let _pool = held.run_all()?;
    results.into_iter().try_for_each(|result| result.map(use_up))
}

fn execute(count: usize) -> Result<()> {
    let held = Held::new()?;
    for n in 0..count {
        held.pool.execute(move || use_up(n))?;
    }
    held.run_all().map(drop)
}

/// Each call submits another and waits for it.
fn nested_call(count: usize) -> Result<()> {
    let held = Held::new()?;
    let calls = (0..count).map(|n| {
        let pool = Arc::clone(&held.pool);
        held.pool.spawn(move || pool.spawn(move || black_box(n))?.into_result())
    });
    let futures: Vec<_> = calls.collect::<Result<_>>()?;
    let _pool = held.run_all()?;
    futures.into_iter().try_for_each(|future| future.into_result()?.map(use_up))
}

/// Calls that are pending when the wait begins.
fn completed(count: usize) -> Result<()> {
    let held = Held::new()?;
    let mut yielded = as_completed(submit(&held.pool, count)?);
    let _pool = held.run_all()?;
    yielded.try_for_each(|future| future.into_result().map(use_up))
}

fn enter_and_run(count: usize) -> Result<()> {
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u64));
    let mut state = 1_u64;
    for n in 0..count {
        // Times in random order, from a full-period generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        let time = state >> 40;
        s.enterabs(time, 1, move || {
            black_box((time, n));
        });
    }
    s.run()
}
