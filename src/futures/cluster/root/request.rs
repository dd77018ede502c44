//! A call on its way to another rank, as root keeps it.

use std::any::type_name;
use std::panic::Location;
use std::sync::Arc;

use super::dispatcher::Item;
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::pair_arc::{Block, PairArc};
use crate::futures::call::state::{Phase, State};
use crate::futures::call::{self, Call, CallKind};
use crate::futures::cluster::transport::buffer_pool::BufferPool;
use crate::futures::remote::attachments::Files;
use crate::futures::remote::codec::Source;
use crate::futures::remote::protocol::FrameKind;
use crate::futures::remote::reply::{self, HasReplyHandler, ReplyHandler};
use crate::sync::Mutex;

/// A call as the pool sees it.
pub(crate) type RequestRef = PairArc<dyn Request>;

/// An encoded call. It is kept until the call is answered, to be sent again if need be.
#[derive(Clone, Debug)]
pub(crate) enum RequestPayload {
    /// Copied into a message with others.
    Small(Arc<[u8]>),
    /// A message by itself.
    Large(Arc<Vec<u8>>),
}

impl RequestPayload {
    /// From this many bytes on a call is a message by itself.
    const LARGE: usize = 16 * 1024;

    /// What `written` holds. It is used again if that was little.
    pub(crate) fn new(written: Vec<u8>, buffers: &BufferPool) -> Self {
        if written.len() >= Self::LARGE {
            return Self::Large(Arc::new(written));
        }
        let frame = Self::Small(written[..].into());
        buffers.give_back(written);
        frame
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }

    pub(crate) fn give_back(self, buffers: &BufferPool) {
        if let Self::Large(bytes) = self {
            buffers.give_back_shared(bytes);
        }
    }
}

/// The body of a call that runs on another rank.
pub(crate) struct MpiRequest<R> {
    site: &'static Location<'static>,
    signature: &'static str,
    id: u64,
    weight: usize,
    /// `None` when the call is over.
    frame: Mutex<Option<RequestPayload>>,
    reply_handler: ReplyHandler<R>,
}

impl<R: Send + 'static> MpiRequest<R> {
    /// Makes a call; `A` and `I` are what its function takes and returns, for error texts.
    pub(crate) fn make<A, I>(
        site: &'static Location<'static>,
        id: u64,
        frame: RequestPayload,
        reply_handler: ReplyHandler<R>,
    ) -> (RequestRef, Future<R>) {
        let (call, own) = Call::<R, _>::pair(Self {
            site,
            signature: type_name::<fn(A) -> I>(),
            id,
            weight: frame.bytes().len(),
            frame: Mutex::new(Some(frame)),
            reply_handler,
        });
        let block = PairArc::into_raw(call) as *mut Block<dyn Request>;
        // SAFETY: it was made from an owner just now.
        (unsafe { RequestRef::from_raw(block) }, Future::from_call(own))
    }
}

impl<R: Send + 'static> CallKind<R> for MpiRequest<R> {
    fn name(&self) -> &'static str {
        "a call on another rank"
    }

    unsafe fn discard(&self) {
        let frame = self.frame.lock().take();
        drop(frame);
    }

    fn runs_here(&self) -> bool {
        false
    }
}

impl<R: Send + 'static> HasReplyHandler<R> for MpiRequest<R> {
    fn reply_handler(&self) -> &ReplyHandler<R> {
        &self.reply_handler
    }
}

/// A call of any type.
pub(crate) trait Request: Send + Sync {
    fn id(&self) -> u64;

    fn weight(&self) -> usize;

    /// Where it was submitted, for errors.
    fn description(&self) -> String;

    /// RUNNING from now on; false if it is over. No user code runs.
    fn offer(&self) -> bool;

    /// Whether it has not begun and is not over.
    fn is_pending(&self) -> bool;

    /// What is to be sent; `None` if it is over.
    fn frame(&self) -> Option<RequestPayload>;

    /// What was to be sent, which is not needed any more.
    fn take_frame(&self) -> Option<RequestPayload>;

    /// Ends the call with an answer; whether somebody is to be told.
    fn land(&self, kind: FrameKind, bytes: &[u8]) -> bool;

    /// Ends the call with an error; whether somebody is to be told.
    fn land_error(&self, error: Error) -> bool;

    /// Cancels the call unless it runs or is over; then, whether somebody is to be told.
    fn cancel_now(&self) -> Option<bool>;

    /// Tells those who wait for the end of the call. Runs user code.
    ///
    /// # Safety
    ///
    /// `own` is an owner of this call.
    unsafe fn notify_all(&self, own: &RequestRef);

    /// Whether to tell runs no user code after all.
    fn wakes_threads_only(&self) -> bool;
}

impl RequestRef {
    /// Ends the call with an answer; gives it back if somebody is to be told.
    pub(crate) fn finish(self, kind: FrameKind, bytes: &[u8]) -> Option<Self> {
        let is_awaited = self.land(kind, bytes);
        reply::if_awaited(self, is_awaited)
    }

    /// Ends the call with an error; gives it back if somebody is to be told.
    pub(crate) fn fail(self, error: Error) -> Option<Self> {
        let is_awaited = self.land_error(error);
        reply::if_awaited(self, is_awaited)
    }

    /// Cancels the call unless it runs or is over; then gives it back if somebody is to be told.
    pub(crate) fn cancel(self) -> Option<Option<Self>> {
        let is_awaited = self.cancel_now()?;
        Some(is_awaited.then_some(self))
    }

    /// Tells those who wait for the end of the call. Runs user code.
    pub(crate) fn notify(self) {
        // SAFETY: it is its owner.
        unsafe { self.notify_all(&self) };
        reply::let_go(self);
    }
}

impl<R: Send + 'static> Request for Call<R, MpiRequest<R>> {
    fn id(&self) -> u64 {
        self.body().id
    }

    fn weight(&self) -> usize {
        self.body().weight
    }

    fn description(&self) -> String {
        let MpiRequest { site, signature, .. } = self.body();
        format!("the call submitted at {site}, {signature}")
    }

    fn offer(&self) -> bool {
        match self.core().transition(State::start) {
            Ok(_) => true,
            Err(state) => !state.is_done(), // it comes back from a rank that died
        }
    }

    fn is_pending(&self) -> bool {
        self.core().state().phase() == Phase::Pending
    }

    fn frame(&self) -> Option<RequestPayload> {
        self.body().frame.lock().clone()
    }

    fn take_frame(&self) -> Option<RequestPayload> {
        self.body().frame.lock().take()
    }

    fn land(&self, kind: FrameKind, bytes: &[u8]) -> bool {
        let outcome = reply::decode(self, kind, &mut Source::new(bytes, &Files::default()));
        reply::end(self, outcome)
    }

    fn land_error(&self, error: Error) -> bool {
        drop(self.take_frame());
        reply::end(self, Err(error))
    }

    fn cancel_now(&self) -> Option<bool> {
        let state = self.core().transition(State::cancel).ok()?;
        // SAFETY: this thread made the one transition to CANCELLED.
        unsafe { self.body().discard() };
        Some(state.is_waited())
    }

    unsafe fn notify_all(&self, own: &RequestRef) {
        // SAFETY: the caller's promise.
        call::notify(&unsafe { reply::as_call::<R, MpiRequest<R>, _>(own) });
    }

    fn wakes_threads_only(&self) -> bool {
        self.core().with_waiters(|waiters| waiters.are_threads())
    }
}

impl Item for RequestRef {
    fn id(&self) -> u64 {
        (**self).id()
    }

    fn weight(&self) -> usize {
        (**self).weight()
    }

    fn offer(&self) -> bool {
        (**self).offer()
    }
}

/// What a worker said of a call that cannot have ended so.
pub(crate) fn is_answer(kind: FrameKind) -> Result<FrameKind, &'static str> {
    match kind {
        FrameKind::Done
        | FrameKind::Panicked
        | FrameKind::BadArgument
        | FrameKind::BadResult
        | FrameKind::TooLarge => Ok(kind),
        _ => Err("unknown kind of answer"),
    }
}
