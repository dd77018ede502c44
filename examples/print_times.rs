//! The example of the documentation of Python's `sched`, with shorter delays.
//!
//!     cargo run --example print_times

use std::time::{Duration, Instant};

use concurrent::sched::Scheduler;

fn main() -> concurrent::Result<()> {
    let start = Instant::now();
    let print_time = move |what: &'static str| {
        move || println!("{:>4} ms  from print_time {what}", start.elapsed().as_millis())
    };

    let s = Scheduler::new();
    let ms = Duration::from_millis;
    println!("{:>4} ms", start.elapsed().as_millis());
    s.enter(ms(200), 1, print_time("default"));
    s.enter(ms(100), 2, print_time("positional"));
    // Despite having a higher priority, "keyword" runs after "positional": enter is relative to
    // the time at which it is called, and that was a moment later.
    s.enter(ms(100), 1, print_time("keyword"));
    s.enterabs(start + ms(300), 10, print_time("first enterabs"));
    s.enterabs(start + ms(300), 5, print_time("second enterabs"));
    let never = s.enter(ms(250), 1, print_time("an event that is cancelled"));
    s.cancel(&never)?;
    s.run()?;
    println!("{:>4} ms", start.elapsed().as_millis());
    Ok(())
}
