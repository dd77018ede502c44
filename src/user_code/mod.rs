//! Calls user code, and contains its panics.
//!
//! Everything that calls a user's closure or drops a user's value goes through [`catch`] or
//! [`contain`]. A panic hook, chained in front of the program's own and installed once, notes where
//! a panic was raised: `catch_unwind` gives the payload only.

mod panic;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

pub use panic::Panic;

thread_local! {
    // The standard library's in a model too, because the panic hook also runs outside of models.
    /// Whether [`LOCATION`] is that of a panic raised since the latest [`catch`] began. A variable
    /// of its own, without a destructor, so that calls that do not panic access nothing else.
    static NOTED: Cell<bool> = const { Cell::new(false) };
    /// `file:line:column` of this thread's latest panic. Not available while the thread is torn down.
    static LOCATION: Cell<Option<String>> = const { Cell::new(None) };
}

/// Installs the panic hook that notes locations. Called by each executor and scheduler; cheap when
/// repeated.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    if std::thread::panicking() {
        return; // `take_hook` may not be called then; the next executor does it
    }
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let location = info.location().map(ToString::to_string);
            NOTED.set(LOCATION.try_with(|latest| latest.set(location)).is_ok());
            next(info);
        }));
    });
}

/// Calls `f`; a panic becomes a [`Panic`] with payload, message and location.
///
/// `AssertUnwindSafe` is right because whatever `f` broke belongs to the caller who wrote it, as
/// with a panicking thread; the crate's own state is never borrowed while `f` runs.
///
/// It is compiled anew for each `f`, of which a program has thousands, so most of it is not here.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    forget_location();
    catch_unwind(AssertUnwindSafe(f)).map_err(caught)
}

#[inline]
fn forget_location() {
    // A location that was noted before belongs to another panic, unless this runs in a drop during
    // a panic.
    if !std::thread::panicking() {
        NOTED.set(false);
    }
}

#[cold]
fn caught(payload: Box<dyn Any + Send>) -> Panic {
    let noted = NOTED.replace(false);
    let location = LOCATION.try_with(|latest| latest.take().filter(|_| noted));
    Panic::new(payload, location.ok().flatten())
}

/// Calls a comparison of the user's, perhaps with a lock held; returns `None` if it panics.
///
/// The panic is reported by the panic hook only, and its payload is leaked unless it is a text: to
/// log it or to drop it would run user code.
#[inline]
pub(crate) fn compare<R>(f: impl FnOnce() -> R) -> Option<R> {
    // The compiler removes the catch where it sees that the comparison cannot panic.
    catch_unwind(AssertUnwindSafe(f)).map_err(leak_payload).ok()
}

#[cold]
fn leak_payload(payload: Box<dyn Any + Send>) {
    if !payload.is::<&'static str>() && !payload.is::<String>() {
        #[expect(clippy::mem_forget, reason = "its drop is the user's")]
        std::mem::forget(payload);
    }
}

/// Runs `f`, typically the drop of a user's value; a panic is logged, with `what` it was, and goes
/// no further.
pub(crate) fn contain(what: impl fmt::Display, f: impl FnOnce()) {
    if let Err(panic) = catch(f) {
        log_contained(&what, panic);
    }
}

#[cold]
fn log_contained(what: &dyn fmt::Display, panic: Panic) {
    // The logger is user code as well, and there is nowhere left to report its panic.
    let log = || log::error!(target: crate::LOG_TARGET, "{what}: {panic}");
    if let Err(payload) = catch_unwind(AssertUnwindSafe(log)) {
        drop_payload(payload);
    }
    discard(panic);
}

/// Drops a panic whose payload may itself panic when dropped; such a payload is leaked.
fn discard(panic: Panic) {
    if let Some(payload) = panic.take_payload() {
        drop_payload(payload);
    }
}

fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        #[expect(clippy::mem_forget, reason = "its drop already panicked once")]
        std::mem::forget(second);
    }
}
