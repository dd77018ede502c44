//! Calls on threads beside their peers: `peers threads [--rounds N] [--calls N] [--workers N,...]
//! [--only WORK,...] [--peers NAME,...] [--csv FILE]`. The works are batch, batch4, fire, trip,
//! idle, tree, drain, memory.
//!
//! In each round every peer has its turn, so that other load on the machine meets all of them, and a
//! round before the first warms up. The ratio of a peer to this crate is the median over the
//! rounds of the ratio within one. Processor time and context switches are those of the whole
//! process; of trips one by one the times of all rounds make minimum, median and p99.
//!
//! Each number of workers has a process of its own: the environment of its process sets the size of the
//! pool of the `blocking` crate.

mod allocations;
mod by_hand;
mod ours;
mod outside;
mod peers;
mod pool;
mod with_handles;
mod work;

use std::process::{Command, exit};
use std::time::Duration;
use std::{env, fs, thread};

use crate::options::Options;
use crate::random::Turns;
use crate::report::{Report, Row, quantile, write};
use peers::{Home, Started};
use work::{Memory, Peer, Sample};

/// The variable from which the `blocking` crate takes the number of its threads.
const BLOCKING: &str = "BLOCKING_MAX_THREADS";

const USAGE: &str = "threads [--rounds N] [--calls N] [--workers N,...] [--only WORK,...] \
                     [--peers NAME,...] [--csv FILE]";

pub fn run(arguments: &[String]) {
    if let [work, peer, calls] = arguments
        && work == "memory-of"
    {
        return memory_of(peer, calls.parse().expect("a number"));
    }
    let options = Options::parse(USAGE, arguments);
    let workers = options.numbers("--workers", &[2]);
    match workers[..] {
        [workers] if env::var(BLOCKING).is_ok_and(|set| set == workers.to_string()) => {
            measure(workers, &options);
        }
        _ => each_in_its_process(arguments, &workers, &options),
    }
}

/// This program, in a process whose `blocking` pool has `workers` threads.
fn again(workers: usize, arguments: &[String]) -> Command {
    let program = env::current_exe().expect("the system knows what runs");
    let mut command = Command::new(program);
    command.arg("threads").args(arguments).env(BLOCKING, workers.to_string());
    command
}

/// Lets another process measure each number of workers, and puts the figures into one file.
fn each_in_its_process(arguments: &[String], all: &[usize], options: &Options) {
    let mut text = String::new();
    for &workers in all {
        // The last option counts.
        let workers_alone = ["--workers".to_owned(), workers.to_string()];
        let status = again(workers, &[arguments, &workers_alone].concat()).status();
        let code = status.expect("this program runs again").code();
        if code != Some(0) {
            exit(code.unwrap_or(1));
        }
        if let Some(path) = options.get("--csv") {
            let one = fs::read_to_string(path).unwrap_or_default();
            // The machine and the heads are the same each time.
            let is_head = |line: &&str| line.starts_with('#') || line.starts_with("group,");
            let heads = if text.is_empty() { 0 } else { one.lines().take_while(is_head).count() };
            one.lines().skip(heads).for_each(|line| text += &format!("{line}\n"));
        }
    }
    if let Some(path) = options.get("--csv") {
        write(path, &text);
    }
}

fn measure(workers: usize, options: &Options) {
    let mut report = Report::default();
    let mut peers = peers::start(workers, |name| options.has(name));
    let calls = options.number("--calls", 1_000_000);
    let rounds = options.number("--rounds", 5);
    let mut compare =
        |work: &str, title: &str, run: &mut dyn FnMut(&mut dyn Peer) -> Option<Sample>| {
            if options.wants(work) {
                let group = format!("{title}, {workers} workers");
                report.add(compare(group, rounds, &mut peers, run));
            }
        };

    let title = format!("submit {calls} calls, take all results");
    compare("batch", &title, &mut |peer| peer.batch(calls, 1));
    compare("batch4", &format!("{title}, 4 submitters"), &mut |peer| peer.batch(calls, 4));
    compare("fire", &format!("fire {calls} calls and forget"), &mut |peer| peer.fire(calls));

    let trips = calls.min(20_000);
    compare("trip", "round trip", &mut |peer| peer.trips(trips, Duration::ZERO));
    let (trips, pause) = (calls.min(300), Duration::from_millis(1));
    compare("idle", "round trip into an idle pool", &mut |peer| peer.trips(trips, pause));

    let title = format!("tree of calls with 2^{} leaves", work::DEPTH);
    compare("tree", &title, &mut |peer| peer.tree());
    let some = calls.min(100_000);
    let title = format!("take {some} results in the order in which they end");
    compare("drain", &title, &mut |peer| peer.drain(some));

    if options.wants("memory") {
        memory(&mut peers, calls, &mut report);
    }
    report.write(options);
}

/// Runs `work` in turn on all peers that can do it, `rounds` times.
fn compare(
    group: String,
    rounds: usize,
    peers: &mut [Started],
    work: &mut dyn FnMut(&mut dyn Peer) -> Option<Sample>,
) -> Vec<Row> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); peers.len()];
    let mut turns = Turns::of(peers.len());
    for round in 0..=rounds {
        for &turn in turns.next() {
            // The previous peer falls asleep.
            thread::sleep(Duration::from_millis(2));
            let sample = work(peers[turn].peer.as_mut());
            samples[turn].extend(sample.filter(|_| round > 0));
        }
    }
    let typical = |sample: &Sample| quantile(&sample.times, 0.5);
    let ours = samples[0].clone();
    let row = |(started, samples): (&Started, &Vec<Sample>)| {
        let of = |field: fn(&Sample) -> f64| {
            quantile(&samples.iter().map(field).collect::<Vec<_>>(), 0.5)
        };
        let ratios: Vec<_> =
            samples.iter().zip(&ours).map(|(a, b)| typical(a) / typical(b)).collect();
        let times: Vec<_> = samples.iter().flat_map(|sample| &sample.times).copied().collect();
        Row {
            group: group.clone(),
            name: started.name,
            unit: "ns",
            min: quantile(&times, 0.0),
            median: quantile(&times, 0.5),
            p99: (times.len() > 99).then(|| quantile(&times, 0.99)),
            cpu: Some(of(|sample| sample.cpu)),
            switches: Some(of(|sample| sample.switches)),
            by_cpu: false,
            ratio: quantile(&ratios, 0.5),
        }
    };
    peers.iter().zip(&samples).filter(|(_, samples)| !samples.is_empty()).map(row).collect()
}

/// Bytes and allocations for each pending call; each peer in a process of its own.
fn memory(peers: &mut [Started], calls: usize, report: &mut Report) {
    let mut figures = Vec::new();
    for Started { name, home, peer } in peers {
        let memory = match home {
            Home::Elsewhere => peer.memory(calls),
            Home::Here => {
                let arguments = ["memory-of", *name, &calls.to_string()].map(ToOwned::to_owned);
                let output = again(1, &arguments).output().expect("this program runs again");
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let numbers: Vec<f64> =
                    text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
                let allocations = numbers.get(1).copied();
                numbers.first().map(|&bytes| Memory { bytes, allocations })
            }
        };
        figures.extend(memory.map(|memory| (*name, memory)));
    }
    let rows = |title: &str, unit, figure: fn(&Memory) -> Option<f64>| {
        let ours = figures.first().and_then(|(_, memory)| figure(memory));
        let row = |&(name, ref memory): &(_, Memory)| {
            let value = figure(memory)?;
            let ratio = value / ours?;
            let group = format!("{title}, {calls} of them");
            let (min, median) = (value, value);
            Some(Row {
                group,
                name,
                unit,
                min,
                median,
                p99: None,
                cpu: None,
                switches: None,
                by_cpu: false,
                ratio,
            })
        };
        figures.iter().filter_map(row).collect()
    };
    report.add(rows("memory of a pending call", "bytes", |memory| Some(memory.bytes)));
    report.add(rows("allocations for a call", "allocations", |memory| memory.allocations));
}

fn memory_of(name: &str, calls: usize) {
    let mut peers = peers::start(1, |other| other == name);
    if let Some(memory) = peers.first_mut().and_then(|started| started.peer.memory(calls)) {
        let allocations = memory.allocations.map_or(String::new(), |count| count.to_string());
        println!("{} {allocations}", memory.bytes);
    }
}
