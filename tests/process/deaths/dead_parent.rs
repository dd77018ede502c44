//! The program that has the pool is killed, at every step of a worker's life: no worker survives it.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fault_injection::{Fault, FaultPoint, Step, is_stopped, send, work};
use crate::support::{ProcessGate, eventually, lives, own, trials};

trials![
    the_parent_is_killed_at_each_step,
    the_parent_ends_in_other_ways,
    the_parent_of_a_halted_worker_is_killed,
    the_parent_is_killed_during_shutdown,
    the_parent_is_killed_and_a_fork_of_it_lives_on,
];

/// How long a worker may survive its parent.
const SURVIVAL: Duration = Duration::from_secs(1);

/// The most that counts of a time in which the test looked away: its naps are shorter.
const AWAY: Duration = Duration::from_millis(5);

/// A program with a worker that stands at the gate.
struct Family {
    gate: ProcessGate,
    parent: Child,
    worker: u32,
}

impl Family {
    fn new(step: Step, what: &str) -> Self {
        let gate = ProcessGate::new();
        let mut command = own(&["orphan", &format!("{step:?}"), &gate.name(), what]);
        let parent = command.stdin(Stdio::piped()).spawn().unwrap();
        let worker = gate.wait_begun();
        assert!(lives(worker));
        Self { gate, parent, worker }
    }

    fn kill_parent(&mut self, signal: Signal) {
        send(self.parent.id(), signal);
        self.parent.wait().unwrap();
    }

    fn assert_ends(&self, what: &str) {
        // Time in which this thread did not get a processor itself counts for a little only.
        let (took, last) = (Cell::new(Duration::ZERO), Cell::new(Instant::now()));
        eventually(what, || {
            let now = Instant::now();
            took.set(took.get() + (now - last.replace(now)).min(AWAY));
            !lives(self.worker)
        });
        let took = took.get();
        assert!(took < SURVIVAL, "{what}: {took:?}");
        assert!(!Path::new(&self.gate.name()).join("escaped").exists(), "{what}: it ran on");
    }
}

fn the_parent_is_killed_at_each_step() {
    for step in Step::ALL {
        let mut family = Family::new(step, "waits");
        family.kill_parent(Signal::KILL);
        if step == Step::BeforeHandshake {
            family.gate.open(); // what runs there is not ours, and asked for no signal
        }
        family.assert_ends(&format!("the end of a worker at {step:?}"));
    }
}

fn the_parent_ends_in_other_ways() {
    // Not INT or QUIT: a shell has what it starts in the background ignore them.
    for signal in [Signal::TERM, Signal::ABORT] {
        let mut family = Family::new(Step::Running, "waits");
        family.kill_parent(signal);
        family.assert_ends(&format!("the end of a worker after {signal:?}"));
    }
    let mut family = Family::new(Step::Running, "exits");
    drop(family.parent.stdin.take());
    assert!(family.parent.wait().unwrap().success());
    family.assert_ends("the end of a worker after exit(0)");
}

fn the_parent_of_a_halted_worker_is_killed() {
    for step in [Step::Initializing, Step::Running, Step::HalfWay, Step::Beside, Step::Ending] {
        let mut family = Family::new(step, "has a halted worker");
        family.gate.open();
        eventually("a halt", || is_stopped(family.worker));
        family.kill_parent(Signal::KILL);
        family.assert_ends(&format!("the end of a worker halted at {step:?}"));
    }
}

fn the_parent_is_killed_during_shutdown() {
    for step in [Step::Running, Step::Ending] {
        let mut family = Family::new(step, "shuts down");
        family.kill_parent(Signal::KILL);
        family.assert_ends(&format!("the end of a worker at {step:?}, during shutdown"));
    }
}

fn the_parent_is_killed_and_a_fork_of_it_lives_on() {
    for step in Step::ALL {
        let mut family = Family::new(step, "forks");
        let mut lifeline = family.parent.stdin.take().unwrap();
        lifeline.write_all(b"f").unwrap();
        let fork = Path::new(&family.gate.name()).join("forked");
        eventually("a fork", || fork.exists());
        family.kill_parent(Signal::KILL);
        if step == Step::BeforeHandshake {
            family.gate.open();
        }
        family.assert_ends(&format!("the end of a worker at {step:?}, before that of a fork"));
        drop(lifeline);
    }
}

/// When it is told to: a process that has all that this one has open, until its input ends.
fn fork(gate: &str) {
    let told = || std::io::stdin().read(&mut [0]).is_ok_and(|count| count == 1);
    assert!(told());
    // SAFETY: the child calls nothing but what the system does.
    if unsafe { libc::fork() } == 0 {
        let mut byte = 0_u8;
        // SAFETY: there is room for it.
        while unsafe { libc::read(0, (&raw mut byte).cast(), 1) } > 0 {}
        // SAFETY: it ends the process, and nothing else.
        unsafe { libc::_exit(0) };
    }
    File::create(format!("{gate}/forked")).unwrap();
}

/// The parent.
pub(crate) fn act(step: &str, gate: &str, what: &str) {
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    );
    let fault = if what == "has a halted worker" { Fault::Stop } else { Fault::Nothing };
    let point = FaultPoint::new(Step::from_name(step), fault, gate.to_owned());
    let pool = point.builder().build().unwrap();
    let call = pool.submit(work, point.order()).unwrap();
    match what {
        "shuts down" => pool.shutdown(),
        "forks" => fork(gate),
        "exits" => {
            let _ = std::io::stdin().read(&mut [0]); // until it is told to
            std::process::exit(0);
        }
        _ => {}
    }
    let _ = call.result();
    loop {
        std::thread::park();
    }
}
