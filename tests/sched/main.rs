//! The scheduler, point by point. Ids such as `S7` and `case 3` are those of the reference of
//! Python's semantics; each test names the points that it covers.
//!
//! Nothing here sleeps: tests run on clocks of their own, or meet at channels.

mod cancel;
mod clocks;
mod dispatch;
mod every;
mod failing_time;
mod failures;
mod logging;
mod on_error;
mod order;
mod python_cases;
mod real_clock;
mod run;
mod support;
mod threads;
mod time_points;
mod waiting;
