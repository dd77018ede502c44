//! Time as a scheduler sees it: types that can be points in time, clocks, and when something recurs.

pub(crate) mod clock;
pub(crate) mod every;
pub(crate) mod float;
mod shown_time;
pub(crate) mod virtual_clock;
