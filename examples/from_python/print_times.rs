//! The example of `sched` in Python's documentation, with shorter delays and a coarser clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use concurrent::sched::Scheduler;

const TICK: Duration = Duration::from_millis(200); // the documentation has 5 seconds

fn main() -> concurrent::Result<()> {
    let start = SystemTime::now();
    let s = Scheduler::builder().timefunc(SystemTime::now).build();

    let tick = move || start.elapsed().map_or(0, |time| time.as_millis() / TICK.as_millis());
    // The action captures Python's arguments.
    let print_time = move |a: &'static str| move || println!("From print_time {} {a}", tick());

    println!("{}", tick());
    s.enter(2 * TICK, 1, print_time("default"));
    s.enter(TICK, 2, print_time("positional"));
    // despite having higher priority, 'keyword' runs after 'positional' as enter() is relative
    s.enter(TICK, 1, print_time("keyword"));
    let past = UNIX_EPOCH + Duration::from_secs(1_650_000_000);
    s.enterabs(past, 10, print_time("first enterabs"));
    s.enterabs(past, 5, print_time("second enterabs"));
    s.run()?;
    println!("{}", tick());
    Ok(())
}
