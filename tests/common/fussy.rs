//! [`Fussy`]: a value that fails where a test wants it to, on its way to a worker or back.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Refuses one step of the journey.
#[derive(Debug)]
pub(crate) enum Fussy {
    Fine,
    Encode,
    Decode,
    Result,
    /// Made by the call; the pool cannot decode it.
    Bad,
    PanicEncode,
    PanicDecode,
    ExitDecode,
    AbortDecode,
    AbortEncode,
}

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Encode => Err(serde::ser::Error::custom("not me")),
            Self::PanicEncode => panic!("encoding, on purpose"),
            Self::AbortEncode => std::process::abort(),
            Self::Fine => serializer.serialize_u8(0),
            Self::Decode => serializer.serialize_u8(1),
            Self::Result => serializer.serialize_u8(2),
            Self::Bad => serializer.serialize_u8(9),
            Self::PanicDecode => serializer.serialize_u8(10),
            Self::ExitDecode => serializer.serialize_u8(11),
            Self::AbortDecode => serializer.serialize_u8(12),
        }
    }
}

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Fine),
            2 => Ok(Self::Result),
            10 => panic!("decoding, on purpose"),
            11 => std::process::exit(11),
            12 => std::process::abort(),
            _ => Err(serde::de::Error::custom("not that")),
        }
    }
}

pub(crate) fn fuss(fussy: Fussy) -> Fussy {
    if matches!(fussy, Fussy::Result) { Fussy::Encode } else { fussy }
}
