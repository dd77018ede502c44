//! How a thread waits for one call, and what it finds then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::assist::One;
use crate::futures::call::waiters::{Signal, Waiter, WakeWhen};
use crate::futures::call::{self, Ending};
use crate::futures::deadlock::{self, Awaits, InPlaceRun, OnDeadlock, Wait, WaitFor};
use crate::sync::backoff::spin_until;
use crate::sync::deadline_after;

impl<T> Future<T> {
    /// Blocks until the call is done.
    #[inline]
    pub(crate) fn wait_done(&self, deadline: Option<Instant>) -> Result<()> {
        if self.call().core().state().is_done() {
            return Ok(());
        }
        self.block_until_done(deadline)
    }

    #[inline(never)] // what is done already is taken without all this
    fn block_until_done(&self, deadline: Option<Instant>) -> Result<()> {
        let call = self.call();
        let core = call.core();
        let done = || core.state().is_done();
        let one = One(call);
        let mut run = InPlaceRun::default();
        if deadline.is_none() {
            run.while_nobody_is_free(&one);
            if done() {
                return Ok(());
            }
        }
        call.body().attend(&done, deadline);
        if spin_until(done) {
            return Ok(());
        }
        // A call that follows another ends only after that one's callbacks have returned.
        if deadline.is_none() && call::is_notifying_source(call) {
            return Err(self.in_own_callback());
        }
        let signal = Signal::new();
        if core.register(Waiter::Done(Arc::clone(&signal), 0)).is_err() {
            return Ok(());
        }
        let waited = match deadline {
            Some(_) if signal.wait(WakeWhen::ONE, deadline) => return Ok(()),
            Some(_) => Err(Error::Timeout { unfinished: 1, total: 1 }),
            None => {
                let wait = Wait::new(Awaits::Calls(&one), WaitFor::All);
                deadlock::wait(&signal, WakeWhen::ONE, &wait, &mut run)
            }
        };
        if waited.is_ok() {
            return waited;
        }
        core.with_waiters(|waiters| waiters.remove_signal(&signal));
        // It may have ended between the deadline and the removal.
        if done() { Ok(()) } else { waited }
    }

    pub(crate) fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        if self.done() {
            return Ok(()); // spares reading the clock
        }
        if timeout.is_zero() {
            return Err(Error::Timeout { unfinished: 1, total: 1 });
        }
        self.wait_done(deadline_after(timeout))
    }

    /// Blocks until the callbacks of a done call have returned.
    pub(crate) fn wait_settled(&self) -> Result<()> {
        if call::is_notifying(self.call()) {
            return Err(self.in_own_callback());
        }
        let core = self.call().core();
        let signal = Signal::new();
        if core.register(Waiter::Settled(Arc::clone(&signal))).is_err() {
            return Ok(());
        }
        // In a circle the callback is to fail that waits for this call: here the value is at stake.
        let wait = Wait {
            on_deadlock: OnDeadlock::Insists,
            ..Wait::new(Awaits::CallbacksOf(self.call()), WaitFor::All)
        };
        let waited = deadlock::wait(&signal, WakeWhen::ONE, &wait, &mut InPlaceRun::default());
        if waited.is_ok() {
            return waited;
        }
        core.with_waiters(|waiters| waiters.remove_signal(&signal));
        if core.state().is_settled() { Ok(()) } else { waited }
    }

    fn in_own_callback(&self) -> Error {
        let text = format!("{self:?} waits in its own callback for its callbacks to return");
        Error::Deadlock(text.into())
    }

    /// The value of a done call.
    pub(crate) fn value(&self) -> Result<&T> {
        let core = self.call().core();
        if !core.state().is_finished() {
            return Err(Error::Cancelled);
        }
        // SAFETY: finished, and it is only taken by those who own the future that `self` borrows.
        match unsafe { core.outcome() } {
            Ok(value) => Ok(value),
            Err(error) => {
                core.mark_seen();
                Err(Error::clone(error))
            }
        }
    }

    /// The failure of a done call.
    pub(crate) fn failure(&self) -> Result<Option<&Error>> {
        let core = self.call().core();
        if !core.state().is_finished() {
            return Err(Error::Cancelled);
        }
        // SAFETY: as in `value`.
        match unsafe { core.outcome() } {
            Ok(_) => Ok(None),
            Err(error) => {
                core.mark_seen();
                Ok(Some(error))
            }
        }
    }

    /// The outcome of a settled call.
    pub(crate) fn take(self) -> Result<T> {
        match call::take_ending(self.call()) {
            Ending::Finished(outcome) => outcome.map_err(|error| *error),
            Ending::Cancelled => Err(Error::Cancelled),
        }
    }
}
