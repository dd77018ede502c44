//! What the tests share. Nothing here sleeps or reads a clock to be in step with another thread.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolExecutor};

/// A timeout that must expire.
pub(crate) const MOMENT: Duration = Duration::from_millis(2);

/// Rounds of a race; fewer under Miri, which is a thousand times slower.
pub(crate) const fn rounds(native: usize) -> usize {
    if cfg!(miri) { if native < 200 { 3 } else { native / 10_000 + 20 } } else { native }
}

/// Runs `body` in a thread of its own; a hang becomes a failure.
pub(crate) fn within<R: Send + 'static>(
    limit: Duration,
    body: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (sender, receiver) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let run = move || {
        let _ = sender.send(catch_unwind(AssertUnwindSafe(body)));
    };
    let thread = std::thread::Builder::new().name(name.clone()).spawn(run).unwrap();
    // Miri is a thousand times slower.
    match receiver.recv_timeout(if cfg!(miri) { limit * 60 } else { limit }) {
        Ok(Ok(value)) => {
            thread.join().unwrap();
            value
        }
        Ok(Err(payload)) => resume_unwind(payload),
        Err(_) => panic!("{name} hangs: not done after {limit:?}"),
    }
}

/// [`within`] a minute.
pub(crate) fn timely<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> R {
    within(Duration::from_secs(60), body)
}

/// Yields until `ready`; the watchdog ends it if that never comes.
pub(crate) fn until(ready: impl Fn() -> bool) {
    while !ready() {
        std::thread::yield_now();
    }
}

/// A door that is shut until it is opened for good.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |open| !*open).unwrap());
    }
}

/// Counts how many of the [`Counted`] that it handed out are alive and how many were dropped.
#[derive(Clone, Default)]
pub(crate) struct Counter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
    droppers: Mutex<Vec<ThreadId>>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn one(&self) -> Counted {
        self.0.made.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    pub(crate) fn made(&self) -> usize {
        self.0.made.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::SeqCst)
    }

    /// The thread of every drop, in order.
    pub(crate) fn droppers(&self) -> Vec<ThreadId> {
        self.0.droppers.lock().unwrap().clone()
    }
}

/// One thing whose drop is counted; a second drop of the same would show in the count.
pub(crate) struct Counted(Counter);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.droppers.lock().unwrap().push(std::thread::current().id());
        self.0.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Its drop is counted and then panics.
pub(crate) struct PanicsOnDrop {
    _counted: Counted,
}

impl PanicsOnDrop {
    pub(crate) fn new(counted: Counted) -> Self {
        Self { _counted: counted }
    }
}

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("this drop panics on purpose");
    }
}

/// Occupies one worker until it is let go or dropped.
pub(crate) struct Busy {
    gate: Gate,
    pub(crate) call: Future<()>,
}

impl Busy {
    /// Returns once a worker runs the call.
    pub(crate) fn on(pool: &ThreadPoolExecutor) -> Self {
        let (gate, started) = (Gate::new(), Gate::new());
        let call = {
            let (gate, started) = (gate.clone(), started.clone());
            let wait = move || {
                started.open();
                gate.pass();
            };
            pool.spawn(wait).unwrap()
        };
        started.pass();
        Self { gate, call }
    }

    pub(crate) fn let_go(&self) {
        self.gate.open();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.gate.open();
    }
}

pub(crate) fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::new(workers).unwrap()
}

pub(crate) type Pair<T> = (Promise<T>, Future<T>);

pub(crate) fn pending<T>() -> Pair<T> {
    Promise::pair()
}

pub(crate) fn running<T>() -> Pair<T> {
    let pair = Promise::pair();
    assert!(pair.0.set_running_or_notify_cancel().unwrap());
    pair
}

pub(crate) fn cancelled<T>() -> Pair<T> {
    let pair = Promise::pair();
    assert!(pair.1.cancel());
    pair
}

/// Python's sixth state, CANCELLED_AND_NOTIFIED: here the same as cancelled.
pub(crate) fn cancelled_and_notified<T>() -> Pair<T> {
    let pair = cancelled();
    assert!(!pair.0.set_running_or_notify_cancel().unwrap());
    pair
}

pub(crate) fn failed<T>(text: &str) -> Pair<T> {
    let pair = Promise::pair();
    pair.0.set_exception(Error::raised(text)).unwrap();
    pair
}

pub(crate) fn finished<T>(value: T) -> Pair<T> {
    let pair = Promise::pair();
    pair.0.set_result(value).unwrap();
    pair
}

/// Runs `blocked` in a thread and `ends` in this one, at a different distance each round, so that
/// the one is asleep, about to sleep, and not yet there when the other comes.
pub(crate) fn at_many_distances<R: Send + 'static>(
    blocked: impl Fn(Future<i32>) -> R + Send + Sync + 'static,
    ends: impl Fn(&Promise<i32>),
    check: impl Fn(R),
) {
    let blocked = Arc::new(blocked);
    for round in 0..rounds(150) {
        let (promise, future) = running();
        let (started, blocked) = (Gate::new(), Arc::clone(&blocked));
        let thread = {
            let started = started.clone();
            std::thread::spawn(move || {
                started.open();
                blocked(future)
            })
        };
        started.pass();
        (0..round * round / 40).for_each(|_| std::thread::yield_now());
        ends(&promise);
        check(thread.join().unwrap());
    }
}

/// The distinct threads on which calls of `pool` ran.
pub(crate) fn threads_of(calls: impl IntoIterator<Item = Future<ThreadId>>) -> HashSet<ThreadId> {
    calls.into_iter().map(|call| call.into_result().unwrap()).collect()
}

pub(crate) fn here() -> ThreadId {
    std::thread::current().id()
}

type Reaction = Box<dyn Fn(&str) + Send + Sync>;

/// Keeps every line that the crate logs, and lets a test react to lines as a logger would.
struct Lines {
    kept: Mutex<Vec<(log::Level, String)>>,
    reaction: OnceLock<Reaction>,
}

static LINES: Lines = Lines { kept: Mutex::new(Vec::new()), reaction: OnceLock::new() };

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if let Some(react) = self.reaction.get() {
            react(&line);
        }
        let breaks = line.contains("make the logger panic");
        self.kept.lock().unwrap().push((record.level(), format!("{}: {line}", record.target())));
        assert!(!breaks, "this logger panics on purpose");
    }

    fn flush(&self) {}
}

/// Starts to keep what is logged; call it before the thing that logs.
pub(crate) fn keep_log() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        log::set_logger(&LINES).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Has the logger call `react` with every line; for a test that has its process to itself.
pub(crate) fn react_to_log(react: impl Fn(&str) + Send + Sync + 'static) {
    keep_log();
    assert!(LINES.reaction.set(Box::new(react)).is_ok(), "one reaction per process");
}

/// The lines that contain `text`, which is to be the test's own.
pub(crate) fn logged(text: &str) -> Vec<(log::Level, String)> {
    LINES.kept.lock().unwrap().iter().filter(|(_, line)| line.contains(text)).cloned().collect()
}

/// Adds one.
pub(crate) fn tick(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}
