//! A float is no time: it may be NaN.
use concurrent::sched::Scheduler;

fn main() {
    let s = Scheduler::with_clock(|| 0.0, |_delay: f64| ());
    s.enter(1.5, 1, || ());
}
