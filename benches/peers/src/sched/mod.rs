//! `sched` beside its peers: `peers sched [--rounds N] [--sizes N,N,...] [--only WORK,WORK,...]
//! [--peers NAME,NAME,...] [--csv FILE]`. The works are bulk, hold, alone, cancel, memory, lateness, earlier.
//!
//! In each round every peer has its turn, so that other load on the machine meets all of them. The ratio
//! of a peer to this crate is the median of the ratios within each round. If one thread at a time does all
//! the work, it is the ratio of processor times, which depend less on other load.

mod by_hand;
mod delay_queue;
mod ours;
mod outside;
mod structure;
mod thread_pool;
mod work;

use std::process::Command;

use crate::options::Options;
use crate::random::Turns;
use crate::report::{Report, Row, quantile};
use by_hand::{ByHand, HashedHeap, StdCondvar, StdHeap};
use outside::Outside;
use work::{Peer, Sample};

const USAGE: &str =
    "sched [--rounds N] [--sizes N,...] [--only WORK,...] [--peers NAME,...] [--csv FILE]";

/// Ours first.
fn in_rust() -> Vec<Box<dyn Peer>> {
    let mut peers = ours::Ours::all();
    peers.push(Box::new(delay_queue::TokioDelayQueue));
    peers.push(Box::new(thread_pool::ScheduledPool));
    peers.push(Box::new(ByHand::<StdHeap>::new()));
    peers.push(Box::new(ByHand::<HashedHeap>::new()));
    peers
}

pub fn run(arguments: &[String]) {
    if let [work, peer, count] = arguments
        && work == "memory-of"
    {
        return memory_of(peer, count.parse().expect("a number"));
    }
    let options = Options::parse(USAGE, arguments);
    let mut report = Report::default();
    let mut peers = in_rust();
    let outside: [(_, fn() -> _); 2] = [("CPython", Outside::python), ("Java", Outside::java)];
    for (name, start) in outside {
        if options.has(name) {
            peers.extend(start().map(|peer| Box::new(peer) as _));
        }
    }
    peers.push(Box::new(StdCondvar));
    peers.retain(|peer| options.has(peer.name()));

    let rounds = options.number("--rounds", 5);
    let sizes = options.numbers("--sizes", &[1_000, 100_000, 1_000_000]);
    for &size in &sizes {
        // A short work is repeated. The slow ones of a million are asked for three rounds at most.
        let repeat = (100_000 / size.max(1)).max(1);
        let rounds = if size >= 1_000_000 { rounds.min(3) } else { rounds };
        if options.wants("bulk") {
            let title = format!("enter {size} at random times, run all");
            let work = |peer: &mut dyn Peer| peer.bulk(size);
            report.add(compare(&title, size, rounds, repeat, &mut peers, work));
        }
        if options.wants("hold") {
            let title = format!("run the next, enter one, {size} pending");
            report.add(compare(&title, size, rounds, 1, &mut peers, |peer| peer.hold(size)));
        }
        if options.wants("alone") {
            let title = format!("the same, the structures alone, {size} pending");
            let mut structures = structure::all();
            report.add(compare(&title, size, rounds, 1, &mut structures, |peer| peer.hold(size)));
        }
        if options.wants("cancel") {
            let title = format!("cancel half of {size} at random");
            let work = |peer: &mut dyn Peer| peer.cancel(size);
            report.add(compare(&title, size, rounds, repeat.min(10), &mut peers, work));
        }
    }
    if options.wants("memory") {
        report.add(memory(&mut peers, *sizes.last().unwrap_or(&1_000_000)));
    }
    if options.wants("lateness") {
        report.add(lateness(&mut peers, rounds, 1_000));
    }
    if options.wants("earlier") {
        report.add(earlier(&mut peers, rounds));
    }
    report.write(&options);
}

/// Touches as much memory as any peer takes for `size` events, and returns it. A virtual machine may
/// have to ask its host for memory that was not touched for a while, which is slower by far, and would
/// meet the peer that comes first.
fn warm_memory(size: usize) {
    drop(std::hint::black_box(vec![1_u8; size * 256]));
}

/// Runs `work` in turn on all peers that can do it, `rounds` times, with `size` events each.
fn compare(
    group: &str,
    size: usize,
    rounds: usize,
    repeat: usize,
    peers: &mut [Box<dyn Peer>],
    mut work: impl FnMut(&mut dyn Peer) -> Option<Sample>,
) -> Vec<Row> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); peers.len()];
    let mut turns = Turns::of(peers.len());
    for _ in 0..rounds {
        for &turn in turns.next() {
            let peer = &mut peers[turn];
            warm_memory(size);
            let repeated: Option<Vec<_>> = (0..repeat).map(|_| work(peer.as_mut())).collect();
            samples[turn].extend(repeated.map(|repeated| Sample::mean(&repeated)));
        }
    }
    let ours = samples[0].clone();
    let of = |peer: &dyn Peer, samples: &[Sample]| {
        let walls: Vec<_> = samples.iter().map(|sample| sample.wall).collect();
        let cpus: Vec<_> = samples.iter().map(|sample| sample.cpu).collect();
        let ratios: Vec<_> = samples.iter().zip(&ours).map(|(a, b)| a.cpu / b.cpu).collect();
        Row {
            group: group.to_owned(),
            name: peer.name(),
            unit: "ns",
            min: quantile(&walls, 0.0),
            median: quantile(&walls, 0.5),
            p99: None,
            cpu: Some(quantile(&cpus, 0.5)),
            by_cpu: true,
            switches: None,
            ratio: quantile(&ratios, 0.5),
        }
    };
    let measured = peers.iter().zip(&samples).filter(|(_, samples)| !samples.is_empty());
    measured.map(|(peer, samples)| of(peer.as_ref(), samples)).collect()
}

/// The rows of figures that are not averaged.
fn rows(group: &str, unit: &'static str, figures: Vec<(&'static str, Vec<f64>, f64)>) -> Vec<Row> {
    let ours = figures.first().map_or(f64::NAN, |(_, values, _)| quantile(values, 0.5));
    let row = |(name, values, cpu): (_, Vec<f64>, f64)| Row {
        group: group.to_owned(),
        name,
        unit,
        min: quantile(&values, 0.0),
        median: quantile(&values, 0.5),
        p99: (values.len() > 99).then(|| quantile(&values, 0.99)),
        cpu: cpu.is_finite().then_some(cpu),
        by_cpu: false,
        switches: None,
        ratio: quantile(&values, 0.5) / ours,
    };
    figures.into_iter().map(row).collect()
}

fn lateness(peers: &mut [Box<dyn Peer>], rounds: usize, count: usize) -> Vec<Row> {
    let mut figures: Vec<_> = peers.iter().map(|peer| (peer.name(), vec![], vec![])).collect();
    let mut turns = Turns::of(peers.len());
    for _ in 0..rounds {
        for &turn in turns.next() {
            let (_, late, cpus) = &mut figures[turn];
            if let Some((more, cpu)) = peers[turn].lateness(count) {
                late.extend(more);
                cpus.push(cpu);
            }
        }
    }
    figures.retain(|(_, late, _)| !late.is_empty());
    let figures = figures.into_iter().map(|(name, late, cpus)| (name, late, quantile(&cpus, 0.5)));
    rows("lateness on the real clock, 1 ms apart", "us", figures.collect())
}

fn earlier(peers: &mut [Box<dyn Peer>], rounds: usize) -> Vec<Row> {
    let mut figures: Vec<_> = peers.iter().map(|peer| (peer.name(), vec![], f64::NAN)).collect();
    let mut turns = Turns::of(peers.len());
    for round in 0..rounds * 8 {
        for &turn in turns.next() {
            let (name, late, _) = &mut figures[turn];
            // CPython sleeps for the whole second each time.
            if *name != "CPython sched" || round < 2 {
                late.extend(peers[turn].earlier());
            }
        }
    }
    figures.retain(|(_, late, _)| !late.is_empty());
    rows("lateness of an earlier event entered by another thread", "us", figures)
}

/// Bytes for each pending event; each peer in a process of its own, with a fresh heap.
fn memory(peers: &mut [Box<dyn Peer>], count: usize) -> Vec<Row> {
    let mut figures = Vec::new();
    for peer in peers {
        let here = in_rust().iter().any(|other| other.name() == peer.name());
        let bytes = if here {
            let program = std::env::current_exe().expect("the system knows what runs");
            let mut command = Command::new(program);
            command.args(["sched", "memory-of", peer.name(), &count.to_string()]);
            let output = command.output().expect("this program runs again");
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        } else {
            peer.memory(count)
        };
        figures.extend(bytes.map(|bytes: f64| (peer.name(), vec![bytes], f64::NAN)));
    }
    rows(&format!("memory of a pending event, {count} of them"), "bytes", figures)
}

fn memory_of(name: &str, count: usize) {
    let mut peers = in_rust();
    let peer =
        peers.iter_mut().find(|peer| peer.name() == name).expect("it was one of these that asked");
    println!("{}", peer.memory(count).unwrap_or(f64::NAN));
}
