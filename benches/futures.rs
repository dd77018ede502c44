//! Micro-benchmarks of calls on pools of threads and of processes, for regressions: `cargo bench --bench futures`.
//!
//! For a comparison with other crates see `benches/peers`.

use std::sync::Arc;

use concurrent::futures::{Promise, ReturnWhen, ThreadPoolExecutor, as_completed, wait};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    #[cfg(target_os = "linux")]
    concurrent::futures::process::init();
    divan::main();
}

const SIZES: [usize; 2] = [1_000, 100_000];

fn pool() -> ThreadPoolExecutor {
    ThreadPoolExecutor::new(2).expect("two is a valid number of workers")
}

/// Submits empty calls, keeps the futures, takes all results.
#[divan::bench(args = SIZES)]
fn submit_then_take(bencher: Bencher<'_, '_>, calls: usize) {
    let pool = pool();
    bencher.counter(ItemsCount::new(calls)).bench_local(|| {
        let futures: Vec<_> = (0..calls).map(|n| pool.spawn(move || n)).collect();
        futures.into_iter().try_for_each(|call| call?.into_result().map(drop))
    });
}

#[divan::bench]
fn round_trip(bencher: Bencher<'_, '_>) {
    let pool = pool();
    bencher.bench_local(|| pool.spawn(|| ())?.into_result());
}

#[divan::bench(args = SIZES)]
fn drain_as_completed(bencher: Bencher<'_, '_>, calls: usize) {
    let pool = pool();
    bencher.counter(ItemsCount::new(calls)).bench_local(|| {
        let futures = (0..calls).flat_map(|_| pool.spawn(|| ()));
        as_completed(futures).count()
    });
}

#[divan::bench(args = SIZES)]
fn map_all(bencher: Bencher<'_, '_>, items: usize) {
    let pool = pool();
    bencher.counter(ItemsCount::new(items)).bench_local(|| pool.map(|n| n, 0..items).count());
}

/// `wait` on calls that are done already: the price of the check.
#[divan::bench(args = SIZES)]
fn wait_for_done(bencher: Bencher<'_, '_>, calls: usize) {
    let futures: Vec<_> = (0..calls)
        .map(|n| {
            let (promise, future) = Promise::pair();
            promise.set_result(n).expect("it is pending");
            future
        })
        .collect();
    bencher
        .counter(ItemsCount::new(calls))
        .bench_local(|| wait(&futures, None, ReturnWhen::AllCompleted).done.len());
}

/// `result` of a call that is done, outside of calls and inside of one.
#[divan::bench(args = [false, true])]
fn result_of_done(bencher: Bencher<'_, '_>, in_worker: bool) {
    const LOOKS: usize = 100_000;

    let pool = pool();
    let done = pool.spawn(|| 1).map(Arc::new).expect("the pool is open");
    done.result().expect("it returns");
    let look = move || (0..LOOKS).all(|_| divan::black_box(&done).result().is_ok());
    bencher.counter(ItemsCount::new(LOOKS)).bench_local(|| {
        let look = look.clone();
        if in_worker { pool.spawn(look)?.into_result() } else { Ok(look()) }
    });
}

/// A call that waits for one queued behind it, which its worker runs in place.
#[divan::bench]
fn nested_wait(bencher: Bencher<'_, '_>) {
    let pool = Arc::new(ThreadPoolExecutor::new(1).expect("one is a valid number of workers"));
    bencher.bench_local(|| {
        let inner = Arc::clone(&pool);
        pool.spawn(move || inner.spawn(|| ())?.into_result())?.into_result()?
    });
}

/// Promise and future in one thread: the state machine alone.
#[divan::bench]
fn promise_pair() -> concurrent::Result<u32> {
    let (promise, future) = Promise::pair();
    promise.set_result(divan::black_box(1))?;
    future.into_result()
}

#[cfg(target_os = "linux")]
mod processes {
    use concurrent::futures::{MapOptions, ProcessPoolExecutor};
    use divan::Bencher;
    use divan::counter::ItemsCount;

    /// With its workers, ready for calls.
    fn pool() -> ProcessPoolExecutor {
        let pool = ProcessPoolExecutor::new(2).expect("`main` begins with `init`");
        pool.map(echo, 0..100).for_each(drop);
        pool
    }

    fn echo(n: usize) -> usize {
        n
    }

    #[divan::bench]
    fn start_and_first_result(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| ProcessPoolExecutor::new(1)?.submit(echo, 1)?.into_result());
    }

    #[divan::bench]
    fn round_trip(bencher: Bencher<'_, '_>) {
        let pool = pool();
        bencher.bench_local(|| pool.submit(echo, 1)?.into_result());
    }

    #[divan::bench(args = [100_000])]
    fn submit_then_take(bencher: Bencher<'_, '_>, calls: usize) {
        let pool = pool();
        bencher.counter(ItemsCount::new(calls)).bench_local(|| {
            let futures: Vec<_> = (0..calls).map(|n| pool.submit(echo, n)).collect();
            futures.into_iter().try_for_each(|call| call?.into_result().map(drop))
        });
    }

    #[divan::bench(args = [100_000])]
    fn map_in_chunks_of_100(bencher: Bencher<'_, '_>, items: usize) {
        let pool = pool();
        let options = MapOptions::new().chunk_size(100);
        bencher
            .counter(ItemsCount::new(items))
            .bench_local(|| pool.map_with(options, echo, 0..items).map(Iterator::count));
    }
}
