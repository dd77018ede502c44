//! The messages between root and workers, as bytes. No MPI, no lock.
//!
//! ```text
//!   tag       direction        content
//!   HELLO     worker to root   protocol, build, pid, host
//!   START     root to worker   limit of messages, whether answers may be collected, initializer
//!   READY     worker to root   how the initializer ended
//!   TASKS     root to worker   frames: length u64, id u64, two code places, argument
//!   RESULTS   worker to root   frames: length u64, id u64, microseconds u32, kind u8, 0, bytes
//!   STOP      root to worker   empty, or why the worker is refused
//!   BYE       worker to root   empty; the last message, in any version
//! ```
//!
//! Numbers of the fixed parts are little-endian. A rank of another build is refused at its HELLO, so all
//! other messages are no promise to any other program. Even so, lengths are checked before they are used,
//! and ids and code places are looked up.

use crate::futures::remote::protocol::{FrameKind, FunctionToken, Malformed, Text, cut};

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Hello = 1,
    Start = 2,
    Ready = 3,
    Tasks = 4,
    Results = 5,
    Stop = 6,
    Bye = 7,
}

impl Tag {
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::Start,
            3 => Self::Ready,
            4 => Self::Tasks,
            5 => Self::Results,
            6 => Self::Stop,
            7 => Self::Bye,
            _ => return None,
        })
    }
}

/// The version of the protocol.
const PROTOCOL: u32 = 1;

const MAGIC: [u8; 8] = *b"cncrnt-c";

/// Takes `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(Malformed("message too short"))?;
    *bytes = rest;
    Ok(*taken)
}

/// The first message of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RankHello {
    pub(crate) protocol: u32,
    /// The fingerprint of its executable.
    pub(crate) build: u64,
    pub(crate) pid: u32,
    pub(crate) host: String,
}

impl RankHello {
    const HOST: usize = 256;

    pub(crate) fn new(build: u64, host: String) -> Self {
        Self { protocol: PROTOCOL, build, pid: std::process::id(), host }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [
            &MAGIC[..],
            &self.protocol.to_le_bytes(),
            &self.build.to_le_bytes(),
            &self.pid.to_le_bytes(),
            cut(&self.host, Self::HOST).as_bytes(),
        ]
        .concat()
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes = &mut bytes;
        if take(bytes)? != MAGIC {
            return Err(Malformed("not a hello"));
        }
        Ok(Self {
            protocol: u32::from_le_bytes(take(bytes)?),
            build: u64::from_le_bytes(take(bytes)?),
            pid: u32::from_le_bytes(take(bytes)?),
            host: cut(&String::from_utf8_lossy(bytes), Self::HOST).to_owned(),
        })
    }

    /// Why the two processes cannot work together, if so.
    pub(crate) fn refusal(&self, other: &Self) -> Option<&'static str> {
        if self.protocol != other.protocol {
            Some("was built with another version of the library `concurrent`")
        } else if self.build != other.build {
            Some("runs another build of the program: all ranks must run the very same executable")
        } else {
            None
        }
    }
}

/// The first message to a worker: settings, and the call of the initializer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RankSettings<'a> {
    pub(crate) limit: u64,
    /// Whether a worker may collect several answers in a message. Not if the pool outlives the rank: then
    /// the first call without an answer counts as the one that killed it. Nor if the program fixes the number
    /// of calls that a rank has.
    pub(crate) packs: bool,
    pub(crate) initializer: Option<&'a [u8]>,
}

impl<'a> RankSettings<'a> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let call = self.initializer.unwrap_or_default();
        let flags = [u8::from(self.packs), u8::from(self.initializer.is_some())];
        [&self.limit.to_le_bytes(), &flags[..], call].concat()
    }

    pub(crate) fn from_bytes(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        let limit = u64::from_le_bytes(take(&mut bytes)?);
        let [packs, initializes] = take(&mut bytes)?;
        if limit > isize::MAX as u64 || packs > 1 || initializes > 1 {
            return Err(Malformed("impossible settings"));
        }
        let initializer = (initializes == 1).then_some(bytes);
        Ok(Self { limit, packs: packs == 1, initializer })
    }
}

/// The message that tells how the initializer of a worker ended.
pub(crate) fn ready(failure: Option<(FrameKind, Text)>) -> Vec<u8> {
    match failure {
        None => vec![FrameKind::Done as u8],
        Some((kind, text)) => [&[kind as u8][..], &text.to_bytes()].concat(),
    }
}

/// The failure of an initializer, if it failed.
pub(crate) fn read_ready(bytes: &[u8]) -> Result<Option<(FrameKind, &[u8])>, Malformed> {
    let (kind, text) = bytes.split_first().ok_or(Malformed("message too short"))?;
    match FrameKind::from_byte(*kind).ok_or(Malformed("unknown kind of answer"))? {
        FrameKind::Done => Ok(None),
        kind => Ok(Some((kind, text))),
    }
}

/// The bytes of a frame before its argument or result.
const HEADER: usize = 16;

/// Begins a call at the end of `out`; the argument follows, then [`end_call`].
pub(crate) fn begin_call(out: &mut Vec<u8>, id: u64, token: FunctionToken) {
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&token.to_bytes());
}

/// Ends the call that begins at `at` and goes to the end of `out`.
pub(crate) fn end_call(out: &mut [u8], at: usize) {
    let len = (out.len() - at - HEADER) as u64;
    out[at..at + 8].copy_from_slice(&len.to_le_bytes());
}

/// Begins a result at the end of `out`; the bytes follow, then [`end_result`].
pub(crate) fn begin_result(out: &mut Vec<u8>, id: u64) {
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
}

/// Ends the result that begins at `at` and goes to the end of `out`.
pub(crate) fn end_result(out: &mut [u8], at: usize, kind: FrameKind, micros: u32) {
    let len = (out.len() - at - HEADER) as u64;
    out[at..at + 8].copy_from_slice(&len.to_le_bytes());
    out[at + 16..at + 20].copy_from_slice(&micros.to_le_bytes());
    out[at + 20] = kind as u8;
}

/// The id and the body of the next frame of a message; `None` at its end.
fn frame<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u64, &'a [u8])>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let len = u64::from_le_bytes(take(bytes)?);
    let id = u64::from_le_bytes(take(bytes)?);
    let parts = usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len));
    let (body, rest) = parts.ok_or(Malformed("frame longer than its message"))?;
    *bytes = rest;
    Ok(Some((id, body)))
}

/// One call of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CallFrame<'a> {
    pub(crate) id: u64,
    pub(crate) token: FunctionToken,
    pub(crate) argument: &'a [u8],
}

/// The next call of a message.
pub(crate) fn next_call<'a>(bytes: &mut &'a [u8]) -> Result<Option<CallFrame<'a>>, Malformed> {
    let Some((id, body)) = frame(bytes)? else { return Ok(None) };
    let (token, argument) = FunctionToken::split(body)?;
    Ok(Some(CallFrame { id, token, argument }))
}

/// One answer of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) id: u64,
    pub(crate) micros: u32,
    pub(crate) kind: FrameKind,
    pub(crate) bytes: &'a [u8],
}

/// The next result of a message.
pub(crate) fn next_result<'a>(bytes: &mut &'a [u8]) -> Result<Option<Answer<'a>>, Malformed> {
    let Some((id, mut body)) = frame(bytes)? else { return Ok(None) };
    let micros = u32::from_le_bytes(take(&mut body)?);
    let [kind, 0, 0, 0] = take(&mut body)? else { return Err(Malformed("unknown flags")) };
    let kind = FrameKind::from_byte(kind).ok_or(Malformed("unknown kind of answer"))?;
    Ok(Some(Answer { id, micros, kind, bytes: body }))
}

#[cfg(test)]
mod tests;
