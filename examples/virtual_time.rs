//! Simulates a queue at a counter by a scheduler on a virtual clock: a year takes a fraction of a
//! second. Compares the mean waiting time with the formula for M/M/1 queues.
//!
//!     cargo run --release --example virtual_time
//!     cargo run --release --example virtual_time -- 0.5 1000000    # load, customers

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use concurrent::sched::{Float, Scheduler, VirtualClock};

/// Minutes that serving one customer takes on average.
const SERVICE: f64 = 1.0;

/// SplitMix64: small, and random enough for customers.
struct Random(u64);

impl Random {
    /// A number in (0, 1].
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON
    }

    /// The time to the next of random events that are `mean` apart on average.
    fn exponential(&mut self, mean: f64) -> Float {
        Float::new(-mean * self.uniform().min(1.0).ln()).expect("a logarithm of (0, 1]")
    }
}

struct Counter {
    random: Random,
    /// The arrival of each customer in the queue; the first is being served.
    queue: VecDeque<Float>,
    between_arrivals: f64,
    still_to_come: u64,
    served: u64,
    waited: f64,
    longest_queue: usize,
}

type Shared = Arc<Mutex<Counter>>;

fn arrive(s: &Scheduler<Float>, shared: &Shared) {
    let mut counter = shared.lock().expect("no action panics");
    counter.queue.push_back(s.timefunc());
    counter.longest_queue = counter.longest_queue.max(counter.queue.len());
    if counter.queue.len() == 1 {
        serve(s, shared, &mut counter);
    }
    counter.still_to_come -= 1;
    if counter.still_to_come > 0 {
        let mean = counter.between_arrivals;
        let delay = counter.random.exponential(mean);
        let (next, shared) = (s.clone(), shared.clone());
        s.enter(delay, 1, move || arrive(&next, &shared));
    }
}

/// Begins to serve the first customer in the queue.
fn serve(s: &Scheduler<Float>, shared: &Shared, counter: &mut Counter) {
    counter.waited += s.timefunc().get() - counter.queue[0].get();
    let delay = counter.random.exponential(SERVICE);
    let (next, shared) = (s.clone(), shared.clone());
    s.enter(delay, 1, move || leave(&next, &shared));
}

fn leave(s: &Scheduler<Float>, shared: &Shared) {
    let mut counter = shared.lock().expect("no action panics");
    counter.queue.pop_front();
    counter.served += 1;
    if !counter.queue.is_empty() {
        serve(s, shared, &mut counter);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let load: f64 = arguments.next().map_or(Ok(0.8), |text| text.parse())?;
    let customers: u64 = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    if !(load > 0.0 && load < 1.0) || customers == 0 {
        return Err("the load must be between 0 and 1, with one customer at least".into());
    }

    let clock = VirtualClock::starting_at(Float::default());
    let s = Scheduler::with_virtual_clock(&clock);
    let shared = Arc::new(Mutex::new(Counter {
        random: Random(20),
        queue: VecDeque::new(),
        between_arrivals: SERVICE / load,
        still_to_come: customers,
        served: 0,
        waited: 0.0,
        longest_queue: 0,
    }));
    let (first, handle) = (s.clone(), shared.clone());
    s.enter(Float::default(), 1, move || arrive(&first, &handle));

    let start = Instant::now();
    s.run()?;
    let elapsed = start.elapsed();

    let counter = shared.lock().expect("no action panics");
    let mean = counter.waited / counter.served as f64;
    let formula = load * SERVICE / (1.0 - load);
    println!("customers served        {:>12}", counter.served);
    println!("longest queue           {:>12}", counter.longest_queue);
    println!("simulated time          {:>12.1} days", clock.time().get() / 60.0 / 24.0);
    println!("real time               {:>12.3} s", elapsed.as_secs_f64());
    println!("mean wait, simulated    {mean:>12.3} min");
    println!("mean wait, M/M/1        {formula:>12.3} min   load / (1 - load) * service time");
    println!("difference              {:>12.1} %", (mean / formula - 1.0) * 100.0);
    Ok(())
}
