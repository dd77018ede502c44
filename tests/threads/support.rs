//! The helpers that these tests share. Nothing here sleeps or reads a clock to be in step with another thread.

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::ThreadId;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{Future, Promise, ThreadPoolBuilder, ThreadPoolExecutor};

pub(crate) use crate::common::counter::{Counted, Counter, PanicsOnDrop};
pub(crate) use crate::common::log_lines::{keep_log, logged, react_to_log};
pub(crate) use crate::common::once_slot::OnceSlot;
pub(crate) use crate::common::sync::{Gate, until};
pub(crate) use crate::common::watchdog::{timely, within};

/// A timeout that must expire.
pub(crate) const MOMENT: Duration = Duration::from_millis(2);

/// Rounds of a race; fewer under Miri, which is a thousand times slower.
pub(crate) const fn rounds(native: usize) -> usize {
    if cfg!(miri) { if native < 200 { 3 } else { native / 10_000 + 20 } } else { native }
}

pub(crate) fn builder(workers: usize) -> ThreadPoolBuilder {
    ThreadPoolExecutor::builder().max_workers(workers)
}

/// A pool of one worker whose queue has room for `capacity` calls.
pub(crate) fn bounded(capacity: usize) -> ThreadPoolBuilder {
    builder(1).queue_capacity(capacity)
}

pub(crate) fn pool(workers: usize) -> ThreadPoolExecutor {
    ThreadPoolExecutor::new(workers).unwrap()
}

/// A pool whose calls may have handles of it.
pub(crate) type Pool = Arc<ThreadPoolExecutor>;

pub(crate) fn shared_pool(workers: usize) -> Pool {
    Arc::new(pool(workers))
}

/// A pool whose threads hold the returned value until they have ended.
pub(crate) fn pool_with_witness(workers: usize) -> (ThreadPoolExecutor, Weak<()>) {
    let alive = Arc::new(());
    let weak = Arc::downgrade(&alive);
    (builder(workers).initializer(move || drop(Arc::clone(&alive))).build().unwrap(), weak)
}

/// Runs `body` as a call of a pool of one worker.
pub(crate) fn in_only_worker<R: Send + 'static>(
    body: impl FnOnce(&Pool) -> R + Send + 'static,
) -> R {
    timely(|| {
        let pool = shared_pool(1);
        let inner = Arc::clone(&pool);
        pool.spawn(move || body(&inner)).unwrap().into_result().unwrap()
    })
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

    /// Lets the worker go on, and waits until the call has ended.
    pub(crate) fn finish(self) {
        self.let_go();
        self.call.result().unwrap();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.gate.open();
    }
}

/// How many submitters of `pool` wait for room.
pub(crate) fn blocked(pool: &ThreadPoolExecutor) -> usize {
    let text = format!("{pool:?}");
    let (_, rest) = text.split_once("blocked: ").unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// The futures of a set of calls, for those calls to wait for.
pub(crate) type Futures<T> = OnceSlot<Vec<Future<T>>>;

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

/// One future in each of Python's states, with the promise that keeps it there.
pub(crate) fn six() -> [Pair<i32>; 6] {
    [pending(), running(), cancelled(), cancelled_and_notified(), failed("disk"), finished(42)]
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

/// Adds one.
pub(crate) fn tick(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}

/// The error of a failed call, as text.
pub(crate) fn text_of(future: &Future<i32>) -> String {
    future.exception().unwrap().unwrap().to_string()
}

/// The panic of a call that panicked.
pub(crate) fn panic_of<T>(future: &Future<T>) -> concurrent::Panic {
    match future.exception().unwrap() {
        Some(Error::Panicked(panic)) => panic.clone(),
        other => panic!("not a panic: {other:?}"),
    }
}

/// The text of a panic.
pub(crate) fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_string(),
    }
}

/// Says to a test that it has the process to itself.
const OWN_PROCESS: &str = "CONCURRENT_TEST_OWN_PROCESS";

/// Whether a test has a process to itself. If not, has run it in one, once, which must have ended well.
///
/// `test` is its path in this crate; `limit` is the most KiB of addresses that the process may use.
pub(crate) fn in_own_process(test: &str, limit: Option<u32>) -> bool {
    if std::env::var_os(OWN_PROCESS).is_some() {
        println!("{test} is here");
        return true;
    }
    let (_, name) = test.split_once("::").unwrap(); // the harness leaves out the crate
    let limit = limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let script = "ulimit -v $1 && exec \"$0\" --exact --nocapture \"$2\"";
    let mut child = Command::new("sh");
    child.arg("-c").arg(script).arg(std::env::current_exe().unwrap()).arg(limit).arg(name);
    let output = child.env(OWN_PROCESS, "1").output().unwrap();
    let _said = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("{test} is here")), "no such test: {said}");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}
