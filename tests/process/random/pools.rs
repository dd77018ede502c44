//! Random pools: settings, calls, kills, cancels, deaths, idle ends and shutdowns of every kind, under
//! every policy. Each call ends in time and once, with its own value or with an error that it may have.
//!
//! A seed decides what each thread of a round does (not how they meet), and is said when the round
//! fails. `CONCURRENT_STRESS` is how many seconds (4), `CONCURRENT_SEED` the seed of the first round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use concurrent::Error;
use concurrent::futures::process::{OnWorkerDeath, ResourceLimit, SharedBytes};
use concurrent::futures::{MapOptions, ProcessPoolExecutor, ShutdownOptions};
use rustix::process::Signal;

use crate::common::random::Random;
use crate::fault_injection::send;
use crate::random::calls::{Call, Kind, double, kinds};
use crate::random::kills::SaysSeed;
use crate::support::{census, children, eventually, in_own_process, setting, trial};

/// How long a round may take, and how long a call from the moment when nothing holds it up.
const ROUND: Duration = Duration::from_secs(120);
const IN_TIME: Duration = Duration::from_secs(60);

/// How many processes a round may start: there are not so many reasons for one.
const PROCESSES: u64 = 1_000;

/// Calls of one thread that are not over.
const AHEAD: usize = 12;

pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
    let limit = Duration::from_secs(seconds()) + ROUND + IN_TIME;
    vec![trial("process::random::pools::of_every_kind", limit, || {
        in_own_process(&["random-pools"])
    })]
}

fn seconds() -> u64 {
    setting("CONCURRENT_STRESS").unwrap_or(4)
}

pub(crate) fn act() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let first = setting("CONCURRENT_SEED").unwrap_or(now.as_micros() as u64 % 1_000_000_000);
    let (begin, mut seed, mut total) = (Instant::now(), first, [0; 6]);
    // The first pool starts threads that stay.
    drop(ProcessPoolExecutor::new(1).unwrap().submit(double, 1).unwrap().into_result());
    while begin.elapsed() < Duration::from_secs(seconds()) {
        total.iter_mut().zip(round(seed)).for_each(|(total, count)| *total += count);
        seed += 1;
    }
    let [calls, fine, started, died, killed, strikes] = total;
    let rounds = seed - first;
    eprintln!("{rounds} pools from seed {first}: {calls} calls, {fine} with a value; {started}");
    eprintln!("processes, of which {died} died and {killed} were killed; {strikes} signals");
}

/// The facts of a round that its calls must know.
pub(crate) struct Facts {
    pub(crate) policy: OnWorkerDeath,
    pub(crate) deadline: Option<Duration>,
    /// Workers may be struck from outside; otherwise no call but one that dies costs a worker.
    pub(crate) struck: bool,
    pub(crate) strikes: AtomicU64,
    /// A call that dies was submitted.
    pub(crate) deadly: AtomicBool,
    pub(crate) closing: AtomicBool,
    /// Calls that had not started were cancelled.
    pub(crate) cancelled: AtomicBool,
    /// All workers were signalled.
    pub(crate) signalled: AtomicBool,
    calls: AtomicU64,
    fine: AtomicU64,
    /// Calls that failed because a worker died.
    charged: AtomicU64,
    seed: u64,
}

impl Facts {
    /// Whether the pool may be broken.
    pub(crate) fn may_be_broken(&self) -> bool {
        let strikes = self.strikes.load(Ordering::SeqCst);
        let deaths = strikes > 0 || self.deadly.load(Ordering::SeqCst);
        // Five deaths in a row without an answer break any pool.
        self.policy == OnWorkerDeath::BreakPool && deaths || strikes >= 5
    }

    pub(crate) fn is_set(flag: &AtomicBool) -> bool {
        flag.load(Ordering::SeqCst)
    }

    /// Ends the program: others may wait for what does not happen.
    pub(crate) fn fail(&self, why: &str) -> ! {
        eprintln!("{why}\nagain with CONCURRENT_SEED={}", self.seed);
        std::process::abort();
    }

    fn settle(&self, call: Call) {
        match call.settle(self, IN_TIME) {
            Ok(()) => _ = self.fine.fetch_add(1, Ordering::SeqCst),
            Err(Error::WorkerDied(_)) => _ = self.charged.fetch_add(1, Ordering::SeqCst),
            Err(_) => {}
        }
    }
}

/// One of several, or nothing.
fn perhaps<T: Copy>(random: &mut Random, values: &[T]) -> Option<T> {
    values.get(random.below(2 * values.len() as u64) as usize).copied()
}

fn round(seed: u64) -> [u64; 6] {
    let _said = SaysSeed(seed);
    let random = &mut Random::new(seed);
    let policies = [
        OnWorkerDeath::BreakPool,
        OnWorkerDeath::FailCall,
        OnWorkerDeath::Retry(1),
        OnWorkerDeath::Retry(9),
        OnWorkerDeath::FailCall,
    ];
    let [short, long] = [10, 200].map(Duration::from_millis);
    let facts = Arc::new(Facts {
        policy: policies[random.below(5) as usize],
        deadline: perhaps(random, &[short, long, long]),
        struck: random.below(2) == 0,
        strikes: AtomicU64::new(0),
        deadly: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        cancelled: AtomicBool::new(false),
        signalled: AtomicBool::new(false),
        calls: AtomicU64::new(0),
        fine: AtomicU64::new(0),
        charged: AtomicU64::new(0),
        seed,
    });
    let workers = 1 + random.below(3) as usize;
    let mut builder = ProcessPoolExecutor::builder()
        .max_workers(workers)
        .limit(ResourceLimit::CoreDump, 0)
        .on_worker_death(facts.policy);
    if let Some(limit) = facts.deadline {
        builder = builder.call_deadline(limit);
    }
    if let Some(limit) = perhaps(random, &[0, 1, 3]) {
        builder = builder.idle_timeout(Duration::from_millis(limit));
    }
    if let Some(calls) = perhaps(random, &[1, 2, 20]) {
        builder = builder.max_tasks_per_child(calls);
    }
    if let Some(calls) = perhaps(random, &[1, 2, 64]) {
        builder = builder.prefetch(calls);
    }
    if random.below(4) == 0 {
        builder = builder.initializer(|n: u64| assert_eq!(n, 7), 7);
    }
    let over = watch(&facts);
    let before = census();
    let pool = builder.build().unwrap();
    let ends_at = perhaps(random, &[10, 30, 60]);
    std::thread::scope(|scope| {
        for number in 0..1 + random.below(3) {
            let (pool, facts) = (&pool, &*facts);
            let mut random = Random::new(seed ^ (number + 1) << 40);
            let end = ends_at.filter(|_| number == 0);
            scope.spawn(move || Submitter::new(pool, facts).run(&mut random, end));
        }
    });
    end(&pool, &facts, random.below(8));
    let stats = pool.stats();
    match random.below(4) {
        0 => {
            let unwinds = std::panic::AssertUnwindSafe(|| {
                let _pool = pool;
                std::panic::resume_unwind(Box::new("with a pool"));
            });
            assert!(std::panic::catch_unwind(unwinds).is_err());
        }
        _ => drop(pool),
    }
    eventually("the end of all that the pool had", || census() == before);
    drop(over);
    let [calls, fine, charged, strikes] =
        [&facts.calls, &facts.fine, &facts.charged, &facts.strikes]
            .map(|counter| counter.load(Ordering::SeqCst));
    if facts.policy != OnWorkerDeath::BreakPool && charged > stats.died {
        facts.fail(&format!("{} deaths have cost {charged} calls", stats.died));
    }
    [calls, fine, stats.started, stats.died, stats.killed, strikes]
}

/// Ends the program if a round does not end in time.
fn watch(facts: &Arc<Facts>) -> impl Drop + use<> {
    struct Over(Option<mpsc::Sender<()>>, Option<std::thread::JoinHandle<()>>);
    impl Drop for Over {
        fn drop(&mut self) {
            self.0.take();
            if self.1.take().is_some_and(|thread| thread.join().is_err()) {
                eprintln!("the watch has failed");
            }
        }
    }
    let (over, watched) = mpsc::channel();
    let facts = Arc::clone(facts);
    let thread = std::thread::spawn(move || {
        if watched.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
            facts.fail("a round does not end");
        }
    });
    Over(Some(over), Some(thread))
}

/// Shuts the pool down in one way of several.
fn end(pool: &ProcessPoolExecutor, facts: &Facts, how: u64) {
    let set = |flag: &AtomicBool| flag.store(true, Ordering::SeqCst);
    set(&facts.closing);
    let options = ShutdownOptions::new();
    match how {
        0 | 1 => pool.shutdown(),
        2 => _ = pool.shutdown_with(options.wait(false)),
        3 => _ = pool.shutdown_with(options.timeout(Duration::from_millis(2))),
        4 | 5 => {
            set(&facts.cancelled);
            pool.shutdown_with(options.cancel_futures(true).wait(how == 4));
        }
        _ => {
            set(&facts.cancelled);
            set(&facts.signalled);
            if how == 6 { pool.terminate_workers() } else { pool.kill_workers() }
        }
    }
}

/// One thread that uses the pool.
struct Submitter<'a> {
    pool: &'a ProcessPoolExecutor,
    facts: &'a Facts,
    shared: SharedBytes,
    calls: Vec<Call>,
}

impl<'a> Submitter<'a> {
    fn new(pool: &'a ProcessPoolExecutor, facts: &'a Facts) -> Self {
        let shared = SharedBytes::copy_from(&[3; 10_000]).unwrap();
        Self { pool, facts, shared, calls: Vec::new() }
    }

    fn run(&mut self, random: &mut Random, end_at: Option<u64>) {
        for step in 0..20 + random.below(80) {
            if end_at == Some(step) {
                self.kill_parked();
                end(self.pool, self.facts, random.below(8));
            }
            self.step(random);
            let stats = self.pool.stats();
            if stats.answered > stats.submitted || stats.started > PROCESSES {
                self.facts.fail(&format!("{stats:?}"));
            }
        }
        self.kill_parked();
        self.calls.drain(..).for_each(|call| self.facts.settle(call));
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(40) {
            0 | 1 if self.facts.struck => self.strike(random),
            2 => self.map(random),
            3 => std::thread::park_timeout(Duration::from_millis(random.below(6))), // they idle
            4 => {
                let all = self.calls.len();
                self.settle_down_to(all / 2);
            }
            5 | 6 => self.pick(random).into_iter().for_each(Call::cancel),
            7 | 8 => self.pick(random).into_iter().for_each(Call::kill),
            9 => {
                let limit = Duration::from_micros(random.below(3_000));
                self.pick(random).into_iter().for_each(|call| call.wait(limit));
            }
            _ => {
                let kind = kinds(random);
                if matches!(kind, Kind::Dies(_)) {
                    self.facts.deadly.store(true, Ordering::SeqCst);
                }
                let shared = &self.shared;
                match Call::submit(self.pool, kind, random.below(1 << 40), shared) {
                    Ok(call) => {
                        self.facts.calls.fetch_add(1, Ordering::SeqCst);
                        self.calls.push(call);
                    }
                    Err(error) => self.refused(&error),
                }
                if self.calls.len() > AHEAD {
                    self.settle_down_to(AHEAD / 2);
                }
            }
        }
    }

    fn refused(&self, error: &Error) {
        let fine = match error {
            Error::Shutdown => Facts::is_set(&self.facts.closing),
            Error::BrokenProcessPool { .. } => self.facts.may_be_broken(),
            _ => false,
        };
        if !fine {
            self.facts.fail(&format!("a call is refused: {error}"));
        }
    }

    fn pick(&mut self, random: &mut Random) -> Option<&mut Call> {
        let count = self.calls.len();
        self.calls.get_mut(random.below(count.max(1) as u64) as usize)
    }

    /// Calls that would not end by themselves.
    fn kill_parked(&mut self) {
        self.calls.iter_mut().for_each(|call| call.kill_if_parked(self.facts, IN_TIME));
    }

    fn settle_down_to(&mut self, left: usize) {
        self.kill_parked();
        let many = self.calls.len() - left;
        self.calls.drain(..many).for_each(|call| self.facts.settle(call));
    }

    fn map(&mut self, random: &mut Random) {
        self.kill_parked();
        let options = MapOptions::new().chunk_size(1 + random.below(30) as usize);
        let numbers = 0..random.below(200);
        match self.pool.map_with(options, double, numbers) {
            Ok(results) => {
                for (n, result) in results.enumerate() {
                    match result {
                        Ok(twice) if twice == n as u64 * 2 => {}
                        Ok(other) => self.facts.fail(&format!("twice {n} is {other}")),
                        Err(error) if error.is_cancelled() => {
                            if !Facts::is_set(&self.facts.cancelled) {
                                self.facts.fail(&format!("an item of a map: {error}"));
                            }
                        }
                        Err(Error::Shutdown) => self.refused(&Error::Shutdown),
                        Err(error) => Call::check_innocent(self.facts, &error),
                    }
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    fn strike(&self, random: &mut Random) {
        let workers = children(std::process::id());
        let index = random.below(workers.len().max(1) as u64) as usize;
        let Some(victim) = workers.get(index) else { return };
        let signals = [Signal::TERM, Signal::ABORT, Signal::SEGV, Signal::KILL];
        match signals.get(random.below(6) as usize) {
            Some(signal) => {
                self.facts.strikes.fetch_add(1, Ordering::SeqCst);
                send(*victim, *signal);
            }
            None => {
                send(*victim, Signal::STOP);
                std::thread::park_timeout(Duration::from_millis(random.below(30)));
                send(*victim, Signal::CONT);
            }
        }
    }
}
