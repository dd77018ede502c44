//! Ends a test that hangs.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::time::Duration;

/// Far longer than any test takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How many times slower everything is under a tool that watches each access.
const SLOWDOWN: u32 = if cfg!(miri) {
    60
} else if cfg!(concurrent_tsan) {
    10
} else {
    1
};

/// Runs `test` in a thread of its own; it fails, by its name, if it is not done after a minute.
pub(crate) fn timely<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    within(LIMIT, test)
}

/// [`timely`] with another limit.
pub(crate) fn within<R: Send + 'static>(
    limit: Duration,
    test: impl FnOnce() -> R + Send + 'static,
) -> R {
    // The harness names its threads after the tests.
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    named(&name, limit, test)
}

/// [`within`] for harnesses that do not name their threads.
pub(crate) fn named<R: Send + 'static>(
    name: &str,
    limit: Duration,
    test: impl FnOnce() -> R + Send + 'static,
) -> R {
    watched(name, limit, Box::new(test))
}

/// In a box, so that threads and channels are not compiled anew for each test.
fn watched<R: Send + 'static>(
    name: &str,
    limit: Duration,
    test: Box<dyn FnOnce() -> R + Send>,
) -> R {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        let _ = sender.send(catch_unwind(AssertUnwindSafe(test)));
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
    match receiver.recv_timeout(limit * SLOWDOWN) {
        Ok(ended) => {
            thread.join().unwrap();
            ended.unwrap_or_else(|panic| resume_unwind(panic))
        }
        Err(_) => panic!("{name} hangs: not done after {limit:?}"),
    }
}
