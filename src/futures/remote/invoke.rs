//! The code at both ends of a call that depends on its types: one instance for each `A` and `R`.

use super::codec::depth::let_go;
use super::codec::{EncodeError, Sink, Source, Storage};
use super::function_id::{CallOutcome, Code, resolve};
use super::protocol::{FrameKind, FunctionToken, Text};
use crate::error::{Error, Outcome, Panic, Result};
use crate::futures::executor::Portable;
use crate::user_code::catch;

pub(crate) fn text(message: impl Into<String>) -> Text {
    Text { message: message.into(), location: None }
}

pub(crate) fn panic_text(panic: &Panic) -> Text {
    Text { message: panic.message().to_owned(), location: panic.location().map(str::to_owned) }
}

/// Decodes the argument, calls `function`, encodes the result.
fn call<A: Portable, R: Portable, S: Storage>(
    function: fn(A) -> R,
    source: &Source<'_>,
    sink: &mut Sink<'_, S>,
) -> CallOutcome {
    let argument = match source.decode::<A>() {
        Ok(argument) => argument,
        Err(error) => return CallOutcome::BadArgument(text(error)),
    };
    let result = match catch(|| function(argument)) {
        Ok(result) => result,
        Err(panic) => {
            return CallOutcome::Panicked(panic_text(&panic));
        }
    };
    let encoded = sink.encode(&result);
    if std::mem::needs_drop::<R>() {
        let_go("dropping a result that was sent", || drop(result));
    }
    match encoded {
        Ok(()) => CallOutcome::Done,
        Err(EncodeError::TooLarge(limit)) => CallOutcome::TooLarge(limit),
        Err(EncodeError::Failed(error)) => CallOutcome::BadResult(text(error)),
    }
}

/// In the worker: runs the function that a token names.
pub(crate) fn run<S: Storage>(
    token: FunctionToken,
    source: &mut Source<'_>,
    sink: &mut Sink<'_, S>,
) -> CallOutcome {
    match resolve(token) {
        Ok((trampoline, code)) => trampoline(code, source, sink),
        Err(message) => CallOutcome::BadArgument(text(message)),
    }
}

/// In the worker: runs a call of one item.
pub(crate) fn call_one<A: Portable, R: Portable, S: Storage>(
    code: Code,
    source: &mut Source<'_>,
    sink: &mut Sink<'_, S>,
) -> CallOutcome {
    // SAFETY: `send` pairs this instance with an `fn(A) -> R`.
    let function = unsafe { code.function::<A, R>() };
    call(function, source, sink)
}

/// In the worker: runs the initializer.
pub(crate) fn call_initializer<A: Portable, O: Outcome, S: Storage>(
    code: Code,
    source: &mut Source<'_>,
    _sink: &mut Sink<'_, S>,
) -> CallOutcome {
    // SAFETY: the `initializer` of a builder pairs this instance with an `fn(A) -> O`.
    let function = unsafe { code.function::<A, O>() };
    let argument = match source.decode::<A>() {
        Ok(argument) => argument,
        Err(error) => return CallOutcome::BadArgument(text(error)),
    };
    // Displaying and dropping an error is user code as well.
    let run = || match function(argument).into_result() {
        Ok(()) => CallOutcome::Done,
        Err(Error::Raised(error)) => CallOutcome::Raised(text(error.to_string())),
        Err(error) => CallOutcome::Raised(text(error.to_string())),
    };
    catch(run).unwrap_or_else(|panic| CallOutcome::Panicked(panic_text(&panic)))
}

impl CallOutcome {
    /// The kind and the text of a failure.
    pub(crate) fn failure(self) -> Option<(FrameKind, Text)> {
        match self {
            Self::Done => None,
            Self::Panicked(text) => Some((FrameKind::Panicked, text)),
            Self::BadArgument(text) => Some((FrameKind::BadArgument, text)),
            Self::BadResult(text) => Some((FrameKind::BadResult, text)),
            Self::TooLarge(limit) => Some((FrameKind::TooLarge, text(limit.to_string()))),
            Self::Raised(text) => Some((FrameKind::Raised, text)),
        }
    }
}

/// In the parent: decodes the result of one item.
pub(crate) fn decode_one<R: Portable>(source: &mut Source<'_>, _items: usize) -> Result<R> {
    source.decode().map_err(|error| Error::Decode(format!("the result: {error}").into()))
}
