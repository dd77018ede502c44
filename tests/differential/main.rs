//! Random programs, run here and by the real Python, must leave the same trace.
//!
//! `sched.rs` and `futures.rs` are the two languages in which programs are written, `sched.py` and
//! `futures.py` what runs them in Python; `search.rs` makes programs, compares, and shrinks one that
//! differs. That one is added to the regressions, which run first from then on.
//!
//! `DIFFERENTIAL_PROGRAMS` sets how many of each language (10,000), `DIFFERENTIAL_SEED` which ones.

mod futures;
mod python;
mod sched;
mod search;
