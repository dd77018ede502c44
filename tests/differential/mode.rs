//! How programs say until when a wait lasts.

use concurrent::futures::ReturnWhen;
use proptest::prelude::{Just, Strategy, prop_oneof};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    All,
    First,
    Exception,
}

impl Mode {
    pub fn any() -> impl Strategy<Value = Self> {
        prop_oneof![Just(Self::All), Just(Self::First), Just(Self::Exception)]
    }
}

impl From<Mode> for ReturnWhen {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::All => Self::AllCompleted,
            Mode::First => Self::FirstCompleted,
            Mode::Exception => Self::FirstException,
        }
    }
}
