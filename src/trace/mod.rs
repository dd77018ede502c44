//! A timeline of calls: it shows when each was submitted, started and done, in which thread, and
//! which threads waited for it. Only with the feature `trace`.
//!
//! [`start`] begins to record, [`stop`] returns the [`Trace`], which [writes](Trace::write_json)
//! the format of Chrome's tracing: open the file at <https://ui.perfetto.dev> or in
//! `chrome://tracing`. Nothing leaves your machine.
//!
//! ```
//! use concurrent::futures::ThreadPoolExecutor;
//! use concurrent::trace;
//!
//! trace::start();
//! let pool = ThreadPoolExecutor::builder().max_workers(2).thread_name_prefix("sum").build()?;
//! pool.map(|n: u64| (1..=n).sum::<u64>(), [10, 20, 30]).for_each(drop);
//! drop(pool);
//! let mut json = Vec::new();
//! trace::stop().write_json(&mut json)?;
//! assert!(String::from_utf8(json)?.contains("sum_")); // either thread may have run all
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | in the picture | is |
//! | --- | --- |
//! | a track | a thread, under its name |
//! | a slice | a call, from its start to its end; `args` say how long it was queued and how it ended |
//! | a slice `waits for ...` | a thread that is blocked, in `result`, `wait`, `as_completed` and their kin |
//! | a slice within a wait | a call that the waiting worker runs in place |
//! | an arrow's foot, `submit ...` | where a call was submitted |
//! | a slice without an end | a call that still ran, or a wait that went on, when you stopped |
//! | the track `a call in another process` | such calls, from the moment when their worker turned to them |
//! | the track of another name by itself | promises, and calls made of others, that no worker runs |
//! | `queued in pool N` | how many calls wait for a worker of the pool |
//!
//! # Cost
//!
//! Without the feature nothing of this is compiled, and calls are no larger. With it, a call costs
//! one more check of a flag while nothing is recorded; while recording it costs some tenths of a
//! microsecond, and some hundred bytes that are kept until [`stop`].
//!
//! # Python
//!
//! Python has no counterpart.

mod record;
mod write;

use std::fmt;
use std::io;

pub(crate) use record::{Blocks, CallEnd, CallOrigin, Traced};

/// Begins to record, in all pools of the process; an earlier recording is forgotten.
///
/// Calls that were submitted earlier do not take part.
///
/// # Examples
///
/// ```
/// use concurrent::{futures::ThreadPoolExecutor, trace};
///
/// let pool = ThreadPoolExecutor::new(1)?;
/// pool.spawn(|| "not recorded")?.into_result()?;
/// trace::start();
/// pool.spawn(|| "recorded")?.into_result()?;
/// assert_eq!(format!("{:?}", trace::stop()), "Trace(1 calls)");
/// # Ok::<(), concurrent::Error>(())
/// ```
pub fn start() {
    record::start();
}

/// Ends the recording and returns it; empty if nothing was [started](start).
///
/// # Examples
///
/// ```
/// let empty = concurrent::trace::stop();
/// assert_eq!(format!("{empty:?}"), "Trace(0 calls)");
/// ```
#[must_use = "the recording is lost with it"]
pub fn stop() -> Trace {
    Trace(record::stop())
}

/// The recording between [`start`] and [`stop`].
///
/// # Examples
///
/// ```
/// use concurrent::trace;
///
/// trace::start();
/// let recording = trace::stop();
/// let mut json = Vec::new();
/// recording.write_json(&mut json)?;
/// assert!(json.starts_with(b"{"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Trace(Vec<record::ThreadLog>);

impl Trace {
    /// Writes the events as JSON, in the trace format of Chrome and Perfetto.
    ///
    /// # Errors
    ///
    /// Those of `writer`. It gets many small writes: wrap a file into a `BufWriter`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let directory = std::env::temp_dir();
    /// concurrent::trace::start();
    /// let file = std::fs::File::create(directory.join("empty-trace.json"))?;
    /// concurrent::trace::stop().write_json(std::io::BufWriter::new(file))?;
    /// # std::fs::remove_file(directory.join("empty-trace.json"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_json(&self, writer: impl io::Write) -> io::Result<()> {
        write::write(&self.0, writer)
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = self.0.iter().flat_map(|log| &log.notes);
        let calls = notes.filter(|note| matches!(note.what, record::EventKind::Submitted { .. }));
        write!(f, "Trace({} calls)", calls.count())
    }
}
