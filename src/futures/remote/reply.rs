//! How a call that ran elsewhere ends here.

use super::codec::Source;
use super::codec::depth;
use super::protocol::{FrameKind, Text};
use crate::error::{Error, Panic, Result};
use crate::futures::call::pair_arc::{Block, PairArc};
use crate::futures::call::state::State;
use crate::futures::call::{AnyCall, Call, CallKind};

/// What a call does with the end of its journey.
pub(crate) struct ReplyHandler<R> {
    /// Decodes the result, which is of so many items.
    pub(crate) decode: fn(&mut Source<'_>, usize) -> Result<R>,
    /// What an error is to the caller; a chunk of several items gives it to each.
    pub(crate) fail: fn(Error, usize) -> Result<R>,
    pub(crate) items: usize,
}

/// The body of a call whose result comes as bytes.
pub(crate) trait HasReplyHandler<R>: CallKind<R> {
    fn reply_handler(&self) -> &ReplyHandler<R>;
}

/// What came back, decoded.
pub(crate) fn decode<R, B: HasReplyHandler<R>>(
    call: &Call<R, B>,
    kind: FrameKind,
    source: &mut Source<'_>,
) -> Result<R> {
    if kind != FrameKind::Done {
        return Err(failure(kind, source.rest()));
    }
    let ReplyHandler { decode, items, .. } = *call.body().reply_handler();
    decode(source, items)
}

/// The error that a frame stands for.
pub(crate) fn failure(kind: FrameKind, body: &[u8]) -> Error {
    let text = Text::from_bytes(body)
        .unwrap_or_else(|malformed| Text { message: malformed.0.into(), location: None });
    match kind {
        FrameKind::Panicked => Error::Panicked(Panic::new(Box::new(text.message), text.location)),
        FrameKind::BadResult => Error::Encode(format!("the result: {}", text.message).into()),
        FrameKind::Undelivered => {
            Error::Undelivered(format!("the argument: {}", text.message).into())
        }
        FrameKind::Unsent => Error::Undelivered(format!("the result: {}", text.message).into()),
        FrameKind::Raised => Error::raised(text.message),
        FrameKind::TooLarge => {
            Error::MessageTooLarge { limit: text.message.parse().unwrap_or(u64::MAX) }
        }
        _ => Error::Decode(format!("the argument: {}", text.message).into()),
    }
}

/// Ends the call; whether somebody is to be told.
pub(crate) fn end<R: Send + 'static, B: HasReplyHandler<R> + 'static>(
    call: &Call<R, B>,
    outcome: Result<R>,
) -> bool {
    if call.core().transition(State::claim).is_err() {
        depth::let_go("dropping the result of a call that is over", || drop(outcome));
        return false;
    }
    let ReplyHandler { fail, items, .. } = *call.body().reply_handler();
    let outcome = outcome.or_else(|error| fail(error, items));
    // SAFETY: the transition above set the claim.
    unsafe { call.core().finish(outcome.map_err(Box::new)) }.is_waited()
}

/// For an owner of a call that has just ended: gives it back if somebody is to be told.
pub(crate) fn if_awaited<C: ?Sized>(own: PairArc<C>, is_awaited: bool) -> Option<PairArc<C>> {
    if is_awaited {
        return Some(own);
    }
    let_go(own);
    None
}

/// Drops an owner of a call that has ended.
pub(crate) fn let_go<C: ?Sized>(own: PairArc<C>) {
    depth::let_go("dropping a result that nobody took", || drop(own));
}

/// One more owner of the call, whose type is known again.
///
/// # Safety
///
/// `own` is an owner of a `Call<R, B>`.
pub(crate) unsafe fn as_call<R, B, C>(own: &PairArc<C>) -> AnyCall<R>
where
    B: CallKind<R> + 'static,
    C: ?Sized,
{
    let block = PairArc::into_raw(PairArc::clone(own)).cast::<Block<Call<R, B>>>();
    // SAFETY: it was made from an owner just now, and is of this type by the caller's promise.
    unsafe { PairArc::from_raw(block) }.erase()
}
