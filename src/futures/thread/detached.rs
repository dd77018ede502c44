//! [`Detached`]: a call without a future, made by
//! [`ThreadPoolExecutor::execute`](super::ThreadPoolExecutor::execute).

use std::any::type_name;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use crate::error::Error;
use crate::futures::call::cancel_token::{CancelToken, StopFlag};
use crate::futures::call::current::{PoolId, Running, RunningCall, within};
use crate::futures::call::log_lost;
use crate::futures::call::run::QueuedTask;
use crate::futures::call::run::RunObserver;
use crate::futures::call::state::Phase;
use crate::futures::call::trace_hooks::{CallEnd, CallOrigin, Traced};
use crate::user_code::{catch, contain};

/// A function in the queue of a pool, without a future; it is named for `N`.
pub(super) struct Detached<F, N> {
    /// INVARIANT: alive until this is taken apart or dropped.
    function: ManuallyDrop<F>,
    name: PhantomData<fn() -> N>,
    traced: Traced,
}

impl<F, N> Detached<F, N> {
    pub(super) fn queued(pool: PoolId, function: F) -> Self {
        let traced = Traced::submitted(type_name::<N>(), CallOrigin::Thread(pool));
        Self { function: ManuallyDrop::new(function), name: PhantomData, traced }
    }

    fn take_apart(self) -> (F, Traced) {
        let mut call = ManuallyDrop::new(self);
        // SAFETY: it is alive, and `call` is not dropped.
        (unsafe { ManuallyDrop::take(&mut call.function) }, call.traced)
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
    fn run(self, observer: &dyn RunObserver) {
        observer.begins();
        self.run_started(observer);
    }

    fn start(&self) -> bool {
        true
    }

    #[inline]
    fn run_started(self, observer: &dyn RunObserver) {
        let (function, traced) = self.take_apart();
        traced.started();
        // A stack address is unique among running calls, which is all that the identity needs.
        let place = 0u8;
        let running_call =
            RunningCall { call: std::ptr::from_ref(&place).addr(), name: type_name::<N>() };
        let outcome = within(running_call, &Unasked, observer, || catch(function));
        observer.ended(outcome.is_err());
        traced.ended(if outcome.is_err() { CallEnd::Failed } else { CallEnd::Returned });
        if let Err(panic) = outcome {
            log_lost(running_call.name, &Error::Panicked(panic));
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

/// A running call that can be asked to stop only with its whole pool.
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
