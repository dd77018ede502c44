//! Calls without a future: [`ThreadPoolExecutor::execute`].

use std::any::type_name;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr;

use super::pool::{PoolShared, ThreadPoolExecutor};
use super::queue::TaskRef;
use crate::error::{Error, Result};
use crate::futures::call::cancel_token::{CancelToken, StopFlag};
use crate::futures::call::current::{Running, RunningCall, within};
use crate::futures::call::log_lost;
use crate::futures::call::queued_task::QueuedTask;
use crate::futures::call::run::RunObserver;
use crate::futures::call::state::Phase;
use crate::futures::call::trace_hooks::{CallEnd, CallOrigin, Traced};
use crate::user_code::{catch, contain};

/// A function in the queue of a pool, of which nobody else knows; `N` is what it is named for.
struct Detached<F, N> {
    /// INVARIANT: alive until the entry is taken apart or dropped.
    function: ManuallyDrop<F>,
    name: PhantomData<fn() -> N>,
    traced: Traced,
}

impl<F, N> Detached<F, N> {
    fn queued(pool: &PoolShared, function: F) -> Self {
        let traced = Traced::submitted(type_name::<N>(), CallOrigin::Thread(pool.id()));
        Self { function: ManuallyDrop::new(function), name: PhantomData, traced }
    }

    fn take_apart(self) -> (F, Traced) {
        let mut call = ManuallyDrop::new(self);
        // SAFETY: it is alive, and `call` is not dropped.
        let function = unsafe { ManuallyDrop::take(&mut call.function) };
        // SAFETY: as above.
        (function, unsafe { ptr::read(&raw const call.traced) })
    }
}

impl<F, N> Drop for Detached<F, N> {
    fn drop(&mut self) {
        self.traced.ended(CallEnd::GivenUp);
        contain("dropping a call that never ran", || {
            // SAFETY: it is alive; this is its end.
            unsafe { ManuallyDrop::drop(&mut self.function) };
        });
    }
}

impl<F: FnOnce() + Send + 'static, N: 'static> QueuedTask for Detached<F, N> {
    fn run(self, stage: &dyn RunObserver) {
        stage.begins();
        self.run_started(stage);
    }

    fn start(&self) -> bool {
        true
    }

    #[inline]
    fn run_started(self, stage: &dyn RunObserver) {
        let (function, traced) = self.take_apart();
        traced.started();
        // Its identity need only be no other call's that runs: a place on this stack.
        let place = 0u8;
        let entered = RunningCall { call: ptr::from_ref(&place).addr(), name: type_name::<N>() };
        let outcome = within(entered, &Unasked, stage, || catch(function));
        stage.ended(outcome.is_err());
        traced.ended(if outcome.is_err() { CallEnd::Failed } else { CallEnd::Returned });
        if let Err(panic) = outcome {
            log_lost(entered.name, &Error::Panicked(panic));
        }
    }

    fn phase(&self) -> Phase {
        Phase::Pending
    }

    fn cancel(self) -> Phase {
        let (function, traced) = self.take_apart();
        traced.ended(CallEnd::Cancelled);
        contain("dropping a cancelled call", || drop(function));
        Phase::Pending
    }

    fn fail(self, error: Error) -> Phase {
        let (function, traced) = self.take_apart();
        traced.ended(CallEnd::Failed);
        contain("dropping a call that cannot run", || drop(function));
        log_lost(type_name::<N>(), &error);
        Phase::Pending
    }
}

/// A running call that nobody can ask to stop, but for its whole pool.
struct Unasked;

impl Running for Unasked {
    fn is_awaited(&self) -> bool {
        false
    }

    fn is_cancel_requested(&self) -> bool {
        false
    }

    fn token(&self, pool: Option<StopFlag>) -> CancelToken {
        CancelToken::new(false, pool)
    }
}

impl ThreadPoolExecutor {
    /// Schedules a closure without a future: nobody learns how the call ends, or cancels it alone.
    ///
    /// It does what dropping the future of a [`spawn`](Self::spawn) does, for less memory and time:
    /// nothing is allocated for a closure that captures at most a pointer. A panic is logged. A
    /// shutdown waits for the call, cancels it or asks it to stop, as its options say; the
    /// [`stats`](Self::stats) count the call, and it may wait for other calls.
    ///
    /// # Blocking
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Python
    ///
    /// `submit(fn)`, with its future thrown away.
    ///
    /// # Examples
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
    #[doc(alias = "submit")]
    pub fn execute<F>(&self, function: F) -> Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        let shared = self.shared();
        let pushed = if shared.settings().is_plain() {
            let call = Detached::<F, F>::queued(shared, function);
            shared.queue().push(TaskRef::new(call), 0, &|flag, index| shared.start(flag, index))
        } else {
            let wrapper = shared.wrapper();
            let function = move || wrapper.run(function);
            let call = Detached::<_, F>::queued(shared, function);
            shared.push_with(TaskRef::new(call), shared.default_options())
        };
        pushed.map_err(|(error, refused)| {
            contain("dropping a call that was refused", || drop(refused));
            error
        })
    }
}
