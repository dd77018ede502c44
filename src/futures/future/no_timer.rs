//! The timer of the models: they know no time, and no deadline passes.

use std::time::Instant;

use crate::error::Result;
use crate::futures::call::continuation::Continuations;

pub(crate) struct NoEvent;

#[expect(clippy::unnecessary_wraps, reason = "as of the timer, which may have no thread")]
pub(crate) fn enter(
    _deadline: Instant,
    _expire: impl FnOnce(&mut Continuations) + Send + 'static,
) -> Result<NoEvent> {
    Ok(NoEvent)
}

pub(crate) fn cancel(_event: &NoEvent) {}
