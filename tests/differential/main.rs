//! Random programs, run here and by the real Python, must leave the same trace.
//!
//! `sched.rs`, `futures.rs` and `nested.rs` are the languages in which programs are written, the files
//! of the same names in `.py` what runs them in Python; `search.rs` makes programs, compares, and
//! shrinks one that differs. That one is added to the regressions, which run first from then on.
//!
//! `DIFFERENTIAL_PROGRAMS` sets how many of each language, `DIFFERENTIAL_SEED` which ones.

mod futures;
mod mode;
mod nested;
mod python;
mod sched;
mod search;
