//! Each system call of a pool fails, once and always, in the parent and in the worker.
//!
//! Which calls there are is counted in a run in which none fails. Whatever fails, each call of the pool
//! gives the right value or an error that says what the system has refused; nothing hangs, and once
//! the system refuses nothing any more the same pool computes right values.

use std::fmt::Debug;
use std::io;
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use concurrent::futures::process::SharedBytes;
use concurrent::futures::{Future, ProcessPoolExecutor};
use concurrent::{Error, Result};

use crate::mine::Bytes;
use crate::refusals::{CALLS, Refusal, Refusals, Side};
use crate::support::{LIMIT, in_own_process, replacing, trials};

trials![
    within LIMIT * 4,
    at_a_start_in_the_parent,
    at_a_start_in_the_worker,
    at_messages_in_the_parent,
    at_messages_in_the_worker,
    at_a_kill,
    at_a_shutdown,
];

fn at_a_start_in_the_parent() {
    in_own_process(&["refused", "Start", "Parent"]);
}

fn at_a_start_in_the_worker() {
    in_own_process(&["refused", "Start", "Worker"]);
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

fn at_a_shutdown() {
    in_own_process(&["refused", "Shutdown", "both"]);
}

/// What a pool is doing meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Messages,
    Kill,
    Shutdown,
}

/// One of the cells of the matrix.
#[derive(Clone, Copy, Debug)]
struct Cell {
    phase: Phase,
    /// `None` for the run that counts.
    refusal: Option<Refusal>,
}

/// What is said of a test that fails or hangs.
static CELL: Mutex<String> = Mutex::new(String::new());

/// The most of the calls of one kind that fail one by one.
const ONE_BY_ONE: u32 = 8;

pub(crate) fn act(phase: &str, side: &str) {
    let phases = [Phase::Start, Phase::Messages, Phase::Kill, Phase::Shutdown];
    let phase = phases.into_iter().find(|known| format!("{known:?}") == phase).unwrap();
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

/// What a call fails with: those at the beginning and at the end one by one, and all together.
fn errors(phase: Phase, call: usize, seen: u32) -> Vec<(Option<u32>, i32)> {
    let call = &CALLS[call];
    if seen == 0 {
        return Vec::new();
    }
    let few = ONE_BY_ONE.min(seen);
    let numbers = (0..few).map(|n| if n < few / 2 { n } else { seen - few + n });
    let once = numbers.zip(call.errors.iter().cycle()).map(|(nth, error)| (Some(nth), *error));
    // For ever interrupted is nobody, and who is never woken by anybody dies of that.
    let wakes = call.name == "SYS_write" && phase != Phase::Start;
    let lasting = call.errors.iter().filter(|error| **error != libc::EINTR && !wakes);
    // A start is tried again for a while.
    let most = if phase == Phase::Start { 1 } else { call.errors.len() };
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
        match self.phase {
            Phase::Start => {
                // A death breaks it: what is refused must be none.
                let pool = ProcessPoolExecutor::new(1).unwrap();
                refusals.refuse(self.refusal);
                let call = self.expect("the call", pool.submit(double, 4), |n| *n == 8);
                refusals.end();
                if self.may_break(call.as_ref()) {
                    self.is_usable(&ProcessPoolExecutor::new(1).unwrap());
                } else {
                    self.is_usable(&pool);
                }
            }
            Phase::Messages => {
                self.is_usable(living);
                let before = living.stats();
                refusals.refuse(self.refusal);
                self.messages(living);
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
        let Some(Error::BrokenProcessPool { .. }) = error else { return false };
        let death = error.and_then(Error::worker_death).expect("a death");
        let unloaded = death.exit_code == Some(127);
        let lasting = self.refusal.is_some_and(|refusal| refusal.nth.is_none());
        assert!(unloaded || lasting, "{self}: {death}");
        true
    }

    /// The right value, or an error that says what was refused.
    fn expect<T: Debug + Send + Sync>(
        self,
        what: &str,
        call: Result<Future<T>>,
        is_right: impl Fn(&T) -> bool,
    ) -> Option<Error> {
        match call.and_then(Future::into_result) {
            Ok(value) => {
                assert!(is_right(&value), "{self}: {what} has a wrong value");
                None
            }
            Err(error) => {
                assert!(self.is_named(&error.to_string()), "{self}: {what}: {error}");
                Some(error)
            }
        }
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

    /// What a pool is used for, in both directions.
    fn messages(self, pool: &ProcessPoolExecutor) {
        self.expect("a small call", pool.submit(double, 4), |n| *n == 8);
        let is_pattern = |bytes: Bytes| bytes.0 == pattern(LARGE);
        let large = pool.submit(is_pattern, Bytes(pattern(LARGE)));
        self.expect("a large argument", large, |is_right| *is_right);
        let large = pool.submit(|len| Bytes(pattern(len)), LARGE);
        self.expect("a large result", large, |bytes| bytes.0 == pattern(LARGE));
        let is_pattern = |bytes: SharedBytes| bytes[..] == pattern(LARGE)[..];
        let shared = SharedBytes::copy_from(&pattern(LARGE));
        let shared = shared.and_then(|shared| pool.submit(is_pattern, shared));
        self.expect("a shared argument", shared, |is_right| *is_right);
        let make = |len| SharedBytes::copy_from(&pattern(len)).map_err(|error| error.to_string());
        self.expect("a shared result", pool.submit(make, LARGE), |made| match made {
            Ok(bytes) => bytes[..] == pattern(LARGE)[..],
            Err(text) => self.is_named(text),
        });
        // Piece by piece, so that the memory for it grows.
        let pieces = || vec!["x".repeat(1000); 150];
        let back = pool.submit(|pieces: Vec<String>| pieces, pieces());
        self.expect("a message of pieces", back, |back| *back == pieces());
        let three = (
            pool.submit(double, 5),
            pool.submit(|bytes: Bytes| bytes, Bytes(pattern(2 * LARGE))),
            pool.submit(double, 6),
        );
        self.expect("the first of three", three.0, |n| *n == 10);
        self.expect("the second of three", three.1, |bytes| bytes.0 == pattern(2 * LARGE));
        self.expect("the third of three", three.2, |n| *n == 12);
    }

    fn is_usable(self, pool: &ProcessPoolExecutor) {
        Self { refusal: None, ..self }.messages(pool);
    }
}

fn double(n: u64) -> u64 {
    n * 2
}

fn forever((): ()) {
    loop {
        std::thread::park();
    }
}

/// So much that it travels in memory of its own.
const LARGE: usize = 100_000;

fn pattern(len: usize) -> Vec<u8> {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| (0..251).cycle().take(2 * LARGE).collect())[..len].to_vec()
}
