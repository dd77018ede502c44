//! Calls through a pool of two worker processes, beside procspawn, Python's pools and bare system calls:
//! `peers processes [--rounds N] [--only TEXT] [--csv FILE]`. `TEXT` chooses the figures that have it in
//! their title.

mod life;
mod payloads;
pub mod report;
mod rivals;

use concurrent::futures::{Future, MapOptions, ProcessPoolExecutor};

use crate::options::Options;
use report::{OURS, Report, contender, keep, time};
use rivals::{PingPong, Python};

const WORKERS: usize = 2;

fn increment(n: u64) -> u64 {
    n + 1
}

fn increment_all(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(increment).collect()
}

/// The peers.
struct Rivals {
    procspawn: procspawn::Pool,
    cpython: Option<Python>,
    loky: Option<Python>,
    multiprocessing: Option<Python>,
    ping_pong: PingPong,
}

const USAGE: &str = "processes [--rounds N] [--only TEXT] [--csv FILE]";

pub fn run(arguments: &[String]) {
    if PingPong::serve() || payloads::measure_peak() {
        return;
    }
    let options = Options::parse(USAGE, arguments);
    let report = Report::new(&options);
    let pool = ProcessPoolExecutor::new(WORKERS).unwrap();
    let rivals = Rivals {
        procspawn: procspawn::Pool::new(WORKERS).unwrap(),
        cpython: Python::start("cpython"),
        loky: Python::start("loky"),
        multiprocessing: Python::start("multiprocessing"),
        ping_pong: PingPong::start(),
    };
    small_calls(&report, &pool, &rivals);
    payloads::run(&report, &pool, &rivals);
    life::run(&report, &rivals);
    report.finish(&options);
}

fn small_calls(report: &Report, pool: &ProcessPoolExecutor, rivals: &Rivals) {
    let Rivals { procspawn, cpython, loky, multiprocessing, ping_pong } = rivals;

    let mut all = vec![
        contender(OURS, || {
            time(2000, || {
                for n in 0..2000 {
                    pool.submit(increment, n).unwrap().into_result().unwrap();
                }
            })
        }),
        contender("procspawn", || {
            time(1000, || {
                for n in 0..1000 {
                    procspawn.spawn(n, increment).join().unwrap();
                }
            })
        })
        .asked(2.5),
        contender("socket ping-pong", || time(2000, || (0..2000).for_each(|_| ping_pong.round()))),
    ];
    all.extend(cpython.iter().map(|p| contender("CPython", || p.ask("round 300", 300)).asked(12.)));
    all.extend(loky.iter().map(|p| contender("loky", || p.ask("round 300", 300))));
    all.extend(
        multiprocessing
            .iter()
            .map(|p| contender("multiprocessing.Pool", || p.ask("round 300", 300))),
    );
    report.compare("round trip of an empty call", all);

    let ours = || {
        let calls: Vec<Future<u64>> =
            (0..100_000).map(|n| pool.submit(increment, n).unwrap()).collect();
        calls.into_iter().for_each(|call| keep(call.into_result().unwrap()));
    };
    let mut all = vec![
        contender(OURS, || time(100_000, ours)),
        contender("procspawn (200 at a time)", || {
            time(2000, || {
                for _ in 0..10 {
                    let calls: Vec<_> = (0..200).map(|n| procspawn.spawn(n, increment)).collect();
                    calls.into_iter().for_each(|call| keep(call.join().unwrap()));
                }
            })
        })
        .asked(12.),
    ];
    let ask = |p: &Python| p.ask("submit 2000", 2000);
    all.extend(cpython.iter().map(|p| contender("CPython", move || ask(p)).asked(50.)));
    all.extend(loky.iter().map(|p| contender("loky", move || ask(p))));
    all.extend(multiprocessing.iter().map(|p| contender("multiprocessing.Pool", move || ask(p))));
    report.compare("empty calls submitted one by one", all);

    let mut all = vec![contender(OURS, || {
        let before = cpu_ns();
        (0..4).for_each(|_| ours());
        (cpu_ns() - before) / 400_000.
    })];
    let ask = |p: &Python| p.ask_both("submit 2000", 2000).1;
    all.extend(cpython.iter().map(|p| contender("CPython", move || ask(p)).asked(50.)));
    report.compare("CPU time of the parent per call, deep queue", all);

    let mut all = vec![
        contender(OURS, || {
            time(100_000, || {
                let options = MapOptions::new().chunk_size(100);
                let map = pool.map_with(options, increment, 0..100_000).unwrap();
                map.for_each(|result| keep(result.unwrap()));
            })
        }),
        contender("procspawn by hand", || {
            time(100_000, || {
                for first in (0..100_000).step_by(20_000) {
                    let chunks = (first..first + 20_000u64).step_by(100);
                    let calls: Vec<_> = chunks
                        .map(|n| procspawn.spawn((n..n + 100).collect(), increment_all))
                        .collect();
                    calls.into_iter().for_each(|call| keep(call.join().unwrap()));
                }
            })
        })
        .asked(4.),
    ];
    let ask = |p: &Python| p.ask("map 20000", 20_000);
    all.extend(cpython.iter().map(|p| contender("CPython", move || ask(p)).asked(20.)));
    all.extend(loky.iter().map(|p| contender("loky", move || ask(p))));
    all.extend(multiprocessing.iter().map(|p| contender("multiprocessing.Pool", move || ask(p))));
    report.compare("map, chunks of 100, per item", all);
}

/// CPU time of this process, with a resolution of 10 ms.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 1e7
}
