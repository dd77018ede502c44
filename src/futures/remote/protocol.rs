//! The parts of messages between a parent and its workers that do not depend on the channel: kinds of
//! messages, functions, places in shared memory, texts. No descriptor, no lock.
//!
//! Both sides run the same program image, so nothing here is a promise to any other program. Nothing is
//! trusted either: lengths are checked before they are used, and what is not understood is
//! [`Malformed`].

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// To the worker: call this. The body is two code places and the argument.
    Call = 1,
    /// To the worker: its segment named by `seq` was read, and may be used again.
    Free = 2,
    /// To the worker: end. Closing the channel says the same, but a fork of the parent may keep it open.
    Stop = 3,
    /// To the worker: its segment named by `seq` did not arrive, and must be announced again.
    Lost = 4,
    /// To either: the sender's segment named by `seq` is never used again.
    Forget = 5,
    /// To the parent: the channel works; the body is the worker's `Hello`.
    Ready = 16,
    /// To the parent: the result.
    Done = 17,
    /// To the parent: the call panicked; the body is a [`Text`] of message and location.
    Panicked = 18,
    /// To the parent: the argument could not be decoded.
    BadArgument = 19,
    /// To the parent: the result could not be encoded.
    BadResult = 20,
    /// To the parent: the result is larger than the limit.
    TooLarge = 21,
    /// To the parent: the initializer returned this error.
    Raised = 22,
    /// To the parent: the call was taken back and did not run.
    Skipped = 23,
    /// To the parent: the descriptors of the call did not arrive, and it did not run. The body is the
    /// segment that the call announced (8 bytes, 0 for none) and a [`Text`].
    Undelivered = 24,
    /// To the parent: the result could not be sent; the body is a [`Text`].
    Unsent = 25,
}

impl FrameKind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Call,
            2 => Self::Free,
            3 => Self::Stop,
            4 => Self::Lost,
            5 => Self::Forget,
            16 => Self::Ready,
            17 => Self::Done,
            18 => Self::Panicked,
            19 => Self::BadArgument,
            20 => Self::BadResult,
            21 => Self::TooLarge,
            22 => Self::Raised,
            23 => Self::Skipped,
            24 => Self::Undelivered,
            25 => Self::Unsent,
            _ => return None,
        })
    }

    /// Whether it is the one answer to a call.
    pub(crate) fn is_answer(self) -> bool {
        !matches!(
            self,
            Self::Call | Self::Free | Self::Stop | Self::Lost | Self::Forget | Self::Ready
        )
    }
}

/// Received bytes that break the protocol; the text says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The `N` bytes at `at`; the caller has checked that they are there.
pub(crate) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
}

/// The place of code: a program image, by its fingerprint, and an offset into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodePlace {
    pub(crate) image: u64,
    pub(crate) offset: u32,
}

impl CodePlace {
    const BYTES: usize = 12;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.image.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let image = u64::from_ne_bytes(part(&bytes, 0));
        Self { image, offset: u32::from_ne_bytes(part(&bytes, 8)) }
    }
}

/// A function and the code that decodes its argument and calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FunctionToken {
    pub(crate) trampoline: CodePlace,
    pub(crate) function: CodePlace,
}

impl FunctionToken {
    pub(crate) const BYTES: usize = 2 * CodePlace::BYTES;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..CodePlace::BYTES].copy_from_slice(&self.trampoline.to_bytes());
        bytes[CodePlace::BYTES..].copy_from_slice(&self.function.to_bytes());
        bytes
    }

    /// Splits the body of a call into its token and the rest.
    pub(crate) fn split(body: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let short = Malformed("call too short");
        let (token, rest) = body.split_at_checked(Self::BYTES).ok_or(short)?;
        let trampoline = CodePlace::from_bytes(part(token, 0));
        let function = CodePlace::from_bytes(part(token, CodePlace::BYTES));
        Ok((Self { trampoline, function }, rest))
    }
}

/// A payload in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfLine {
    pub(crate) segment: u64,
    pub(crate) len: u64,
}

impl OutOfLine {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.segment.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.len.to_ne_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() != Self::BYTES {
            return Err(Malformed("not a reference to shared memory"));
        }
        Ok(Self {
            segment: u64::from_ne_bytes(part(bytes, 0)),
            len: u64::from_ne_bytes(part(bytes, 8)),
        })
    }
}

/// A message and its source location, as the body of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) message: String,
    pub(crate) location: Option<String>,
}

impl Text {
    /// The most bytes kept of a message.
    const LIMIT: usize = 16 * 1024;

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let message = cut(&self.message, Self::LIMIT);
        let location = cut(self.location.as_deref().unwrap_or(""), Self::LIMIT);
        let len = u32::try_from(message.len()).expect("just cut to less");
        [&len.to_ne_bytes(), message.as_bytes(), location.as_bytes()].concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let short = Malformed("text too short");
        let (len, rest) = bytes.split_at_checked(4).ok_or(short)?;
        let len = u32::from_ne_bytes(part(len, 0)) as usize;
        let (message, location) = rest.split_at_checked(len).ok_or(short)?;
        let location = String::from_utf8_lossy(location).into_owned();
        Ok(Self {
            message: String::from_utf8_lossy(message).into_owned(),
            location: (!location.is_empty()).then_some(location),
        })
    }
}

/// The longest beginning of `text` that has at most `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    proptest! {
        #[test]
        fn texts_come_back(message in ".{0,80}", location in proptest::option::of(".{1,20}")) {
            let text = Text { message, location };
            assert_eq!(Text::from_bytes(&text.to_bytes()), Ok(text));
        }

        #[test]
        fn tokens_and_references_come_back(a: u64, b: u32, c: u64, d: u32, e: u64, f: u64) {
            let token = FunctionToken {
                trampoline: CodePlace { image: a, offset: b },
                function: CodePlace { image: c, offset: d },
            };
            assert_eq!(FunctionToken::split(&token.to_bytes()), Ok((token, &[][..])));
            let place = OutOfLine { segment: e, len: f };
            assert_eq!(OutOfLine::from_bytes(&place.to_bytes()), Ok(place));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        let text = Text { message: "é".repeat(Text::LIMIT), location: None };
        assert!(Text::from_bytes(&text.to_bytes()).unwrap().message.len() <= Text::LIMIT);
    }
}
