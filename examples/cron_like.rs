//! Recurring events, with the actions on a pool of threads and a stop from another thread.
//!
//! The heartbeat keeps its rhythm although the backup takes longer than its own period: actions run
//! on the pool, and the ticks that the backup misses are skipped.
//!
//! `cargo run --release --example cron_like`

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use concurrent::futures::ThreadPoolExecutor;
use concurrent::sched::{Every, MissedTicks, Scheduler};

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn main() -> concurrent::Result<()> {
    let begin = Instant::now();
    let say = move |what: &str| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("-");
        println!("{:4} ms  {name:6}  {what}", begin.elapsed().as_millis());
    };

    let pool = ThreadPoolExecutor::builder().max_workers(2).thread_name_prefix("job").build()?;
    let pool = Arc::new(pool);
    let scheduler = Scheduler::builder()
        .dispatch({
            let pool = Arc::clone(&pool);
            move |due| pool.spawn(move || due.run()).map(drop)
        })
        .build();

    scheduler.every(ms(200), 1, move || say("heartbeat"))?;

    let backup = Every::fixed_rate(ms(300)).missed(MissedTicks::Skip);
    scheduler.every(backup, 2, move || {
        say("backup begins");
        thread::sleep(ms(400)); // the tick 300 ms on is missed
        say("backup ends");
    })?;

    scheduler.enter(ms(500), 1, move || say("once, at half a second"));

    let stopper = thread::spawn({
        let scheduler = scheduler.clone();
        move || {
            thread::sleep(ms(1500));
            say("stop");
            scheduler.stop();
        }
    });
    scheduler.run_forever()?;
    pool.shutdown(); // waits for a backup that is still running
    say("stopped");
    for event in scheduler.queue() {
        println!("still queued, due at {} ms", event.time().duration_since(begin).as_millis());
    }
    stopper.join().expect("it only sleeps and stops");
    Ok(())
}
