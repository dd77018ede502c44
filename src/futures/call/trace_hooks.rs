//! The calls' part in the feature `trace`; without it, nothing.

#[cfg(feature = "trace")]
pub(crate) use crate::trace::{Blocks, CallEnd, CallOrigin, Traced};

#[cfg(not(feature = "trace"))]
pub(crate) use off::{Blocks, CallEnd, CallOrigin, Traced};

/// The same, of no size and without an effect.
#[cfg(not(feature = "trace"))]
mod off {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Traced;

    pub(crate) enum CallOrigin {
        Thread(#[expect(dead_code, reason = "for `trace`")] u32),
        Process,
        Elsewhere,
    }

    pub(crate) enum CallEnd {
        Returned,
        Failed,
        Cancelled,
        GivenUp,
    }

    impl Traced {
        pub(crate) fn submitted(_name: &'static str, _kind: CallOrigin) -> Self {
            Self
        }
        pub(crate) fn started(&self) {}
        pub(crate) fn ended(&self, _end: CallEnd) {}
    }

    #[derive(Debug)]
    pub(crate) struct Blocks;

    pub(crate) struct BlockGuard;

    impl Blocks {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn on(&self, _call: &Traced) {}
        pub(crate) fn begin(&self) -> BlockGuard {
            BlockGuard
        }
    }
}
