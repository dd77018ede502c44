//! Calls without a future: [`ThreadPoolExecutor::execute`].

use std::any::type_name;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;

use super::pool::{Shared, ThreadPoolExecutor};
use crate::error::{Error, Result};
use crate::futures::call::log_lost;
use crate::futures::context::{Entered, Running, within};
use crate::futures::job::{Run, Stage};
use crate::futures::state::Phase;
use crate::futures::token::{CancelToken, StopFlag};
use crate::futures::traced::{End, Kind, Traced};
use crate::guard::{catch, contain};

/// A function in the queue of a pool, of which nobody else knows; `N` is what it is named for.
struct Detached<F, N> {
    /// INVARIANT: there, until whoever took the call out of the queue takes it.
    function: Option<F>,
    name: PhantomData<fn() -> N>,
    traced: Traced,
}

// SAFETY: nothing can be done with the function through a shared reference. It is moved out of the
// last `Arc`, maybe in another thread than the one that made it (F: Send).
unsafe impl<F: Send, N> Sync for Detached<F, N> {}

impl<F, N> Detached<F, N> {
    fn queued(pool: &Shared, function: F) -> Arc<Self> {
        let traced = Traced::submitted(type_name::<N>(), Kind::Thread(pool.id()));
        Arc::new(Self { function: Some(function), name: PhantomData, traced })
    }

    /// The call, out of the memory that went through the queue, and its function.
    fn begin(self: Arc<Self>) -> (Self, F) {
        let mut call = Arc::into_inner(self).expect("the queue had the only one");
        let function = call.function.take().expect("it is taken once");
        (call, function)
    }
}

impl<F, N> Drop for Detached<F, N> {
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            self.traced.ended(End::GivenUp);
            contain("dropping a call that never ran", || drop(function));
        }
    }
}

impl<F: FnOnce() + Send + 'static, N: 'static> Run for Detached<F, N> {
    fn run(self: Arc<Self>, stage: &dyn Stage) {
        let (call, function) = self.begin();
        stage.begins();
        call.traced.started();
        // Its identity need only be no other call's: nobody waits for it.
        let entered = Entered { call: ptr::from_ref(&call).addr(), name: type_name::<N>() };
        let outcome = within(entered, &Unasked, stage, || catch(function));
        stage.ended(outcome.is_err());
        call.traced.ended(if outcome.is_err() { End::Failed } else { End::Returned });
        if let Err(panic) = outcome {
            log_lost(entered.name, &Error::Panicked(panic));
        }
    }

    fn phase(&self) -> Phase {
        Phase::Pending
    }

    fn cancel(self: Arc<Self>) -> bool {
        let (call, function) = self.begin();
        call.traced.ended(End::Cancelled);
        contain("dropping a cancelled call", || drop(function));
        true
    }

    fn fail(self: Arc<Self>, error: Error) {
        let (call, function) = self.begin();
        call.traced.ended(End::Failed);
        contain("dropping a call that cannot run", || drop(function));
        log_lost(type_name::<N>(), &error);
    }
}

/// A running call that nobody can ask to stop, but for its whole pool.
struct Unasked;

impl Running for Unasked {
    fn is_cancel_requested(&self) -> bool {
        false
    }

    fn token(&self, pool: Option<StopFlag>) -> CancelToken {
        CancelToken::new(false, pool)
    }
}

impl ThreadPoolExecutor {
    /// Schedules a closure for what it does: nobody learns how it ends, nobody can cancel it alone.
    ///
    /// As a [`spawn`](Self::spawn) whose future is dropped, for less memory. A panic is logged. A
    /// shutdown waits for the call, cancels it or asks it to stop, as its options say; it is in the
    /// [`stats`](Self::stats), and may wait for other calls.
    ///
    /// # Python
    ///
    /// `submit(fn)`, its future thrown away.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// ```
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// # use std::sync::mpsc;
    /// let pool = ThreadPoolExecutor::new(1)?;
    /// let (sender, lines) = mpsc::channel();
    /// pool.execute(move || sender.send("written by a worker").unwrap())?;
    /// assert_eq!(lines.recv(), Ok("written by a worker"));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn execute<F>(&self, function: F) -> Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        let shared = self.shared();
        let pushed = if shared.settings().is_plain() {
            let call = Detached::<F, F>::queued(shared, function);
            shared.queue().push(call, 0, &|flag, index| shared.start(flag, index))
        } else {
            let around = shared.around();
            let function = move || around.run(function);
            shared.push_on_terms(Detached::<_, F>::queued(shared, function), shared.terms())
        };
        pushed.map_err(|(error, refused)| {
            contain("dropping a call that was refused", || drop(refused));
            error
        })
    }
}
