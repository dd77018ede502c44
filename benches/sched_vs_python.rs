//! Ours against CPython's `sched`: events entered at random times on a virtual clock, then run.
//!
//!     cargo bench --bench sched_vs_python            # a million events, three rounds
//!     cargo bench --bench sched_vs_python -- 100000  # fewer
//!
//! They take turns, so that a busy machine slows down both. Each measurement has a process of its own, so
//! that none inherits another's heap. Clocks and actions do no other work. Ours runs on `with_clock`, as
//! Python's does, and once more on a `VirtualClock`.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use concurrent::sched::{Scheduler, VirtualClock};

const ROUNDS: usize = 3;

/// Prints the nanoseconds. The garbage collector is off: it would only add to its time.
const PYTHON: &str = r#"
import gc, random, sched, sys, time
gc.disable()
count = int(sys.argv[1])
numbers = random.Random(20)
times = [numbers.randrange(1 << 24) for _ in range(count)]
now = 0
def advance(delay):
    global now
    now += delay
ran = 0
def action(number):
    global ran
    ran += 1
s = sched.scheduler(lambda: now, advance)
start = time.perf_counter_ns()
for number in times:
    s.enterabs(number, 1, action, (number,))
s.run()
end = time.perf_counter_ns()
assert ran == count
print(end - start)
"#;

/// The time that a child process prints.
fn measure(command: &mut Command) -> Option<Duration> {
    let output = command.stderr(Stdio::inherit()).output().ok()?;
    let nanos = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
    Some(Duration::from_nanos(nanos))
}

fn in_python(count: u64) -> Option<Duration> {
    measure(Command::new("python3").args(["-c", PYTHON, &count.to_string()]))
}

/// Runs this program again, for one measurement of ours.
fn in_child(which: &str, count: u64) -> Duration {
    let program = std::env::current_exe().expect("the system knows what runs");
    let child = &mut Command::new(program);
    measure(child.args([which, &count.to_string()])).expect("this program runs again")
}

fn times(count: u64) -> Vec<u64> {
    let mut state = 20_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        state >> 40
    };
    (0..count).map(|_| next()).collect()
}

fn here(s: &Scheduler<u64>, count: u64) -> Duration {
    let times = times(count);
    let ran = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    for number in times {
        let ran = Arc::clone(&ran);
        s.enterabs(number, 1, move || {
            ran.fetch_add(1, Relaxed);
        });
    }
    s.run().expect("no action fails");
    let elapsed = start.elapsed();
    assert_eq!(ran.load(Relaxed), count);
    elapsed
}

fn with_clock() -> Scheduler<u64> {
    let now = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&now);
    Scheduler::with_clock(
        move || read.load(Relaxed),
        move |delay| {
            now.fetch_add(delay, Relaxed);
        },
    )
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = arguments.iter().find_map(|argument| argument.parse().ok());
    let count = number.unwrap_or(1_000_000);
    let own = match arguments.first().map(String::as_str) {
        Some("closures") => Some(with_clock()),
        Some("virtual") => Some(Scheduler::with_virtual_clock(&VirtualClock::starting_at(0))),
        _ => None,
    };
    if let Some(s) = own {
        println!("{}", here(&s, count).as_nanos());
        return;
    }

    let (mut python, mut closures, mut simulated) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let Some(time) = in_python(count) else {
            println!("SKIPPED: no python3 to compare with");
            return;
        };
        python.push(time);
        closures.push(in_child("closures", count));
        simulated.push(in_child("virtual", count));
    }
    let python = median(python);
    println!("{count} events entered at random times and run; median of {ROUNDS} rounds");
    println!("{:<28} {:>10} {:>10} {:>8}", "", "total", "per event", "ratio");
    for (name, time) in [
        ("CPython's sched", python),
        ("ours, with_clock", median(closures)),
        ("ours, VirtualClock", median(simulated)),
    ] {
        let seconds = time.as_secs_f64();
        println!(
            "{name:<28} {seconds:>8.3} s {:>7.0} ns {:>7.1}x",
            seconds * 1e9 / count as f64,
            python.as_secs_f64() / seconds,
        );
    }
}
