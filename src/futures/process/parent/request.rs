//! A call on its way to another process, as the parent keeps it.

use std::any::type_name;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::deferred::Deferred;
use super::manager::PoolManager;
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::pair_arc::{Block, PairArc};
use crate::futures::call::state::State;
use crate::futures::call::{self, Call, CallKind};
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::remote::attachments::Files;
use crate::futures::remote::codec::numbers::copy_numbers;
use crate::futures::remote::codec::{EncodeError, OutOfLineBytes, Payload, Sink, Source};
use crate::futures::remote::protocol::{FrameKind, FunctionToken, REQUEST_LIMIT};
use crate::futures::remote::reply::{self, HasReplyHandler, ReplyHandler};
use crate::futures::remote::segments::Arena;
use crate::futures::remote::shared_bytes::SharedBytes;
use crate::sync::Mutex;

/// A call as the pool sees it.
pub(crate) type ProcessCallRef = PairArc<dyn ProcessCall>;

/// What crosses to the worker.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) token: FunctionToken,
    pub(crate) payload: Payload,
    pub(crate) attachments: Vec<SharedBytes>,
}

/// The most bytes of an argument that travel inside of their frame.
pub(crate) const INLINE_LIMIT: usize =
    REQUEST_LIMIT - crate::futures::remote::protocol::HEADER - FunctionToken::BYTES;

impl Message {
    /// Encodes an argument with `encode`.
    pub(crate) fn new(
        token: FunctionToken,
        arena: &Arena,
        limit: u64,
        encode: impl FnOnce(&mut Sink<'_>) -> Result<(), EncodeError>,
    ) -> Result<Self> {
        let mut sink = Sink::new(Vec::new(), INLINE_LIMIT, limit, arena);
        let encoded = encode(&mut sink);
        let (payload, attachments) = sink.into_parts();
        match encoded {
            Ok(()) => Ok(Self { token, payload, attachments }),
            Err(error) => {
                payload.give_back(arena);
                Err(error.of_argument())
            }
        }
    }
}

impl Message {
    /// Whether it can be sent as it is.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(&self.payload, Payload::Inline(bytes) if bytes.len() > INLINE_LIMIT)
    }

    /// Moves a payload that is too long for a frame into shared memory. That takes its time.
    pub(crate) fn make_ready(&mut self, arena: &Arena) -> Result<()> {
        let Payload::Inline(bytes) = &self.payload else { return Ok(()) };
        if bytes.len() <= INLINE_LIMIT {
            return Ok(());
        }
        let segment = arena.take(bytes.len()).and_then(|mut segment| {
            segment.extend(bytes.len())?.copy_from_slice(bytes);
            Ok(segment)
        });
        match segment {
            Ok(segment) => self.payload = Payload::OutOfLine(segment),
            Err(error) => {
                let len = bytes.len();
                return Err(undelivered(&format!("no shared memory for {len} bytes: {error}")));
            }
        }
        Ok(())
    }
}

/// The argument could not be sent.
pub(crate) fn undelivered(why: &str) -> Error {
    Error::Undelivered(format!("the argument: {why}").into())
}

/// How far a call has got.
enum Whereabouts {
    /// In the queue, or taken back to it.
    Queued,
    /// Sent to the worker of this page under this number.
    Sent(Arc<SharedPage>, u64),
}

/// The body of a call that runs in another process.
pub(crate) struct ProcessRequest<R> {
    site: &'static Location<'static>,
    signature: &'static str,
    message: Mutex<Option<Message>>,
    reply_handler: ReplyHandler<R>,
    /// LOCK: taken under the pool's lock, never the other way round.
    place: Mutex<Whereabouts>,
    pool: Weak<PoolManager>,
    /// How often a worker died over it.
    deaths: AtomicU32,
    /// A thread makes its message ready, and looks for a worker then.
    preparing: AtomicBool,
}

impl<R: Send + 'static> ProcessRequest<R> {
    /// Makes a call; `A` and `I` are what its function takes and returns, for error texts.
    pub(crate) fn make<A, I>(
        site: &'static Location<'static>,
        message: Message,
        reply_handler: ReplyHandler<R>,
        pool: &Arc<PoolManager>,
    ) -> (ProcessCallRef, Future<R>) {
        let (call, own) = Call::<R, _>::pair(Self {
            site,
            signature: type_name::<fn(A) -> I>(),
            message: Mutex::new(Some(message)),
            reply_handler,
            place: Mutex::new(Whereabouts::Queued),
            pool: Arc::downgrade(pool),
            deaths: AtomicU32::new(0),
            preparing: AtomicBool::new(false),
        });
        let block = PairArc::into_raw(call) as *mut Block<dyn ProcessCall>;
        // SAFETY: it was made from an owner just now.
        (unsafe { ProcessCallRef::from_raw(block) }, Future::from_call(own))
    }
}

impl<R> ProcessRequest<R> {
    fn release_message(&self) {
        let message = self.message.lock().take();
        let Some(message) = message else { return };
        match self.pool.upgrade() {
            Some(pool) => message.payload.give_back(pool.arena()),
            None => drop(message.payload),
        }
    }
}

impl<R> Drop for ProcessRequest<R> {
    fn drop(&mut self) {
        self.release_message();
    }
}

impl<R: Send + 'static> CallKind<R> for ProcessRequest<R> {
    fn name(&self) -> &'static str {
        "a call in another process"
    }

    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        let place = self.place.lock();
        let can = match &*place {
            Whereabouts::Queued => true,
            Whereabouts::Sent(page, seq) => page.revoke(*seq),
        };
        if can {
            cancel();
        }
    }

    unsafe fn discard(&self) {
        self.release_message();
    }

    fn runs_here(&self) -> bool {
        false
    }

    fn has_begun_elsewhere(&self) -> bool {
        matches!(&*self.place.lock(), Whereabouts::Sent(page, seq) if page.has_begun(*seq))
    }

    fn kill(&self) -> bool {
        let Some(pool) = self.pool.upgrade() else { return false };
        pool.kill_call(std::ptr::from_ref(self).cast::<()>())
    }

    fn attend(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        if let Some(pool) = self.pool.upgrade() {
            pool.attend(std::ptr::from_ref(self).cast::<()>(), done, deadline);
        }
    }
}

impl<R: Send + 'static> HasReplyHandler<R> for ProcessRequest<R> {
    fn reply_handler(&self) -> &ReplyHandler<R> {
        &self.reply_handler
    }
}

/// What came back, in memory that nobody else can write.
pub(crate) struct Reply {
    pub(crate) kind: FrameKind,
    pub(crate) bytes: Bytes,
    pub(crate) files: Vec<OwnedFd>,
}

/// Bytes, the few of a small result without an allocation.
pub(crate) enum Bytes {
    Few(u8, [u8; Self::FEW]),
    Many(Vec<u8>),
}

impl Bytes {
    const FEW: usize = 46;

    /// Copies what lies where others may write to it.
    pub(crate) fn fetch(bytes: &dyn OutOfLineBytes) -> std::result::Result<Self, String> {
        copy_numbers(bytes).map(Self::Many)
    }

    /// `None` if there is no memory for them.
    pub(crate) fn copy(bytes: &[u8]) -> Option<Self> {
        let mut few = [0; Self::FEW];
        if let (Some(start), Ok(len)) = (few.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            start.copy_from_slice(bytes);
            return Some(Self::Few(len, few));
        }
        let mut many = Vec::new();
        many.try_reserve_exact(bytes.len()).ok()?;
        many.extend_from_slice(bytes);
        Some(Self::Many(many))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Few(len, few) => &few[..usize::from(*len)],
            Self::Many(many) => many,
        }
    }
}

/// A call of any type.
pub(crate) trait ProcessCall: Send + Sync {
    /// Something to tell the call by.
    fn address(&self) -> *const ();

    /// Where it was submitted, for errors.
    fn description(&self) -> String;

    /// Notes that it goes to a worker; false if it is over already. No user code runs.
    fn offer(&self, page: &Arc<SharedPage>, seq: u64) -> bool;

    /// The worker has answered: RUNNING, unless it is over, until it ends. No user code runs.
    ///
    /// Before that the call is PENDING. Whether the worker has begun it is asked of the page, so that
    /// there is nothing to undo when it comes back.
    fn answered(&self);

    /// It came back to the queue.
    fn returned(&self);

    /// Whether it has ended, by a cancel.
    fn is_over(&self) -> bool;

    fn message(&self) -> &Mutex<Option<Message>>;

    /// Set while a thread makes the message ready. Under the pool's lock.
    fn preparing(&self) -> &AtomicBool;

    /// Makes the message ready, if it is still there, and looks for a worker: for this call, or, if
    /// the message cannot be had, for those that wait behind it.
    fn prepare(&self) -> (Deferred, Option<Error>);

    /// Counts one more death over it; gives how many there were.
    fn count_death(&self) -> u32;

    /// Ends the call with what the worker answered; whether somebody is to be told.
    fn land(&self, reply: Reply) -> bool;

    /// Ends the call with an error; whether somebody is to be told.
    fn land_error(&self, error: Error) -> bool;

    /// Tells those who wait for the end of the call. Runs user code.
    ///
    /// # Safety
    ///
    /// `own` is an owner of this call.
    unsafe fn notify_all(&self, own: &ProcessCallRef);

    /// Cancels the call unless it runs.
    ///
    /// # Safety
    ///
    /// `own` is an owner of this call.
    unsafe fn cancel_own(&self, own: &ProcessCallRef) -> bool;
}

impl ProcessCallRef {
    /// Ends the call with what the worker answered; gives it back if somebody is to be told.
    pub(crate) fn finish(self, reply: Reply) -> Option<Self> {
        let is_awaited = self.land(reply);
        reply::if_awaited(self, is_awaited)
    }

    /// Ends the call with an error.
    pub(crate) fn fail(self, error: Error) {
        let is_awaited = self.land_error(error);
        if let Some(task) = reply::if_awaited(self, is_awaited) {
            task.notify();
        }
    }

    /// Makes the message ready, and sends it if there is a worker for it.
    pub(crate) fn make_ready(self) -> Deferred {
        let (mut deferred, refused) = self.prepare();
        deferred.failed.extend(refused.map(|error| (self, error)));
        deferred
    }

    /// Tells those who wait for the end of the call. Runs user code.
    pub(crate) fn notify(self) {
        // SAFETY: it is its owner.
        unsafe { self.notify_all(&self) };
        reply::let_go(self);
    }

    /// Cancels the call unless it runs.
    pub(crate) fn cancel(&self) -> bool {
        // SAFETY: it is its owner.
        unsafe { self.cancel_own(self) }
    }
}

impl<R: Send + 'static> ProcessCall for Call<R, ProcessRequest<R>> {
    fn address(&self) -> *const () {
        std::ptr::from_ref(self.body()).cast()
    }

    fn description(&self) -> String {
        let ProcessRequest { site, signature, .. } = self.body();
        format!("the call submitted at {site}, {signature}")
    }

    fn offer(&self, page: &Arc<SharedPage>, seq: u64) -> bool {
        let mut place = self.body().place.lock();
        if self.core().state().is_done() {
            return false;
        }
        page.offer(seq);
        *place = Whereabouts::Sent(Arc::clone(page), seq);
        true
    }

    fn answered(&self) {
        let _ = self.core().transition(State::start); // not if it was cancelled
    }

    fn returned(&self) {
        *self.body().place.lock() = Whereabouts::Queued;
    }

    fn is_over(&self) -> bool {
        self.core().state().is_done()
    }

    fn message(&self) -> &Mutex<Option<Message>> {
        &self.body().message
    }

    fn preparing(&self) -> &AtomicBool {
        &self.body().preparing
    }

    fn prepare(&self) -> (Deferred, Option<Error>) {
        let Some(pool) = self.body().pool.upgrade() else { return (Deferred::default(), None) };
        let ready = match &mut *self.body().message.lock() {
            Some(message) => message.make_ready(pool.arena()),
            None => Ok(()), // cancelled
        };
        if let Err(error) = ready {
            return (pool.withdraw(self.address()), Some(error));
        }
        // ORDERING: Relaxed; the pool's lock, taken next, orders it for those who look at it.
        self.body().preparing.store(false, Ordering::Relaxed);
        (pool.look_for_worker(), None)
    }

    fn count_death(&self) -> u32 {
        // ORDERING: Relaxed; one supervisor after the other, ordered by the pool's lock.
        self.body().deaths.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn land(&self, reply: Reply) -> bool {
        let files = Files::new(reply.files.into_iter().map(Some).collect());
        let mut source = Source::new(reply.bytes.as_slice(), &files);
        let outcome = reply::decode(self, reply.kind, &mut source);
        self.body().release_message();
        reply::end(self, outcome)
    }

    fn land_error(&self, error: Error) -> bool {
        self.body().release_message();
        reply::end(self, Err(error))
    }

    unsafe fn notify_all(&self, own: &ProcessCallRef) {
        // SAFETY: the caller's promise.
        call::notify(&unsafe { reply::as_call::<R, ProcessRequest<R>, _>(own) });
    }

    unsafe fn cancel_own(&self, own: &ProcessCallRef) -> bool {
        // SAFETY: the caller's promise.
        call::cancel_own(&unsafe { reply::as_call::<R, ProcessRequest<R>, _>(own) })
    }
}
