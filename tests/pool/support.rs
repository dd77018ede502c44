//! Gates, a watchdog, and the pools that the tests use.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use concurrent::futures::{Future, ThreadPoolBuilder, ThreadPoolExecutor};

/// Far longer than any test takes on a busy machine.
const HANGS: Duration =
    Duration::from_secs(if cfg!(any(miri, concurrent_tsan)) { 600 } else { 60 });

/// Runs `body` in a thread of its own, and fails if it does not come to an end.
pub(crate) fn watched(body: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel::<()>();
    let thread = thread::spawn(move || {
        let _done = done;
        body();
    });
    match ended.recv_timeout(HANGS) {
        Err(RecvTimeoutError::Timeout) => panic!("the test hangs"),
        _ => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

pub(crate) fn builder(workers: usize) -> ThreadPoolBuilder {
    ThreadPoolExecutor::builder().max_workers(workers)
}

/// A pool of one worker whose queue has room for `capacity` calls.
pub(crate) fn bounded(capacity: usize) -> ThreadPoolBuilder {
    builder(1).queue_capacity(capacity)
}

/// A call that occupies a worker until it is told to go on, or its gate is dropped.
pub(crate) struct Gate {
    open: Sender<()>,
    call: Future<()>,
}

impl Gate {
    /// Returns when a worker of `pool` is inside the call.
    pub(crate) fn close(pool: &ThreadPoolExecutor) -> Self {
        let (open, opened) = channel();
        let (enter, entered) = channel();
        let call = pool.spawn(move || {
            let _ = enter.send(());
            let _: Result<(), _> = Receiver::recv(&opened);
        });
        let call = call.expect("the pool takes calls");
        entered.recv().expect("the call runs");
        Self { open, call }
    }

    /// Lets the worker go on and waits until it did.
    pub(crate) fn open(self) {
        drop(self.open);
        self.call.into_result().expect("it does nothing that could fail");
    }
}

/// Calls `condition` until it holds: for states that another thread reaches without telling.
pub(crate) fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// How many submitters of `pool` wait for room.
pub(crate) fn blocked(pool: &ThreadPoolExecutor) -> usize {
    let text = format!("{pool:?}");
    let (_, rest) = text.split_once("blocked: ").unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}
