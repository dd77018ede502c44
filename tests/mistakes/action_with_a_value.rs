//! Nobody would get the value of an action.
use std::time::Duration;

use concurrent::sched::Scheduler;

fn main() -> concurrent::Result<()> {
    let s = Scheduler::new();
    s.enter(Duration::ZERO, 1, || 42);
    s.run()
}
