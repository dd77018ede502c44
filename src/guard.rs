//! Running user code so that its panics stay its own.
//!
//! Everything that calls a user's closure or drops a user's value goes through [`catch`] or
//! [`contain`]. A panic hook, chained in front of the program's own and installed once, notes where
//! a panic was raised: `catch_unwind` gives the payload only.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::error::Panic;

thread_local! {
    // Std's in a model too: the panic hook also runs outside of models.
    static PLACE: Place = const { Place { depth: Cell::new(0), location: Cell::new(None) } };
}

/// What the panic hook and [`catch`] tell each other. A thread that is being torn down has no
/// thread-locals left: its panics have no location.
struct Place {
    /// How many [`catch`] calls this thread is inside of.
    depth: Cell<usize>,
    /// `file:line:column` of the latest panic raised inside of one.
    location: Cell<Option<String>>,
}

/// Notes locations from now on. Called once per executor or scheduler, cheap when repeated.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    if std::thread::panicking() {
        return; // `take_hook` may not be called then; the next executor does it
    }
    INSTALLED.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = PLACE.try_with(|place| {
                if place.depth.get() > 0 {
                    place.location.set(info.location().map(ToString::to_string));
                }
            });
            next(info);
        }));
    });
}

/// Calls `f`; a panic becomes a [`Panic`] with payload, message and location.
///
/// `AssertUnwindSafe` is right because whatever `f` broke belongs to the caller who wrote it, as
/// with a panicking thread; the crate's own state is never borrowed while `f` runs.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    let _ = PLACE.try_with(|place| {
        if place.depth.replace(place.depth.get() + 1) == 0 {
            place.location.take(); // of a panic that the user caught: not this one's
        }
    });
    let caught = catch_unwind(AssertUnwindSafe(f));
    let location = PLACE.try_with(|place| {
        place.depth.set(place.depth.get() - 1);
        if caught.is_err() { place.location.take() } else { None }
    });
    caught.map_err(|payload| Panic::new(payload, location.ok().flatten()))
}

/// Runs `f`, typically the drop of a user's value; a panic is logged and goes no further.
pub(crate) fn contain(what: &str, f: impl FnOnce()) {
    if let Err(panic) = catch(f) {
        // The logger is user code as well, and there is nowhere left to report its panic.
        let log = || log::error!(target: crate::LOG_TARGET, "{what}: {panic}");
        if let Err(payload) = catch_unwind(AssertUnwindSafe(log)) {
            drop_payload(payload);
        }
        discard(panic);
    }
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
