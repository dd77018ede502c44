//! Random signals to random workers under load: every call ends once, and with the right outcome.
//!
//! `CONCURRENT_KILLS` is how many (200), `CONCURRENT_SEED` makes a run begin as another did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use concurrent::futures::process::{OnWorkerDeath, ResourceLimit, SharedBytes};
use concurrent::futures::{Future, ProcessPoolExecutor};
use rustix::process::Signal;

use crate::common::random::Random;
use crate::fault_injection::send;
use crate::support::{census, children, eventually, in_own_process, setting, trial};

const SUBMITTERS: u64 = 4;

/// Calls of one submitter that are not over.
const AHEAD: usize = 8;

pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
    let limit = Duration::from_secs(60) + Duration::from_millis(500) * kills() as u32;
    vec![
        trial("process::random::kills::under_fail_call", limit, || {
            in_own_process(&["kills", "fail"])
        }),
        trial("process::random::kills::under_retry", limit, || in_own_process(&["kills", "retry"])),
    ]
}

/// For each of the two policies.
fn kills() -> u64 {
    setting("CONCURRENT_KILLS").unwrap_or(200).div_ceil(2)
}

pub(crate) fn act(policy: &str) {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let seed = setting("CONCURRENT_SEED").unwrap_or(now.as_micros() as u64 % 1_000_000);
    let _said = SaysSeed(seed);
    let before = census();
    let policy = match policy {
        "retry" => OnWorkerDeath::Retry(u32::MAX),
        _ => OnWorkerDeath::FailCall,
    };
    storm(policy, kills(), seed);
    eventually("the end of all", || census() == before);
}

/// Tells how to see a failure again.
pub(crate) struct SaysSeed(pub(crate) u64);

impl Drop for SaysSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again with CONCURRENT_SEED={}", self.0);
        }
    }
}

/// Calls and their ends.
#[derive(Default)]
struct Tally {
    submitted: AtomicU64,
    ends: AtomicU64,
    fine: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    fn watch<T: Send + Sync + 'static>(self: &Arc<Self>, future: &Future<T>) {
        let own = Arc::clone(self);
        self.submitted.fetch_add(1, Ordering::SeqCst);
        future.add_done_callback(move |_| {
            own.ends.fetch_add(1, Ordering::SeqCst);
        });
    }

    fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::SeqCst)
    }
}

fn double(n: u64) -> u64 {
    n * 2
}

fn work(n: u64) -> u64 {
    for i in 0..2_000 {
        std::hint::black_box(i);
    }
    n * 2
}

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn share(len: usize) -> SharedBytes {
    SharedBytes::new(len, |bytes| bytes.fill(9)).unwrap()
}

/// One call of any kind, with what its result should be.
enum Call {
    Number(Future<u64>, u64),
    Bytes(Future<Vec<u8>>, Vec<u8>),
    Shared(Future<SharedBytes>, usize),
}

impl Call {
    fn submit(pool: &ProcessPoolExecutor, random: &mut Random, tally: &Arc<Tally>) -> Self {
        let n = random.below(1 << 32);
        match random.below(40) {
            0 => {
                let len = random.below(1 << 20) as usize;
                let future = pool.submit(share, len).unwrap();
                tally.watch(&future);
                Self::Shared(future, len)
            }
            1 | 2 => {
                let bytes = vec![n as u8; random.below(1 << 17) as usize];
                let future = pool.submit(echo, bytes.clone()).unwrap();
                tally.watch(&future);
                Self::Bytes(future, bytes)
            }
            kind => {
                let future = pool.submit(if kind < 20 { double } else { work }, n).unwrap();
                tally.watch(&future);
                Self::Number(future, n * 2)
            }
        }
    }

    fn check(self, tally: &Tally) {
        let error = match self {
            Self::Number(future, right) => future.into_result().map(|n| assert_eq!(n, right)).err(),
            Self::Bytes(future, right) => {
                future.into_result().map(|bytes| assert!(bytes == right)).err()
            }
            Self::Shared(future, len) => {
                future.into_result().map(|bytes| assert!(*bytes == vec![9; len][..])).err()
            }
        };
        let counter = if error.is_none() { &tally.fine } else { &tally.failed };
        counter.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = error {
            let death = error.worker_death().unwrap_or_else(|| panic!("{error}"));
            assert!(death.signal.is_some() && death.call.is_some(), "{error}");
        }
    }
}

fn storm(policy: OnWorkerDeath, kills: u64, seed: u64) {
    let builder = ProcessPoolExecutor::builder().max_workers(3).limit(ResourceLimit::CoreDump, 0);
    let pool = builder.on_worker_death(policy).build().unwrap();
    let (tally, over) = (Arc::new(Tally::default()), AtomicBool::new(false));
    let struck = std::thread::scope(|scope| {
        for number in 1..=SUBMITTERS {
            let (pool, tally, over) = (&pool, &tally, &over);
            scope.spawn(move || {
                let mut random = Random::new(seed + number);
                let mut calls = std::collections::VecDeque::new();
                while !over.load(Ordering::SeqCst) {
                    calls.push_back(Call::submit(pool, &mut random, tally));
                    if calls.len() > AHEAD {
                        calls.pop_front().into_iter().for_each(|call: Call| call.check(tally));
                    }
                }
                calls.into_iter().for_each(|call| call.check(tally));
            });
        }
        let _over = Over(&over);
        strike(&pool, kills, &mut Random::new(seed))
    });
    let report = pool.stats();
    pool.shutdown();
    drop(pool);
    let [submitted, ends, fine, failed] =
        [&tally.submitted, &tally.ends, &tally.fine, &tally.failed].map(Tally::get);
    eprintln!(
        "seed {seed}: {struck} signals, {} deaths, {fine} calls fine, {failed} failed",
        report.died
    );
    assert_eq!((ends, fine + failed), (submitted, submitted), "each call ends once");
    assert!(failed <= report.died, "a death costs one call at most");
    if policy != OnWorkerDeath::FailCall {
        assert_eq!(failed, 0);
    }
}

/// Lets the submitters end, also if what they are submitted for fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Signals workers until so many have died; gives how many signals that took.
fn strike(pool: &ProcessPoolExecutor, kills: u64, random: &mut Random) -> u64 {
    let mut struck = 0;
    while pool.stats().died < kills {
        let died = pool.stats().died;
        let workers = children(std::process::id());
        let victim = workers.get(random.below(workers.len().max(1) as u64) as usize);
        if let Some(victim) = victim {
            struck += 1;
            let signals = [Signal::TERM, Signal::ABORT, Signal::ILL, Signal::KILL, Signal::KILL];
            match signals.get(random.below(6) as usize) {
                Some(signal) => {
                    send(*victim, *signal);
                    while pool.stats().died == died {
                        probe(pool);
                    }
                }
                None => {
                    send(*victim, Signal::STOP);
                    let call = pool.submit(double, 1).unwrap();
                    let _ = call.result_timeout(Duration::from_millis(random.below(20)));
                    send(*victim, Signal::CONT);
                }
            }
        }
        // Deaths without an answer in between would be a storm that breaks the pool.
        while !probe(pool) {}
        for _ in 0..random.below(3) {
            probe(pool);
        }
    }
    struck
}

/// A call that takes no time; false if a worker died of a signal over it.
fn probe(pool: &ProcessPoolExecutor) -> bool {
    match pool.submit(double, 1).unwrap().into_result() {
        Ok(_) => true,
        Err(error) => {
            assert!(error.worker_death().is_some(), "{error}");
            false
        }
    }
}
