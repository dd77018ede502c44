//! The handshake of parent and worker.
//!
//! The first argument of a process marks it as a worker: a program cannot lose it on the way to `init`, as it
//! can its environment or its standard input. Everything else is in the first message, which comes through
//! the socket that is the worker's standard input.

use std::any::TypeId;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Cause, Error, Result};
use crate::futures::remote::function_id::fingerprint;
use crate::futures::remote::protocol::cut;

/// The first argument of a worker, which marks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Identifies the version of this library that started it. A program may contain several.
    pub(crate) instance: u64,
    /// The nesting depth of pools around the worker.
    pub(crate) depth: u32,
}

impl Mark {
    /// The beginning of the argument, in every version of this library.
    const PREFIX: &str = "--concurrent-worker=";

    /// The mark of this version's workers.
    pub(crate) fn own(depth: u32) -> Self {
        // This type has a different id in each version of the library.
        let mut hasher = DefaultHasher::new();
        (TypeId::of::<Self>(), env!("CARGO_PKG_VERSION")).hash(&mut hasher);
        Self { instance: hasher.finish(), depth }
    }

    pub(crate) fn is_own(self) -> bool {
        self.instance == Self::own(0).instance
    }

    pub(crate) fn to_argument(self) -> String {
        let Self { instance, depth } = self;
        format!("{}{instance:016x}.{depth}", Self::PREFIX)
    }

    /// Reads the mark of any version. One that is not understood belongs to another version.
    pub(crate) fn from_argument(argument: &OsStr) -> Option<Self> {
        let mark = argument.to_str()?.strip_prefix(Self::PREFIX)?;
        let (instance, depth) = mark.split_once('.').unwrap_or((mark, ""));
        let depth: String = depth.chars().take_while(char::is_ascii_digit).collect();
        Some(Self {
            instance: u64::from_str_radix(instance, 16).unwrap_or(0),
            depth: depth.parse().unwrap_or(1),
        })
    }
}

/// The first message to a worker; the descriptors of its bells, its page and its inquiries come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// A secret number that the worker returns.
    pub(crate) nonce: u128,
    /// Identifies the parent's program image.
    pub(crate) fingerprint: u64,
    /// The nesting depth of pools around the worker.
    pub(crate) depth: u32,
    /// The most bytes of a message.
    pub(crate) limit: u64,
}

/// Resource limits that a worker sets for itself: number of the resource, value.
pub(crate) type Limits = Vec<(u8, u64)>;

const MAGIC: u64 = 0x636f_6e63_7572_7032;

/// The most bytes of a welcome.
pub(crate) const WELCOME_MOST: usize = 512;

impl Welcome {
    /// With a new nonce, for workers of this program.
    pub(crate) fn new(depth: u32, limit: u64) -> Result<Self> {
        Ok(Self { nonce: nonce()?, fingerprint: fingerprint()?, depth, limit })
    }

    /// With the pid of the parent and the worker's resource limits, at most one of each kind.
    pub(crate) fn to_bytes(self, parent: u32, limits: &Limits) -> io::Result<Vec<u8>> {
        let Self { nonce, fingerprint, depth, limit } = self;
        write(&(MAGIC, nonce, fingerprint, depth, limit, parent, limits))
    }

    /// The welcome, the pid of the parent, and the limits.
    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<(Self, u32, Limits)> {
        let fields: (u64, _, _, _, _, _, _) = read(bytes)?;
        let (magic, nonce, fingerprint, depth, limit, parent, limits) = fields;
        if magic != MAGIC {
            return Err(io::Error::other("its first message does not come from a pool"));
        }
        Ok((Self { nonce, fingerprint, depth, limit }, parent, limits))
    }
}

/// The number of the initializer's call.
pub(crate) const INITIALIZER: u64 = 0;

/// The first answer of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) nonce: u128,
    pub(crate) fingerprint: u64,
}

impl Hello {
    pub(crate) fn to_bytes(self) -> io::Result<Vec<u8>> {
        write(&(self.nonce, self.fingerprint))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let (nonce, fingerprint) = read(bytes)?;
        Ok(Self { nonce, fingerprint })
    }
}

/// The only message of a worker that cannot set itself up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartFailure {
    /// The system has refused it something, perhaps only for a moment.
    pub(crate) refused: bool,
    pub(crate) why: String,
}

impl StartFailure {
    /// The most bytes of the message.
    pub(crate) const MOST: usize = 512;

    pub(crate) fn of(error: &io::Error) -> Self {
        Self { refused: error.raw_os_error().is_some(), why: error.to_string() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.refused)];
        bytes.extend_from_slice(cut(&self.why, Self::MOST - 1).as_bytes());
        bytes
    }

    /// `None` if the bytes are no such message.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (refused, why) = bytes.split_first()?;
        let why = std::str::from_utf8(why).ok()?.to_owned();
        Some(Self { refused: *refused == 1, why })
    }
}

/// A number that nobody guesses.
fn nonce() -> Result<u128> {
    let mut bytes = [0; size_of::<u128>()];
    let fill = || getrandom(&mut bytes, GetRandomFlags::empty()); // so few bytes come at once
    rustix::io::retry_on_intr(fill)
        .map_err(|error| Error::ProcessStart(Cause::new(error.into())))?;
    Ok(u128::from_ne_bytes(bytes))
}

fn write(fields: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(fields).map_err(io::Error::other)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_come_back() {
        let welcome = Welcome { nonce: 1 << 99, fingerprint: 3, depth: 1, limit: 9 };
        let limits = (0..6).map(|kind| (kind, u64::MAX)).collect();
        let bytes = welcome.to_bytes(u32::MAX, &limits).unwrap();
        assert!(bytes.len() <= WELCOME_MOST);
        assert_eq!(Welcome::from_bytes(&bytes).unwrap(), (welcome, u32::MAX, limits));
        assert!(Welcome::from_bytes(&[0; 40]).is_err());
        let hello = Hello { nonce: 5, fingerprint: 6 };
        assert_eq!(Hello::from_bytes(&hello.to_bytes().unwrap()).unwrap(), hello);
        assert!(Hello::from_bytes(b"").is_err());
    }

    #[test]
    fn an_excuse_comes_back_and_is_cut() {
        let refused = StartFailure::of(&io::Error::from_raw_os_error(libc::ENFILE));
        assert!(refused.refused && refused.why.contains("open files"));
        assert_eq!(StartFailure::from_bytes(&refused.to_bytes()), Some(refused));
        let long = StartFailure::of(&io::Error::other("ü".repeat(StartFailure::MOST)));
        let read = StartFailure::from_bytes(&long.to_bytes()).unwrap();
        assert!(!read.refused && long.why.starts_with(&read.why) && read.why.len() > 500);
        assert_eq!(StartFailure::from_bytes(b""), None);
        assert_eq!(StartFailure::from_bytes(&[0, 0xff]), None);
    }

    #[test]
    fn a_mark_comes_back_and_another_versions_is_known_to_be_one() {
        let read = |argument: &str| Mark::from_argument(OsStr::new(argument));
        let own = Mark::own(7);
        assert_eq!(read(&own.to_argument()), Some(own));
        assert!(own.is_own());
        for other in ["0123456789abcdef.3", "0123456789abcdef.3.later", "new:format", ""] {
            let mark = read(&format!("--concurrent-worker={other}")).unwrap();
            assert!(!mark.is_own() && mark.depth > 0, "{other}");
        }
        assert_eq!(read("--concurrent-workers"), None);
    }
}
