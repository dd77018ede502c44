//! What most tests need: a log that actions write to, and a clock that records.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use concurrent::sched::{Scheduler, VirtualClock};

/// Long enough for anything that happens at all.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Far enough away never to come.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// What happened, in order.
#[derive(Debug)]
pub(crate) struct Log<E>(Arc<Mutex<Vec<E>>>);

impl<E: Send + 'static> Log<E> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn push(&self, entry: E) {
        self.0.lock().expect("pushing does not panic").push(entry);
    }

    /// An action that writes `entry`.
    pub(crate) fn note(&self, entry: E) -> impl FnOnce() + Send + 'static {
        let log = self.clone();
        move || log.push(entry)
    }

    pub(crate) fn take(&self) -> Vec<E> {
        std::mem::take(&mut self.0.lock().expect("pushing does not panic"))
    }
}

impl<E> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A scheduler in integers whose delay function records its delays and sets the clock forward.
pub(crate) fn recorded() -> (Scheduler<i64>, Arc<AtomicI64>, Log<i64>) {
    let now = Arc::new(AtomicI64::new(0));
    let delays = Log::new();
    let s = Scheduler::with_clock(
        {
            let now = now.clone();
            move || now.load(Ordering::Relaxed)
        },
        {
            let (now, delays) = (now.clone(), delays.clone());
            move |delay| {
                delays.push(delay);
                now.fetch_add(delay, Ordering::Relaxed);
            }
        },
    );
    (s, now, delays)
}

pub(crate) fn simulated() -> (Scheduler<i64>, VirtualClock<i64>) {
    let clock = VirtualClock::starting_at(0);
    (Scheduler::with_virtual_clock(&clock), clock)
}

/// Writes that it was dropped, and panics.
pub(crate) struct PanicsOnDrop(pub(crate) Log<()>);

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        self.0.push(());
        panic!("in a destructor");
    }
}
