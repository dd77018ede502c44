//! Python's `sched`: an event scheduler.
//!
//! An event has a time and an action; [`run`](Scheduler::run) waits for each event and runs its
//! action.
//!
//! ```
//! use concurrent::sched::Scheduler;
//! use std::time::{Duration, Instant};
//!
//! let s = Scheduler::new();
//! let tea = s.enter(Duration::from_millis(2), 1, || println!("tea is ready"));
//! s.enterabs(Instant::now(), 1, || println!("kettle on"));
//! let mail = s.enter(Duration::from_secs(60), 1, || println!("mail"));
//! s.cancel(&mail)?;
//! s.run()?;
//! # assert!(s.cancel(&tea).is_err());
//! # Ok::<(), concurrent::Error>(())
//! ```
//!
//! # Order
//!
//! By time, then priority, then order of entry. **Of two priorities the lower number runs first, as
//! in Python**; [`PriorityOrder::HighestFirst`] turns that around. A priority never beats a time.
//!
//! An event that is late is not dropped: the scheduler falls behind and runs everything in order.
//! So an event may be entered with a time that is already past; it is simply due.
//!
//! # Time
//!
//! A [`TimePoint`] is anything that has an order and a distance. [`Scheduler::new`] runs on
//! [`Instant`](std::time::Instant); [`Scheduler::with_clock`] takes a time and a delay function, as
//! Python does; a [`VirtualClock`] makes a simulation or a test of the same program.
//!
//! The default delay is interruptible: an earlier event, the cancellation of the first one or
//! [`stop`](Scheduler::stop) wakes a sleeping run. Python sleeps on.
//!
//! # Threads
//!
//! A [`Scheduler`] is a handle: clone it into actions and threads. Any thread may enter and cancel
//! at any time. Several threads may run one scheduler; each event runs once. Actions run in the
//! thread that runs the scheduler, unless [`dispatch`](SchedulerBuilder::dispatch) sends them
//! elsewhere. No action, clock function or destructor of yours is ever called with a lock held;
//! only the comparison of a [`TimePoint`] of yours is.
//!
//! # Failures
//!
//! An `Err` or a panic of an action, or of a function of the clock, comes out of `run` as an
//! [`Error`](crate::Error). The action's event is gone, everything else is still queued, and `run`
//! may be called again. [`on_error`](SchedulerBuilder::on_error) lets a run go on after a failed
//! action.
//!
//! # Read next
//!
//! [`Scheduler`], [`Event`], [`Every`]. In the source: `queue/event_queue.rs` is the queue
//! (`queue/key_queue.rs` its order), without lock or clock; `shared.rs` puts the lock around it;
//! `run/run_loop.rs` is the loop, and `run/wakeup.rs` makes it wake up on time.

mod builder;
mod constructors;
mod event;
mod handle;
#[cfg(all(test, concurrent_loom))]
mod model;
mod queue;
mod run;
mod scheduler;
mod shared;
mod time;
mod user_function;

pub use builder::{PriorityOrder, SchedulerBuilder};
pub use event::Event;
pub use run::dispatch::Due;
pub use run::on_error::OnError;
pub use scheduler::Scheduler;
pub use time::clock::TimePoint;
pub use time::every::{Every, MissedTicks};
pub use time::float::Float;
pub use time::virtual_clock::VirtualClock;
