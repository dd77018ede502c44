//! This crate at the same work as `outside/mpi4py_futures.py`, started by `mpirun`: reads
//! `work count` from stdin, answers nanoseconds for each item.

use std::io::{Write, stdin, stdout};
use std::time::Instant;

use concurrent::futures::{Future, MapOptions, MpiPoolExecutor};

use crate::report::quantile;

fn increment(n: u64) -> u64 {
    n + 1
}

/// `credit`: the most calls of a rank, or `adaptive`.
pub fn serve(credit: &str) {
    let builder = MpiPoolExecutor::builder();
    let pool = match credit.parse() {
        Ok(calls) => builder.credit(calls),
        Err(_) => builder,
    };
    let pool = pool.build().expect("mpirun has started this");
    pool.map(increment, 0..100).for_each(|n| assert!(n.is_ok()));
    answer("ready");
    for line in stdin().lines() {
        let line = line.unwrap();
        let (work, number) = line.split_once(' ').expect("a work and a number");
        answer(&measure(&pool, work, number.parse().expect("a number")).to_string());
    }
}

/// mpirun passes on only what was written, so each line is flushed.
fn answer(line: &str) {
    println!("{line}");
    stdout().flush().unwrap();
}

fn measure(pool: &MpiPoolExecutor, work: &str, count: usize) -> f64 {
    match work {
        "trip" => {
            let times = (0..count as u64).map(|n| {
                let start = Instant::now();
                let result = pool.submit(increment, n).unwrap().into_result().unwrap();
                assert_eq!(result, n + 1);
                nanoseconds(start)
            });
            quantile(&times.collect::<Vec<_>>(), 0.5)
        }
        "calls" => {
            let start = Instant::now();
            let calls: Vec<Future<u64>> =
                (0..count as u64).map(|n| pool.submit(increment, n).unwrap()).collect();
            for call in calls {
                call.into_result().unwrap();
            }
            nanoseconds(start) / count as f64
        }
        "map" => {
            let start = Instant::now();
            let options = MapOptions::new().chunk_size(1000);
            let map = pool.map_with(options, increment, 0..count as u64).unwrap();
            assert_eq!(map.map(Result::unwrap).count(), count);
            nanoseconds(start) / count as f64
        }
        "echo" => {
            let mut data = vec![1_u8; count];
            let times = (0..repeats(count)).map(|_| {
                let start = Instant::now();
                data = echo(pool, std::mem::take(&mut data)).into_result().unwrap();
                assert_eq!(data.len(), count);
                nanoseconds(start)
            });
            quantile(&times.collect::<Vec<_>>(), 0.5)
        }
        "echoes" => {
            let mut all = vec![vec![1_u8; count]; 8];
            let rounds = repeats(count) / 8;
            let start = Instant::now();
            for _ in 0..rounds {
                let calls: Vec<_> = all.drain(..).map(|data| echo(pool, data)).collect();
                all.extend(calls.into_iter().map(|call| call.into_result().unwrap()));
            }
            nanoseconds(start) / (rounds * 8) as f64
        }
        other => panic!("no work is called {other}"),
    }
}

fn echo(pool: &MpiPoolExecutor, data: Vec<u8>) -> Future<Vec<u8>> {
    pool.submit(|data: Vec<u8>| data, data).unwrap()
}

fn repeats(size: usize) -> usize {
    ((32 << 20) / size).clamp(8, 64)
}

fn nanoseconds(since: Instant) -> f64 {
    since.elapsed().as_nanos() as f64
}
