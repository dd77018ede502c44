//! Interleaved rounds, and what they come to.

use std::time::Instant;

/// One way to do the work.
pub struct Contender<'a> {
    pub name: &'static str,
    /// Does the work once.
    pub run: Box<dyn FnMut() + 'a>,
}

/// Runs all contenders `rounds` times in turn; prints ns per item and the ratio of ours, the
/// first, to each of them (the median over rounds of the ratio within a round).
pub fn compare(title: &str, items: usize, rounds: usize, mut contenders: Vec<Contender<'_>>) {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for (index, contender) in contenders.iter_mut().enumerate() {
            let start = Instant::now();
            (contender.run)();
            let nanos = start.elapsed().as_nanos() as f64 / items as f64;
            if round > 0 {
                times[index].push(nanos); // round 0 warms up
            }
        }
    }
    println!("\n{title} ({items} items, {rounds} rounds)");
    println!("{:<28} {:>9} {:>9} {:>14}", "", "min ns", "median ns", "ours / this");
    for (contender, own) in contenders.iter().zip(&times) {
        let ratios = times[0].iter().zip(own).map(|(ours, theirs)| ours / theirs).collect();
        let minimum = own.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "{:<28} {:>9.1} {:>9.1} {:>14.2}",
            contender.name,
            minimum,
            median(own.clone()),
            median(ratios)
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
