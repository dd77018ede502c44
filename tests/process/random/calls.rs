//! The calls of random pools, and how each may end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use concurrent::futures::process::{OnWorkerDeath, SharedBytes};
use concurrent::futures::{Future, ProcessPoolExecutor};
use concurrent::{Error, Result};
use rustix::process::{Signal, getpid, kill_process};

use crate::common::random::Random;
use crate::random::pools::Facts;
use crate::support::eventually;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Doubles,
    /// Takes so many microseconds.
    Works(u64),
    /// Numbers there and back.
    Inverts(usize),
    Repeats(usize),
    /// Gives shared bytes.
    Makes(usize),
    /// Takes shared bytes that others take as well.
    Sums,
    Panics,
    /// Ends its worker in one way of several.
    Dies(u64),
    /// Does not end.
    Parks,
}

pub(crate) fn kinds(random: &mut Random) -> Kind {
    let (small, large) = (random.below(3_000) as usize, random.below(150_000) as usize);
    match random.below(64) {
        0..20 => Kind::Doubles,
        20..26 => Kind::Works(random.below(5_000)),
        26..34 => Kind::Inverts(small),
        34..38 => Kind::Inverts(large),
        38 => Kind::Inverts(8 * large),
        39..44 => Kind::Repeats(small),
        44..47 => Kind::Repeats(8 * large),
        47..49 => Kind::Makes(small),
        49..51 => Kind::Makes(8 * large),
        51..56 => Kind::Sums,
        56..59 => Kind::Panics,
        59..61 => Kind::Dies(random.below(4)),
        61 => Kind::Parks,
        _ => Kind::Doubles,
    }
}

pub(crate) fn double(n: u64) -> u64 {
    n * 2
}

fn work((n, micros): (u64, u64)) -> u64 {
    std::thread::park_timeout(Duration::from_micros(micros));
    n * 2
}

fn invert(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(|number| !number).collect()
}

fn repeat((text, count): (String, usize)) -> String {
    text.repeat(count)
}

fn make((n, len): (u64, usize)) -> SharedBytes {
    SharedBytes::new(len, |bytes| fill(n, bytes)).unwrap()
}

fn fill(n: u64, bytes: &mut [u8]) {
    bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&n.to_le_bytes()[..chunk.len()]));
}

fn sum((n, shared): (u64, SharedBytes)) -> u64 {
    n + shared.iter().map(|byte| u64::from(*byte)).sum::<u64>()
}

fn fail(n: u64) -> u64 {
    std::panic::resume_unwind(Box::new(format!("number {n}")))
}

fn die(how: u64) -> u64 {
    match how {
        0 => std::process::abort(),
        1 => std::process::exit(0),
        2 => std::process::exit(3),
        _ => kill_process(getpid(), Signal::KILL).unwrap(),
    }
    park(0)
}

fn park(_: u64) -> u64 {
    loop {
        std::thread::park();
    }
}

/// A future of any type, and whether its value is right.
trait Pending {
    fn cancel(&self) -> bool;
    fn kill(&self) -> bool;
    fn done(&self) -> bool;
    /// Waits so long, and gives what there is then, and whether a value is right.
    fn outcome(&self, limit: Duration) -> Result<bool>;
}

struct Typed<T: 'static> {
    future: Future<T>,
    is_right: Box<dyn Fn(&T) -> bool>,
}

impl<T: Send + Sync + 'static> Pending for Typed<T> {
    fn cancel(&self) -> bool {
        self.future.cancel()
    }

    fn kill(&self) -> bool {
        self.future.kill()
    }

    fn done(&self) -> bool {
        self.future.done()
    }

    fn outcome(&self, limit: Duration) -> Result<bool> {
        self.future.result_timeout(limit).map(|value| (self.is_right)(value))
    }
}

/// A call, and what was asked of it.
pub(crate) struct Call {
    kind: Kind,
    n: u64,
    pending: Box<dyn Pending>,
    ends: Arc<AtomicUsize>,
    /// That it will end so was the answer.
    cancelled: bool,
    killed: bool,
}

impl Call {
    pub(crate) fn submit(
        pool: &ProcessPoolExecutor,
        kind: Kind,
        n: u64,
        shared: &SharedBytes,
    ) -> Result<Self> {
        fn typed<T: Send + Sync + 'static>(
            future: Future<T>,
            ends: &Arc<AtomicUsize>,
            is_right: impl Fn(&T) -> bool + 'static,
        ) -> Box<dyn Pending> {
            let ends = Arc::clone(ends);
            future.add_done_callback(move |_| {
                ends.fetch_add(1, Ordering::SeqCst);
            });
            Box::new(Typed { future, is_right: Box::new(is_right) })
        }
        let ends = Arc::new(AtomicUsize::new(0));
        let number = move |result: &u64| *result == n * 2;
        let pending = match kind {
            Kind::Doubles => typed(pool.submit(double, n)?, &ends, number),
            Kind::Works(micros) => typed(pool.submit(work, (n, micros))?, &ends, number),
            Kind::Inverts(len) => {
                let numbers: Vec<u64> = (n..n + len as u64).collect();
                typed(pool.submit(invert, numbers)?, &ends, move |result: &Vec<u64>| {
                    result.iter().copied().eq((n..n + len as u64).map(|number| !number))
                })
            }
            Kind::Repeats(len) => {
                let text = n.to_string();
                let right = text.repeat(len / 8);
                let call = pool.submit(repeat, (text, len / 8))?;
                typed(call, &ends, move |result: &String| *result == right)
            }
            Kind::Makes(len) => {
                let call = pool.submit(make, (n, len))?;
                typed(call, &ends, move |result: &SharedBytes| {
                    let mut right = vec![0; len];
                    fill(n, &mut right);
                    result[..] == right[..]
                })
            }
            Kind::Sums => {
                let right = n + shared.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                let call = pool.submit(sum, (n, shared.clone()))?;
                typed(call, &ends, move |result: &u64| *result == right)
            }
            Kind::Panics => typed(pool.submit(fail, n)?, &ends, |_| false),
            Kind::Dies(how) => typed(pool.submit(die, how)?, &ends, |_| false),
            Kind::Parks => typed(pool.submit(park, n)?, &ends, |_| false),
        };
        Ok(Self { kind, n, pending, ends, cancelled: false, killed: false })
    }

    pub(crate) fn cancel(&mut self) {
        self.cancelled |= self.pending.cancel();
    }

    pub(crate) fn kill(&mut self) {
        self.killed |= self.pending.kill();
    }

    pub(crate) fn wait(&mut self, limit: Duration) {
        let _ = self.pending.outcome(limit);
    }

    /// One that was taken back just now may refuse once or twice.
    pub(crate) fn kill_if_parked(&mut self, facts: &Facts, limit: Duration) {
        let begin = std::time::Instant::now();
        while self.kind == Kind::Parks && !self.pending.done() {
            self.kill();
            self.wait(Duration::from_millis(1));
            if begin.elapsed() > limit {
                self.wrong(facts, "cannot be killed");
            }
        }
    }

    /// Waits for its end, and checks that.
    pub(crate) fn settle(self, facts: &Facts, limit: Duration) -> Result<()> {
        let outcome = self.pending.outcome(limit);
        if !self.pending.done() {
            self.wrong(facts, "does not end");
        }
        eventually("the call's callback", || self.ends.load(Ordering::SeqCst) > 0);
        if self.ends.load(Ordering::SeqCst) != 1 {
            self.wrong(facts, "has ended more than once");
        }
        let error = match outcome {
            Ok(true) if !self.cancelled => return Ok(()),
            Ok(right) => self.wrong(facts, &format!("has a value; it is right: {right}")),
            Err(error) => error,
        };
        if self.cancelled && !error.is_cancelled() {
            self.wrong(facts, &format!("was cancelled, and failed: {error}"));
        }
        match &error {
            Error::Cancelled => {
                let others = Facts::is_set(&facts.cancelled);
                if !(self.cancelled || self.killed || others) {
                    self.wrong(facts, "is cancelled, and nobody asked for that");
                }
            }
            Error::Killed { .. } if self.killed => {}
            Error::Panicked(panic) if self.kind == Kind::Panics => {
                let message = format!("number {}", self.n);
                if panic.message() != message {
                    self.wrong(facts, &format!("has another's panic: {panic:?}"));
                }
            }
            Error::WorkerDied(_) if matches!(self.kind, Kind::Dies(_)) => {
                if facts.policy == OnWorkerDeath::BreakPool {
                    self.wrong(facts, "is charged for a death that breaks the pool");
                }
            }
            error => Self::check_innocent(facts, error),
        }
        Err(error)
    }

    /// An error that came to a call by itself, without doing of its own.
    pub(crate) fn check_innocent(facts: &Facts, error: &Error) {
        let fine = match error {
            Error::WorkerDied(death) => {
                facts.struck && facts.policy != OnWorkerDeath::BreakPool && death.call.is_some()
            }
            Error::BrokenProcessPool { .. } => {
                facts.may_be_broken() || Facts::is_set(&facts.signalled)
            }
            Error::DeadlineExceeded { limit, call } => {
                facts.deadline == Some(*limit) && call.is_some()
            }
            _ => false,
        };
        if !fine {
            facts.fail(&format!("a call that did nothing fails: {error}"));
        }
    }

    fn wrong(&self, facts: &Facts, what: &str) -> ! {
        facts.fail(&format!("the call {:?} of {} {what}", self.kind, self.n))
    }
}
