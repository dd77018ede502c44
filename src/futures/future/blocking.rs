//! How a thread waits for one call, and for its result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::Ending;
use crate::futures::call::assist::One;
use crate::futures::call::current::is_notifying;
use crate::futures::call::dependency::is_notifying_source;
use crate::futures::call::pair_arc::PairArc;
use crate::futures::call::waiters::{Signal, Waiter, WakeWhen};

use crate::futures::deadlock::{self, Awaits, InPlaceRun, OnDeadlock, Wait, WaitFor};
use crate::sync::backoff::spin_until;
use crate::sync::deadline_after;

impl<T> Future<T> {
    /// Waits for the call and borrows its value.
    ///
    /// # Blocking
    ///
    /// Until the call is done. Once it is, this costs one atomic load. Inside of another call of
    /// the same pool, this thread [runs the call](crate::futures#waiting-inside-of-calls) if it is
    /// still queued and no other worker is free.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if the call was cancelled; otherwise the failure of the call:
    /// [`Error::Panicked`], [`Error::Raised`], [`Error::BrokenThreadPool`], ... [`Error::Deadlock`]
    /// inside of a call, if the wait could never end.
    ///
    /// # Python
    ///
    /// `Future.result()`. An exception of the call is an error here: of a panic always, of a
    /// returned `Err` after [`flatten`](Self::flatten).
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// let (promise, future) = Promise::pair();
    /// promise.set_result("done")?;
    /// assert_eq!(*future.result()?, "done");
    /// assert_eq!(*future.result()?, "done"); // as often as you like
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn result(&self) -> Result<&T> {
        self.wait_done(None)?;
        self.value()
    }

    /// Like [`result`](Self::result), but waits no longer than `timeout`; zero only looks.
    ///
    /// # Blocking
    ///
    /// Until the call is done, at most for `timeout`. It runs no call in place: if all workers of a
    /// pool wait like this for queued calls of that pool, they wait until the time is up.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the call is not done in time; the call itself goes on. Otherwise as
    /// `result`.
    ///
    /// # Python
    ///
    /// `Future.result(timeout)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// # use std::time::Duration;
    /// let (_promise, future) = Promise::<()>::pair();
    /// assert!(future.result_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// ```
    pub fn result_timeout(&self, timeout: Duration) -> Result<&T> {
        self.wait_timeout(timeout)?;
        self.value()
    }

    /// Waits for the call and borrows its failure; `None` if it succeeded.
    ///
    /// # Blocking
    ///
    /// As [`result`](Self::result).
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if the call was cancelled, [`Error::Deadlock`] as for `result`.
    ///
    /// # Python
    ///
    /// `Future.exception()`.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let future = pool.spawn(|| -> () { panic!("no disk") })?;
    /// let error = future.exception()?.expect("it panicked");
    /// assert!(error.to_string().contains("no disk"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn exception(&self) -> Result<Option<&Error>> {
        self.wait_done(None)?;
        self.failure()
    }

    /// Like [`exception`](Self::exception), but waits no longer than `timeout`; zero only looks.
    ///
    /// # Blocking
    ///
    /// As [`result_timeout`](Self::result_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the call is not done in time, [`Error::Cancelled`] if it was
    /// cancelled.
    ///
    /// # Python
    ///
    /// `Future.exception(timeout)`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use concurrent::futures::Promise;
    /// # use std::time::Duration;
    /// let (promise, future) = Promise::pair();
    /// assert!(future.exception_timeout(Duration::ZERO).unwrap_err().is_timeout());
    /// promise.set_result(())?;
    /// assert!(future.exception_timeout(Duration::ZERO)?.is_none());
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn exception_timeout(&self, timeout: Duration) -> Result<Option<&Error>> {
        self.wait_timeout(timeout)?;
        self.failure()
    }

    /// Waits for the call and moves its value out.
    ///
    /// # Blocking
    ///
    /// Until the call is done and its callbacks, which may borrow the value, have returned.
    ///
    /// # Errors
    ///
    /// As [`result`](Self::result). In a callback of this very call it fails with
    /// [`Error::Deadlock`], because the wait could never end. If a callback waits for a worker that
    /// waits here, the callback gets that error.
    ///
    /// # Python
    ///
    /// `Future.result()`, when nobody asks again.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let lines: Vec<String> = pool.spawn(|| vec!["moved".to_string()])?.into_result()?;
    /// assert_eq!(lines, ["moved"]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn into_result(self) -> Result<T> {
        self.wait_done(None)?;
        if !self.call.shared().state().is_settled() {
            self.wait_settled()?;
        }
        self.take()
    }

    /// Blocks until the call is done.
    #[inline]
    pub(crate) fn wait_done(&self, deadline: Option<Instant>) -> Result<()> {
        if self.call().shared().state().is_done() {
            return Ok(());
        }
        self.block_until_done(deadline)
    }

    #[inline(never)] // so that the code for a call that is done already stays short
    fn block_until_done(&self, deadline: Option<Instant>) -> Result<()> {
        let call = self.call();
        let shared = call.shared();
        let done = || shared.state().is_done();
        let one = One(call);
        let mut run = InPlaceRun::default();
        if deadline.is_none() {
            run.while_nobody_is_free(&one);
            if done() {
                return Ok(());
            }
        }
        call.kind().assist(&done, deadline);
        if spin_until(done) {
            return Ok(());
        }
        // A call that follows another one ends only after that one's callbacks have returned.
        if deadline.is_none() && is_notifying_source(call) {
            return Err(self.in_own_callback());
        }
        let signal = Signal::new();
        if shared.register(Waiter::Done(Arc::clone(&signal), 0)).is_err() {
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
        shared.with_waiters(|waiters| waiters.remove_signal(&signal));
        // The call may have ended between the deadline and the removal.
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
        if is_notifying(PairArc::address(self.call())) {
            return Err(self.in_own_callback());
        }
        let shared = self.call().shared();
        let signal = Signal::new();
        if shared.register(Waiter::Settled(Arc::clone(&signal))).is_err() {
            return Ok(());
        }
        // In a circle the wait of the callback should fail, not this one, which would lose the
        // value.
        let wait = Wait {
            on_deadlock: OnDeadlock::Insists,
            ..Wait::new(Awaits::CallbacksOf(self.call()), WaitFor::All)
        };
        let waited = deadlock::wait(&signal, WakeWhen::ONE, &wait, &mut InPlaceRun::default());
        if waited.is_ok() {
            return waited;
        }
        shared.with_waiters(|waiters| waiters.remove_signal(&signal));
        if shared.state().is_settled() { Ok(()) } else { waited }
    }

    fn in_own_callback(&self) -> Error {
        let text = format!("{self:?} waits in its own callback for its callbacks to return");
        Error::Deadlock(text.into())
    }

    /// The value of a done call.
    pub(crate) fn value(&self) -> Result<&T> {
        let shared = self.call().shared();
        if !shared.state().is_finished() {
            return Err(Error::Cancelled);
        }
        // SAFETY: finished, and only an owner of the future that `self` borrows can take the
        // outcome.
        match unsafe { shared.outcome() } {
            Ok(value) => Ok(value),
            Err(error) => {
                shared.mark_seen();
                Err(Error::clone(error))
            }
        }
    }

    /// The failure of a done call.
    pub(crate) fn failure(&self) -> Result<Option<&Error>> {
        let shared = self.call().shared();
        if !shared.state().is_finished() {
            return Err(Error::Cancelled);
        }
        // SAFETY: as in `value`.
        match unsafe { shared.outcome() } {
            Ok(_) => Ok(None),
            Err(error) => {
                shared.mark_seen();
                Ok(Some(error))
            }
        }
    }

    /// The outcome of a settled call.
    pub(crate) fn take(self) -> Result<T> {
        match self.call().take_ending() {
            Ending::Finished(outcome) => outcome.map_err(|error| *error),
            Ending::Cancelled => Err(Error::Cancelled),
        }
    }
}
