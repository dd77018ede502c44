//! Both ends of a call for a chunk of several items, one after the other.
//!
//! The failure of an item does not affect the others. All items share one [`catch`], which is entered
//! again only after a panic: for cheap items it would cost as much as the item.

use std::mem::needs_drop;

use super::codec::depth::{let_go, let_go_each};
use super::codec::{EncodeError, Sink, Source, Storage};
use super::function_id::{CallOutcome, Code};
use super::invoke::{panic_text, text};
use super::protocol::FrameKind;
use super::reply::failure;
use crate::error::{Error, Panic, Result};
use crate::futures::executor::Portable;
use crate::user_code::catch;

/// The tag of an item that the parent could not encode; all other tags are [`FrameKind`]s.
const NOT_ENCODED: u8 = 0;

/// In the parent: encodes the items. One that cannot be encoded fails alone.
pub(crate) fn encode_chunk<A: Portable, S: Storage>(
    items: Vec<A>,
    sink: &mut Sink<'_, S>,
) -> Result<(), EncodeError> {
    sink.reserve(8 + items.len().saturating_mul(8 + size_of::<A>()));
    sink.put(&(items.len() as u64).to_ne_bytes())?;
    let mut items = items.into_iter();
    let mut current = None;
    let mut at = sink.len();
    loop {
        let encoded = catch(|| {
            for item in items.by_ref() {
                at = sink.begin_item()?;
                sink.write(current.insert(item))?;
                sink.end_item(at, FrameKind::Call as u8);
                if needs_drop::<A>() {
                    let_go("dropping an argument that was sent", || drop(current.take()));
                }
            }
            Ok(())
        });
        let error = match encoded {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(EncodeError::Failed(error))) => error,
            Ok(Err(too_large)) => {
                let left = current.take().into_iter().chain(items);
                let_go_each("dropping an argument that was not sent", left);
                return Err(too_large);
            }
            Err(panic) => sink.panic_text::<A>(&panic),
        };
        let_go("dropping an argument that was not sent", || drop(current.take()));
        sink.truncate(at);
        put_item(sink, NOT_ENCODED, error.as_bytes())?;
    }
}

/// In the worker: calls the function with each item.
pub(crate) fn call_chunk<A: Portable, R: Portable, S: Storage>(
    code: Code,
    source: &mut Source<'_>,
    sink: &mut Sink<'_, S>,
) -> CallOutcome {
    // SAFETY: `send_chunk` pairs this instance with an `fn(A) -> R`.
    let function = unsafe { code.function::<A, R>() };
    let mut run = match source.load().and_then(|()| source.take_u64()) {
        Ok(left) => ChunkRun { function, left, at: sink.len(), stage: FrameKind::BadArgument },
        Err(error) => return CallOutcome::BadArgument(text(error)),
    };
    loop {
        let failed = match catch(|| run.go(source, sink)) {
            Ok(Ok(())) => return CallOutcome::Done,
            Ok(Err(outcome)) => return outcome,
            Err(panic) => run.panicked(&panic, sink),
        };
        if let Err(outcome) = failed {
            return outcome;
        }
    }
}

struct ChunkRun<A, R> {
    function: fn(A) -> R,
    left: u64,
    /// Where the result of the current item begins.
    at: usize,
    /// The meaning of a panic at this point.
    stage: FrameKind,
}

impl<A: Portable, R: Portable> ChunkRun<A, R> {
    /// Runs until the last item is done, or a panic goes through.
    fn go<S: Storage>(
        &mut self,
        source: &mut Source<'_>,
        sink: &mut Sink<'_, S>,
    ) -> Result<(), CallOutcome> {
        while self.left > 0 {
            self.left -= 1;
            let (tag, item) =
                source.item().map_err(|error| CallOutcome::BadArgument(text(error)))?;
            if tag == NOT_ENCODED {
                put_item(sink, NOT_ENCODED, item.rest()).map_err(encode_failure)?;
                continue;
            }
            self.stage = FrameKind::BadArgument;
            self.at = sink.begin_item().map_err(encode_failure)?;
            let argument = match item.read::<A>() {
                Ok(argument) => argument,
                Err(error) => {
                    self.put_failure(sink, &error)?;
                    continue;
                }
            };
            self.stage = FrameKind::Panicked;
            let result = (self.function)(argument);
            self.stage = FrameKind::BadResult;
            let encoded = if needs_drop::<R>() {
                let encoded = sink.encode(&result);
                let_go("dropping a result that was sent", || drop(result));
                encoded
            } else {
                sink.write(&result)
            };
            match encoded {
                Ok(()) => sink.end_item(self.at, FrameKind::Done as u8),
                Err(EncodeError::TooLarge(limit)) => return Err(CallOutcome::TooLarge(limit)),
                Err(EncodeError::Failed(error)) => self.put_failure(sink, &error)?,
            }
        }
        Ok(())
    }

    fn put_failure<S: Storage>(
        &self,
        sink: &mut Sink<'_, S>,
        error: &str,
    ) -> Result<(), CallOutcome> {
        sink.truncate(self.at);
        put_item(sink, self.stage as u8, &text(error).to_bytes()).map_err(encode_failure)
    }

    fn panicked<S: Storage>(
        &self,
        panic: &Panic,
        sink: &mut Sink<'_, S>,
    ) -> Result<(), CallOutcome> {
        let text = panic_text(panic);
        if self.stage == FrameKind::Panicked {
            sink.truncate(self.at);
            return put_item(sink, FrameKind::Panicked as u8, &text.to_bytes())
                .map_err(encode_failure);
        }
        self.put_failure(sink, &panic.to_string())
    }
}

pub(crate) fn put_item<S: Storage>(
    sink: &mut Sink<'_, S>,
    tag: u8,
    bytes: &[u8],
) -> Result<(), EncodeError> {
    let at = sink.begin_item()?;
    sink.put(bytes)?;
    sink.end_item(at, tag);
    Ok(())
}

pub(crate) fn encode_failure(error: EncodeError) -> CallOutcome {
    match error {
        EncodeError::TooLarge(limit) => CallOutcome::TooLarge(limit),
        EncodeError::Failed(error) => CallOutcome::BadResult(text(error)),
    }
}

/// In the parent: decodes the results of `items` items.
pub(crate) fn decode_chunk<R: Portable>(
    source: &mut Source<'_>,
    items: usize,
) -> Result<Vec<Result<R>>> {
    source.load().map_err(|error| bad_result(&error))?;
    let mut results = Vec::with_capacity(items);
    loop {
        let decoded = catch(|| {
            while !source.is_empty() && results.len() < items {
                let (tag, item) = source.item()?;
                if tag == FrameKind::Done as u8 {
                    results.push(item.read().map_err(|error| bad_result(&error)));
                } else {
                    results.push(Err(failed(tag, item.rest())));
                }
            }
            Ok(())
        });
        match decoded {
            Ok(Ok(())) if results.len() == items => return Ok(results),
            Ok(wrong) => {
                let_go_each("dropping a result of an incomplete chunk", results);
                let wrong: Result<(), String> = wrong;
                let fewer = || "has fewer items than were sent".to_owned();
                return Err(bad_result(&wrong.err().unwrap_or_else(fewer)));
            }
            Err(panic) => results.push(Err(bad_result(&panic.to_string()))),
        }
    }
}

pub(crate) fn bad_result(error: &str) -> Error {
    Error::Decode(format!("the result: {error}").into())
}

pub(crate) fn failed(tag: u8, bytes: &[u8]) -> Error {
    match FrameKind::from_byte(tag) {
        Some(kind) => failure(kind, bytes),
        None => {
            let error = String::from_utf8_lossy(bytes);
            Error::Encode(format!("the argument: {error}").into())
        }
    }
}
