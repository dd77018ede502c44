//! From a function and its argument to a call in the queue of a remote pool.

use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

use super::chunk::{call_chunk, decode_chunk, encode_chunk};
use super::codec::depth::let_go;
use super::codec::{EncodeError, Sink, Storage};
use super::function_id::token;
use super::invoke::{call_one, decode_one};
use super::number_chunk::{self, call_number_chunk, decode_number_chunk};
use super::protocol::FunctionToken;
use super::reply::ReplyHandler;
use crate::error::{Error, Result};
use crate::futures::executor::Portable;
use crate::futures::map::piece::fail_each;
use crate::futures::map::{MapOptions, Piece};
use crate::futures::{Future, Promise};

/// A pool whose calls are sent as bytes.
pub(crate) trait RemotePool: Send + Sync + 'static {
    /// An encoded call.
    type Message;

    /// Where long arguments and results go.
    type Storage: Storage;

    /// An error if the pool does not accept calls.
    fn admits(&self) -> Result<()>;

    /// Encodes an argument with `encode`.
    fn encode(
        &self,
        token: FunctionToken,
        encode: impl FnOnce(&mut Sink<'_, Self::Storage>) -> Result<(), EncodeError>,
    ) -> Result<Self::Message>;

    /// Queues a call; `A` and `I` are what its function takes and returns, for error texts.
    fn enqueue<A, I, R: Send + 'static>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        message: Self::Message,
        reply_handler: ReplyHandler<R>,
    ) -> Result<Future<R>>;

    /// Takes no more calls; false if it was so already.
    fn close(self: &Arc<Self>) -> bool;

    /// Cancels the calls that have not started; returns their number.
    fn cancel_pending(self: &Arc<Self>) -> usize;

    /// Numbers of calls that wait and that run.
    fn unfinished(&self) -> (usize, usize);

    /// Whether this thread is the pool's own, so that it cannot wait for the end of the pool.
    fn is_own_thread(self: &Arc<Self>) -> bool;

    /// Waits for the end of a closed pool; false if the time ran out before.
    fn join(self: &Arc<Self>, deadline: Option<Instant>) -> bool;
}

/// Encodes and queues one call.
pub(crate) fn send<C: RemotePool, A: Portable, R: Portable>(
    pool: &Arc<C>,
    site: &'static Location<'static>,
    function: fn(A) -> R,
    argument: A,
) -> Result<Future<R>> {
    let token = token(call_one::<A, R, C::Storage>, function)?;
    let message = pool.encode(token, |sink| sink.encode(&argument));
    let_go("dropping an argument that was sent", || drop(argument));
    pool.enqueue::<A, R, _>(site, message?, one())
}

/// Encodes and queues one call for several items.
pub(crate) fn send_chunk<C: RemotePool, A: Portable, R: Portable>(
    pool: &Arc<C>,
    site: &'static Location<'static>,
    function: fn(A) -> R,
    items: Vec<A>,
) -> Result<Future<Vec<Result<R>>>> {
    let reply_handler = chunk::<A, R>(items.len());
    if number_chunk::applies::<A, R>() {
        let token = token(call_number_chunk::<A, R, C::Storage>, function)?;
        let message = pool.encode(token, |sink| sink.write(&items))?;
        return pool.enqueue::<A, R, _>(site, message, reply_handler);
    }
    let token = token(call_chunk::<A, R, C::Storage>, function)?;
    let message = pool.encode(token, |sink| encode_chunk(items, sink))?;
    pool.enqueue::<A, R, _>(site, message, reply_handler)
}

/// Each call of the returned function submits the next item, or the next chunk of items.
pub(crate) fn pieces<C: RemotePool, A: Portable, R: Portable, I: Iterator<Item = A>>(
    pool: &Arc<C>,
    site: &'static Location<'static>,
    options: &MapOptions,
    function: fn(A) -> R,
    mut items: I,
) -> impl FnMut() -> Option<Result<Piece<R>>> + use<C, A, R, I> {
    let pool = Arc::clone(pool);
    let size = options.chunk();
    move || {
        let item = items.next()?;
        if let Err(error) = pool.admits() {
            return Some(Err(error));
        }
        Some(if size == 1 {
            in_place(send(&pool, site, function, item), Err).map(Piece::One)
        } else {
            let chunk: Vec<A> =
                std::iter::once(item).chain(items.by_ref().take(size - 1)).collect();
            let count = chunk.len();
            let failed = |error| Ok(fail_each(&error, count));
            in_place(send_chunk(&pool, site, function, chunk), failed)
                .map(|call| Piece::Chunk(call, count))
        })
    }
}

/// In a map, an item that cannot be encoded gives a failed result, and the map goes on.
fn in_place<T>(
    sent: Result<Future<T>>,
    failed: impl FnOnce(Error) -> Result<T>,
) -> Result<Future<T>> {
    match sent {
        Err(error @ (Error::Encode(_) | Error::MessageTooLarge { .. })) => {
            let (promise, future) = Promise::pair();
            match failed(error) {
                Ok(value) => promise.set_result(value)?,
                Err(error) => promise.set_exception(error)?,
            }
            Ok(future)
        }
        sent => sent,
    }
}

/// The reply handler of a call of one item.
fn one<R: Portable>() -> ReplyHandler<R> {
    ReplyHandler { decode: decode_one::<R>, fail: |error, _| Err(error), items: 1 }
}

/// The reply handler of a chunk of items.
fn chunk<A: Portable, R: Portable>(items: usize) -> ReplyHandler<Vec<Result<R>>> {
    let numbers = number_chunk::applies::<A, R>();
    let decode = if numbers { decode_number_chunk::<R> } else { decode_chunk::<R> };
    ReplyHandler { decode, fail: |error, items| Ok(fail_each(&error, items)), items }
}
