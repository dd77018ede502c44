//! The code at both ends of a call that knows its types: one instance for each `A` and `R`.

use super::codec::{EncodeError, Sink, Source};
use super::identity::{Code, Verdict};
use super::task::failure;
use super::wire::{Kind, Text};
use crate::error::{Error, Outcome, Panic, Result};
use crate::futures::executor::Portable;
use crate::guard::{catch, contain};

/// The tag of an item of a chunk that could not be encoded by the parent; else it is a [`Kind`].
const NOT_ENCODED: u8 = 0;

fn text(message: impl Into<String>) -> Text {
    Text { message: message.into(), location: None }
}

fn panic_text(panic: &Panic) -> Text {
    Text { message: panic.message().to_owned(), location: panic.location().map(str::to_owned) }
}

/// Calls `function` with one decoded argument; encodes what it returns.
fn call<A: Portable, R: Portable>(
    function: fn(A) -> R,
    source: &Source<'_>,
    sink: &mut Sink<'_>,
) -> Verdict {
    let argument = match source.decode::<A>() {
        Ok(argument) => argument,
        Err(error) => return Verdict::BadArgument(text(error)),
    };
    let result = match catch(|| function(argument)) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic_text(&panic);
            contain("dropping the payload of a panic", || drop(panic.take_payload()));
            return Verdict::Panicked(text);
        }
    };
    let encoded = sink.encode(&result);
    if std::mem::needs_drop::<R>() {
        contain("dropping a result that was sent", || drop(result));
    }
    match encoded {
        Ok(()) => Verdict::Done,
        Err(EncodeError::TooLarge(limit)) => Verdict::TooLarge(limit),
        Err(EncodeError::Failed(error)) => Verdict::BadResult(text(error)),
    }
}

/// In the worker: one call.
pub(crate) fn call_one<A: Portable, R: Portable>(
    code: Code,
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
) -> Verdict {
    // SAFETY: `Pool::submit` pairs this instance with an `fn(A) -> R`.
    let function = unsafe { code.function::<A, R>() };
    call(function, source, sink)
}

/// In the worker: a chunk of calls. An item that fails in any way does not affect the others.
pub(crate) fn call_chunk<A: Portable, R: Portable>(
    code: Code,
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
) -> Verdict {
    // SAFETY: `Pool::submit_chunk` pairs this instance with an `fn(A) -> R`.
    let function = unsafe { code.function::<A, R>() };
    let mut run = || -> Result<(), Verdict> {
        let bad = |error| Verdict::BadArgument(text(error));
        let count = source.take_u64().map_err(bad)?;
        for _ in 0..count {
            let mut item = source.framed().map_err(bad)?;
            let tag = item.take(1).map_err(bad)?[0];
            if tag == NOT_ENCODED {
                let message = item.take_rest();
                put_item(sink, NOT_ENCODED, |sink| sink.put(message))?;
            } else {
                call_item(function, &item, sink)?;
            }
        }
        Ok(())
    };
    run().err().unwrap_or(Verdict::Done)
}

fn call_item<A: Portable, R: Portable>(
    function: fn(A) -> R,
    item: &Source<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Verdict> {
    let start = sink.len();
    let mut verdict = Verdict::Done;
    put_item(sink, Kind::Done as u8, |sink| {
        verdict = call(function, item, sink);
        Ok(())
    })?;
    if let Some((kind, text)) = verdict.failure() {
        sink.truncate(start);
        put_item(sink, kind as u8, |sink| sink.put(&text.to_bytes()))?;
    }
    Ok(())
}

fn put_item(
    sink: &mut Sink<'_>,
    tag: u8,
    write: impl FnOnce(&mut Sink<'_>) -> Result<(), EncodeError>,
) -> Result<(), Verdict> {
    let written = sink.framed(|sink| {
        sink.put(&[tag])?;
        write(sink)
    });
    written.map_err(|error| match error {
        EncodeError::TooLarge(limit) => Verdict::TooLarge(limit),
        EncodeError::Failed(error) => Verdict::BadResult(text(error)),
    })
}

/// In the worker: the initializer.
pub(crate) fn call_initializer<A: Portable, O: Outcome>(
    code: Code,
    source: &mut Source<'_>,
    _sink: &mut Sink<'_>,
) -> Verdict {
    // SAFETY: `ProcessPoolBuilder::initializer` pairs this instance with an `fn(A) -> O`.
    let function = unsafe { code.function::<A, O>() };
    let argument = match source.decode::<A>() {
        Ok(argument) => argument,
        Err(error) => return Verdict::BadArgument(text(error)),
    };
    match catch(|| function(argument).into_result()) {
        Ok(Ok(())) => Verdict::Done,
        Ok(Err(Error::Raised(error))) => Verdict::Raised(text(error.to_string())),
        Ok(Err(error)) => Verdict::Raised(text(error.to_string())),
        Err(panic) => Verdict::Panicked(panic_text(&panic)),
    }
}

impl Verdict {
    /// The frame of a failure.
    pub(crate) fn failure(self) -> Option<(Kind, Text)> {
        match self {
            Self::Done => None,
            Self::Panicked(text) => Some((Kind::Panicked, text)),
            Self::BadArgument(text) => Some((Kind::BadArgument, text)),
            Self::BadResult(text) => Some((Kind::BadResult, text)),
            Self::TooLarge(limit) => Some((Kind::TooLarge, text(limit.to_string()))),
            Self::Raised(text) => Some((Kind::Raised, text)),
        }
    }
}

/// In the parent: the items of a chunk. One that cannot be encoded fails alone.
pub(crate) fn encode_chunk<A: Portable>(
    items: Vec<A>,
    sink: &mut Sink<'_>,
) -> Result<(), EncodeError> {
    sink.put(&(items.len() as u64).to_ne_bytes())?;
    for item in items {
        let start = sink.len();
        let encoded = sink.framed(|sink| {
            sink.put(&[Kind::Call as u8])?;
            sink.encode(&item)
        });
        if std::mem::needs_drop::<A>() {
            contain("dropping an argument that was sent", || drop(item));
        }
        if let Err(EncodeError::Failed(error)) = encoded {
            sink.truncate(start);
            sink.framed(|sink| {
                sink.put(&[NOT_ENCODED])?;
                sink.put(error.as_bytes())
            })?;
        } else {
            encoded?;
        }
    }
    Ok(())
}

/// In the parent: one result.
pub(crate) fn decode_one<R: Portable>(source: &mut Source<'_>) -> Result<R> {
    source.decode().map_err(|error| Error::Decode(format!("the result {error}").into()))
}

/// In the parent: the results of a chunk.
pub(crate) fn decode_chunk<R: Portable>(source: &mut Source<'_>) -> Result<Vec<Result<R>>> {
    let bad = |error: String| Error::Decode(format!("the results of a chunk: {error}").into());
    let mut results = Vec::new();
    while !source.is_empty() {
        let mut item = source.framed().map_err(bad)?;
        let tag = item.take(1).map_err(bad)?[0];
        results.push(match Kind::from_byte(tag) {
            Some(Kind::Done) => decode_one(&mut item),
            Some(kind) => Err(failure(kind, item.take_rest())),
            None => {
                let error = String::from_utf8_lossy(item.take_rest());
                Err(Error::Encode(format!("the argument {error}").into()))
            }
        });
    }
    Ok(results)
}
