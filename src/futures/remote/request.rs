//! A call that goes to another process or rank, as its pool keeps it.
//!
//! The future owns the call with the type of its result. The pool owns it as a [`RequestRef`], which hides
//! that type but knows how the call is delivered: the [`Delivery`] belongs to the pool.

use std::any::type_name;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::time::Instant;

use super::attachments::Files;
use super::codec::{Source, depth};
use super::protocol::FrameKind;
use super::reply::{ReplyHandler, failure};
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::continuation::Continuations;
use crate::futures::call::pair_arc::{Block, PairArc};
use crate::futures::call::run::NoObserver;
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{AnyCall, Call, CallKind};

/// The part of a call that belongs to its pool: the message, and whether it was sent.
pub(crate) trait Delivery: Send + Sync + 'static {
    /// The name of such calls in logs and errors.
    const NAME: &'static str;

    /// Frees the message, which is not sent any more. No user code runs.
    fn release(&self);

    /// See [`CallKind::cancelling`].
    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        cancel();
    }

    /// See [`CallKind::has_begun_elsewhere`].
    fn has_begun(&self) -> bool {
        false
    }

    /// See [`CallKind::kill`].
    fn kill(&self) -> bool {
        false
    }

    /// See [`CallKind::assist`].
    fn assist(&self, _done: &dyn Fn() -> bool, _deadline: Option<Instant>) {}
}

/// The kind of a call that runs in another process or on another rank.
pub(crate) struct RemoteRequest<R, D> {
    site: &'static Location<'static>,
    signature: &'static str,
    reply_handler: ReplyHandler<R>,
    delivery: D,
}

/// A call as its pool sees it.
pub(crate) type RequestRef<D> = PairArc<dyn AnyRequest<D>>;

impl<R: Send + 'static, D: Delivery> RemoteRequest<R, D> {
    /// Makes a call; `A` and `I` are what its function takes and returns, for error texts.
    pub(crate) fn make<A, I>(
        site: &'static Location<'static>,
        delivery: D,
        reply_handler: ReplyHandler<R>,
    ) -> (RequestRef<D>, Future<R>) {
        let signature = type_name::<fn(A) -> I>();
        let (call, own) = Call::<R, _>::pair(Self { site, signature, reply_handler, delivery });
        let block = PairArc::into_raw(call) as *mut Block<dyn AnyRequest<D>>;
        // SAFETY: it was made from an owner just now.
        (unsafe { RequestRef::from_raw(block) }, Future::from_call(own))
    }
}

impl<R: Send + 'static, D: Delivery> CallKind<R> for RemoteRequest<R, D> {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        self.delivery.cancelling(cancel);
    }

    unsafe fn discard(&self) {
        self.delivery.release();
    }

    fn runs_here(&self) -> bool {
        false
    }

    fn has_begun_elsewhere(&self) -> bool {
        self.delivery.has_begun()
    }

    fn kill(&self) -> bool {
        self.delivery.kill()
    }

    fn assist(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        self.delivery.assist(done, deadline);
    }
}

/// A call of any result.
pub(crate) trait AnyRequest<D>: Send + Sync {
    fn delivery(&self) -> &D;

    /// Where it was submitted, for errors.
    fn description(&self) -> String;

    fn state(&self) -> State;

    /// Makes the call RUNNING; the error is the state that does not allow it. No user code runs.
    fn start(&self) -> Result<State, State>;

    /// Ends the call with a worker's reply; returns whether it has waiters to notify.
    fn complete(&self, kind: FrameKind, bytes: &[u8], files: Vec<OwnedFd>) -> bool;

    /// Ends the call with an error; returns whether it has waiters to notify.
    fn complete_with_error(&self, error: Error) -> bool;

    /// Cancels the call if it is pending; then, whether it has waiters to notify.
    fn try_cancel(&self) -> Option<bool>;

    /// Notifies those who wait for the end of the call. Runs user code.
    ///
    /// # Safety
    ///
    /// `own` is an owner of this call.
    unsafe fn notify_waiters(&self, own: &RequestRef<D>);

    /// Whether only blocked threads wait for the call, so that to notify them runs no user code.
    #[cfg(feature = "mpi")]
    fn wakes_threads_only(&self) -> bool;
}

impl<D> RequestRef<D> {
    /// Whether the call has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.state().is_done()
    }

    /// Ends the call with a worker's reply; gives it back if it has waiters to notify.
    pub(crate) fn finish(self, kind: FrameKind, bytes: &[u8], files: Vec<OwnedFd>) -> Option<Self> {
        let is_awaited = self.complete(kind, bytes, files);
        self.if_awaited(is_awaited)
    }

    /// Ends the call with an error; gives it back if it has waiters to notify.
    pub(crate) fn fail(self, error: Error) -> Option<Self> {
        let is_awaited = self.complete_with_error(error);
        self.if_awaited(is_awaited)
    }

    /// Cancels the call if it is pending; then gives it back if it has waiters to notify.
    pub(crate) fn cancel(self) -> Option<Option<Self>> {
        let is_awaited = self.try_cancel()?;
        Some(self.if_awaited(is_awaited))
    }

    /// Notifies those who wait for the end of the call. Runs user code.
    pub(crate) fn notify(self) {
        // SAFETY: it is its owner.
        unsafe { self.notify_waiters(&self) };
        self.let_go();
    }

    fn if_awaited(self, is_awaited: bool) -> Option<Self> {
        if is_awaited {
            return Some(self);
        }
        self.let_go();
        None
    }

    fn let_go(self) {
        depth::let_go("dropping a result that nobody took", || drop(self));
    }
}

impl<R: Send + 'static, D: Delivery> AnyRequest<D> for Call<R, RemoteRequest<R, D>> {
    fn delivery(&self) -> &D {
        &self.kind().delivery
    }

    fn description(&self) -> String {
        let RemoteRequest { site, signature, .. } = self.kind();
        format!("the call submitted at {site}, {signature}")
    }

    fn state(&self) -> State {
        self.shared().state()
    }

    fn start(&self) -> Result<State, State> {
        self.shared().transition(State::start)
    }

    fn complete(&self, kind: FrameKind, bytes: &[u8], files: Vec<OwnedFd>) -> bool {
        let files = Files::new(files.into_iter().map(Some).collect());
        let mut source = Source::new(bytes, &files);
        let ReplyHandler { decode, items, .. } = self.kind().reply_handler;
        let outcome = match kind {
            FrameKind::Done => decode(&mut source, items),
            kind => Err(failure(kind, source.rest())),
        };
        self.kind().delivery.release();
        end(self, outcome)
    }

    fn complete_with_error(&self, error: Error) -> bool {
        self.kind().delivery.release();
        end(self, Err(error))
    }

    fn try_cancel(&self) -> Option<bool> {
        if self.state().phase() != Phase::Pending {
            return None; // without taking it back from a worker
        }
        let mut cancelled = None;
        let mut cancel = || cancelled = self.shared().transition(State::cancel).ok();
        self.kind().delivery.cancelling(&mut cancel);
        let state = cancelled?;
        self.kind().delivery.release();
        Some(state.is_waited())
    }

    unsafe fn notify_waiters(&self, own: &RequestRef<D>) {
        // SAFETY: the caller's promise.
        let call = unsafe { as_call::<R, D>(own) };
        Continuations::with(|chain| call.notify_waiters(chain, self.state(), &NoObserver));
    }

    #[cfg(feature = "mpi")]
    fn wakes_threads_only(&self) -> bool {
        self.shared().with_waiters(|waiters| waiters.are_threads())
    }
}

/// Ends the call; returns whether it has waiters to notify.
fn end<R, D>(call: &Call<R, RemoteRequest<R, D>>, outcome: Result<R>) -> bool
where
    R: Send + 'static,
    D: Delivery,
{
    if call.shared().transition(State::claim).is_err() {
        depth::let_go("dropping the result of a call that is over", || drop(outcome));
        return false;
    }
    let ReplyHandler { fail, items, .. } = call.kind().reply_handler;
    let outcome = outcome.or_else(|error| fail(error, items));
    // SAFETY: the transition above set the claim.
    unsafe { call.shared().finish(outcome.map_err(Box::new)) }.is_waited()
}

/// One more owner of the call, as one of its result.
///
/// # Safety
///
/// `own` is an owner of a `Call<R, RemoteRequest<R, D>>`.
unsafe fn as_call<R: Send + 'static, D: Delivery>(own: &RequestRef<D>) -> AnyCall<R> {
    let own = PairArc::into_raw(PairArc::clone(own));
    let block = own.cast::<Block<Call<R, RemoteRequest<R, D>>>>();
    // SAFETY: it was made from an owner just now, and is of this type by the caller's promise.
    unsafe { PairArc::from_raw(block) }.erase()
}
