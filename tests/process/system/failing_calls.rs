//! Each system call of a pool fails, once and always, in the parent and in the worker.
//!
//! Which calls there are is counted in a run in which none fails. Whatever fails, each call of the pool
//! gives the right value or an error that says what the system has refused; nothing hangs, and once
//! the system refuses nothing any more the same pool computes right values.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::SharedBytes;

use crate::exchange::{Exchange, double};
use crate::fault_injection::Bytes;
use crate::support::{LIMIT, ProcessGate, in_own_process, replacing, trials};
use crate::system::seccomp::{CALLS, Refusal, Refusals, Side};

trials![
    within LIMIT * 4,
    at_a_start_in_the_parent,
    at_a_start_in_the_worker,
    at_an_initializer_in_the_parent,
    at_an_initializer_in_the_worker,
    at_the_start_of_a_second_worker,
    at_messages_in_the_parent,
    at_messages_in_the_worker,
    at_a_kill,
    at_an_idle_end,
    at_a_shutdown,
];

fn at_a_start_in_the_parent() {
    in_own_process(&["refused", "Start", "Parent"]);
}

fn at_a_start_in_the_worker() {
    in_own_process(&["refused", "Start", "Worker"]);
}

fn at_an_initializer_in_the_parent() {
    in_own_process(&["refused", "Initializer", "Parent"]);
}

fn at_an_initializer_in_the_worker() {
    in_own_process(&["refused", "Initializer", "Worker"]);
}

fn at_the_start_of_a_second_worker() {
    in_own_process(&["refused", "Second", "both"]);
}

fn at_messages_in_the_parent() {
    in_own_process(&["refused", "Messages", "Parent"]);
}

fn at_messages_in_the_worker() {
    in_own_process(&["refused", "Messages", "Worker"]);
}

fn at_a_kill() {
    in_own_process(&["refused", "Kill", "both"]);
}

fn at_an_idle_end() {
    in_own_process(&["refused", "Idle", "both"]);
}

fn at_a_shutdown() {
    in_own_process(&["refused", "Shutdown", "both"]);
}

/// The state of a pool meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Initializer,
    /// A second worker starts, for a call without which that of the first does not end.
    Second,
    Messages,
    Kill,
    Idle,
    Shutdown,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Start,
        Self::Initializer,
        Self::Second,
        Self::Messages,
        Self::Kill,
        Self::Idle,
        Self::Shutdown,
    ];

    /// Whether a worker is being started.
    fn is_start(self) -> bool {
        matches!(self, Self::Start | Self::Initializer | Self::Second)
    }
}

/// One of the cells of the matrix.
#[derive(Clone, Copy, Debug)]
struct Cell {
    phase: Phase,
    /// `None` for the run that counts.
    refusal: Option<Refusal>,
}

/// The context that a test names when it fails or hangs.
static CELL: Mutex<String> = Mutex::new(String::new());

/// The most of the calls of one kind that fail one by one.
const ONE_BY_ONE: u32 = 8;

pub(crate) fn act(phase: &str, side: &str) {
    let phase = Phase::ALL.into_iter().find(|known| format!("{known:?}") == phase).unwrap();
    let sides = [Side::Parent, Side::Worker].into_iter();
    let sides = sides.filter(|known| side == "both" || format!("{known:?}") == side);
    let alive = watchdog();
    let refusals = match Refusals::begin() {
        Ok(refusals) => refusals,
        Err(error) => return eprintln!("skipped: calls cannot be filtered here: {error}"),
    };
    let mut pool = replacing(1);
    Cell { phase, refusal: None }.play(refusals, &mut pool);
    let calls = sides.flat_map(|side| (0..CALLS.len()).map(move |call| (side, call)));
    let seen: Vec<_> = calls.map(|(side, call)| (side, call, refusals.seen(side, call))).collect();
    assert!(seen.iter().filter(|(_, _, seen)| *seen > 0).count() > 4, "nothing is seen: {seen:?}");
    for (side, call, seen) in seen {
        for (nth, error) in errors(phase, call, seen) {
            let cell = Cell { phase, refusal: Some(Refusal { side, call, nth, error }) };
            *CELL.lock().unwrap() = cell.to_string();
            cell.play(refusals, &mut pool);
            alive.send(()).unwrap();
        }
    }
    eprintln!("{} programs were started", refusals.programs());
}

/// Ends this process if a cell takes too long.
fn watchdog() -> mpsc::Sender<()> {
    let (alive, watched) = mpsc::channel();
    std::thread::spawn(move || {
        loop {
            match watched.recv_timeout(Duration::from_secs(30)) {
                Ok(()) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => break,
            }
        }
        eprintln!("{} hangs", CELL.lock().unwrap());
        std::process::abort();
    });
    alive
}

/// The errors of a call: those at the beginning and at the end one by one, and all together.
fn errors(phase: Phase, call: usize, seen: u32) -> Vec<(Option<u32>, i32)> {
    let call = &CALLS[call];
    if seen == 0 {
        return Vec::new();
    }
    let few = ONE_BY_ONE.min(seen);
    let numbers = (0..few).map(|n| if n < few / 2 { n } else { seen - few + n });
    let once = numbers.zip(call.errors.iter().cycle()).map(|(nth, error)| (Some(nth), *error));
    // For ever interrupted is nobody, and who is never woken by anybody dies of that.
    let wakes = call.name == "SYS_write" && !phase.is_start();
    let lasting = call.errors.iter().filter(|error| **error != libc::EINTR && !wakes);
    // A start is tried again for a while.
    let most = if phase.is_start() { 1 } else { call.errors.len() };
    once.chain(lasting.take(most).map(|error| (None, *error))).collect()
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(Refusal { side, call, nth, error }) = self.refusal else {
            return write!(f, "{:?}", self.phase);
        };
        let error = io::Error::from_raw_os_error(error);
        write!(f, "{:?} {side:?} {} {nth:?}: {error}", self.phase, CALLS[call].name)
    }
}

impl Cell {
    fn play(self, refusals: &Refusals, living: &mut ProcessPoolExecutor) {
        let is_named = |text: &str| self.is_named(text);
        let exchange = Exchange { circumstances: &self, is_named: &is_named };
        match self.phase {
            Phase::Start => {
                // A death breaks it: what is refused must be none.
                let pool = ProcessPoolExecutor::new(1).unwrap();
                refusals.refuse(self.refusal);
                let call = exchange.expect("the call", pool.submit(double, 4), |n| *n == 8);
                refusals.end();
                if self.may_break(call.as_ref()) {
                    self.is_usable(&ProcessPoolExecutor::new(1).unwrap());
                } else {
                    self.is_usable(&pool);
                }
            }
            Phase::Initializer => {
                let pool = with_initializer();
                refusals.refuse(self.refusal);
                let call = exchange.expect("the call", pool.submit(noted, ()), |n| *n == SIZE);
                refusals.end();
                if !self.may_break(call.as_ref()) {
                    self.is_usable(&pool);
                    let again = Exchange::flawless(&self);
                    again.expect("a call", pool.submit(noted, ()), |n| *n == SIZE);
                }
            }
            Phase::Second => {
                let (pool, gate) = (replacing(2), ProcessGate::new());
                let pass = |gate: String| ProcessGate::pass(&gate);
                let first = pool.submit(pass, gate.name()).unwrap();
                gate.wait_begun();
                refusals.refuse(self.refusal);
                let second = pool.submit(open, gate.name()).unwrap();
                while refusals.refused() == 0 && !second.done() {
                    std::thread::park_timeout(Duration::from_micros(100)); // it is being started
                }
                refusals.end();
                let opened = std::cell::Cell::new(false);
                exchange.expect("the second call", Ok(second), |done| {
                    opened.set(done.is_ok());
                    done.as_ref().map_or_else(|text| is_named(text), |()| true)
                });
                if !opened.get() {
                    gate.open();
                }
                first.into_result().unwrap();
                self.is_usable(&pool);
            }
            Phase::Messages => {
                self.is_usable(living);
                let before = living.stats();
                refusals.refuse(self.refusal);
                exchange.with(living);
                refusals.end();
                self.is_usable(living);
                assert_eq!(living.stats().died, before.died, "{self}");
            }
            Phase::Kill => {
                self.is_usable(living);
                let call = living.submit(forever, ()).unwrap();
                while !call.running() {
                    std::thread::park_timeout(Duration::from_micros(100)); // it is being started
                }
                refusals.refuse(self.refusal);
                assert!(call.kill(), "{self}");
                let error = call.into_result().unwrap_err();
                refusals.end();
                assert!(matches!(error, Error::Killed { .. }), "{self}: {error}");
                self.is_usable(living);
            }
            Phase::Idle => {
                let limit = Duration::from_millis(10);
                let pool = ProcessPoolExecutor::builder().max_workers(1).idle_timeout(limit);
                let pool = pool.build().unwrap();
                self.is_usable(&pool);
                refusals.refuse(self.refusal);
                while pool.stats().workers > 0 {
                    std::thread::park_timeout(Duration::from_micros(100)); // it is about to end
                }
                refusals.end();
                self.is_usable(&pool);
                assert_eq!(pool.stats().died, 0, "{self}");
            }
            Phase::Shutdown => {
                let pool = replacing(1);
                self.is_usable(&pool);
                refusals.refuse(self.refusal);
                drop(pool);
                refusals.end();
            }
        }
    }

    /// Whether the pool was broken for a reason: a program that cannot be loaded dies without having
    /// heard of the pool, and a lasting refusal kills one worker after the other.
    fn may_break(self, error: Option<&Error>) -> bool {
        let Some(error @ Error::BrokenProcessPool { .. }) = error else { return false };
        let Some(death) = error.worker_death() else {
            // `stacker` panics if it is refused the memory that the initializer was not refused just before.
            assert!(error.to_string().contains("stacker"), "{self}: {error}");
            return true;
        };
        let unloaded = death.exit_code == Some(127);
        let lasting = self.refusal.is_some_and(|refusal| refusal.nth.is_none());
        assert!(unloaded || lasting, "{self}: {death}");
        true
    }

    fn is_named(self, text: &str) -> bool {
        let Some(refusal) = self.refusal else { return false };
        let error = io::Error::from_raw_os_error(refusal.error).to_string();
        // A thread that has no memory is refused with another error, what stays mapped cannot be
        // sealed, a process that nobody can wait for seems to be gone, and a worker without its
        // channel has its standard error only.
        text.contains(&error)
            || CALLS[refusal.call].name == "SYS_clone3" && text.contains("can't start new thread")
            || CALLS[refusal.call].name == "SYS_munmap" && text.contains("resource busy")
            || refusal.error == libc::ECHILD && text.contains("was reaped by another part")
            || text.contains("no memory to wake it with")
            || refusal.side == Side::Worker && text.contains("its standard error says why")
    }

    fn is_usable(self, pool: &ProcessPoolExecutor) {
        Exchange::flawless(&self).with(pool);
    }
}

/// The bytes of an argument of an initializer.
const SIZE: usize = 100_000;

/// A pool whose workers are given bytes in each way, and note how many.
fn with_initializer() -> ProcessPoolExecutor {
    let note = |(large, shared): (Bytes, SharedBytes)| {
        assert!(large.0.iter().eq(&shared[..]));
        NOTED.store(large.0.len(), Ordering::Relaxed);
    };
    let bytes: Vec<u8> = (0..251).cycle().take(SIZE).collect();
    let shared = SharedBytes::copy_from(&bytes).unwrap();
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    builder.initializer(note, (Bytes(bytes), shared)).build().unwrap()
}

static NOTED: AtomicUsize = AtomicUsize::new(0);

fn noted((): ()) -> usize {
    NOTED.load(Ordering::Relaxed)
}

/// Lets a call through a gate.
fn open(gate: String) -> Result<(), String> {
    let go = std::fs::File::options().write(true).open(format!("{gate}/go"));
    go.and_then(|mut go| go.write_all(b"x")).map_err(|error| error.to_string())
}

fn forever((): ()) {
    loop {
        std::thread::park();
    }
}
