//! Interleaved rounds, and what they come to beside what was asked.

use std::cell::RefCell;
use std::time::Instant;

/// One way to do the work.
pub struct Contender<'a> {
    name: &'static str,
    /// How many times longer than ours it must take at least.
    asked: Option<f64>,
    /// Does it once; gives ns per item.
    run: Box<dyn FnMut() -> f64 + 'a>,
}

pub fn contender<'a>(name: &'static str, run: impl FnMut() -> f64 + 'a) -> Contender<'a> {
    Contender { name, asked: None, run: Box::new(run) }
}

impl Contender<'_> {
    pub fn asked(mut self, times: f64) -> Self {
        self.asked = Some(times);
        self
    }
}

/// All figures of a run.
pub struct Report {
    rounds: usize,
    /// Only figures whose title contains this are measured.
    filter: String,
    /// Lines of the summary.
    lines: RefCell<Vec<String>>,
}

impl Report {
    pub fn new(rounds: usize, filter: String) -> Self {
        Self { rounds, filter, lines: RefCell::default() }
    }

    pub fn wants(&self, title: &str) -> bool {
        title.contains(&self.filter)
    }

    /// Runs all in turn; prints ns per item, and how many times longer than ours, the first, each
    /// takes (the median over rounds of the ratio within a round).
    pub fn compare(&self, title: &str, mut contenders: Vec<Contender<'_>>) {
        if !self.wants(title) {
            return;
        }
        let mut times = vec![Vec::new(); contenders.len()];
        for round in 0..=self.rounds {
            for (contender, own) in contenders.iter_mut().zip(&mut times) {
                let time = (contender.run)();
                if round > 0 {
                    own.push(time); // round 0 warms up
                }
            }
        }
        println!("\n{title} ({} rounds)", self.rounds);
        println!("{:<34} {:>13} {:>13} {:>12}", "", "min ns", "median ns", "this / ours");
        for (contender, own) in contenders.iter().zip(&times) {
            let ratios = own.iter().zip(&times[0]).map(|(theirs, ours)| theirs / ours).collect();
            let minimum = own.iter().copied().fold(f64::INFINITY, f64::min);
            let (name, middle, ratio) = (contender.name, median(own.clone()), median(ratios));
            println!("{name:<34} {minimum:>13.0} {middle:>13.0} {ratio:>12.2}");
            if let Some(asked) = contender.asked {
                self.line(title, name, ratio, ">=", asked);
            }
        }
    }

    /// A figure of ours alone, which must not exceed `asked`.
    pub fn single(&self, title: &str, value: f64, asked: f64) {
        println!("\n{title}: {value:.2}");
        self.line(title, "", value, "<=", asked);
    }

    fn line(&self, title: &str, beside: &str, value: f64, relation: &str, asked: f64) {
        let met = if relation == "<=" { value <= asked } else { value >= asked };
        let verdict = if met { "" } else { "MISSED" };
        let line = format!("{title:<46} {beside:<28} {value:>9.2} {relation} {asked:<6} {verdict}");
        self.lines.borrow_mut().push(line);
    }

    pub fn summary(&self) {
        println!("\nAll figures that something was asked of (this / ours, or ours alone)");
        self.lines.borrow().iter().for_each(|line| println!("{line}"));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn time(items: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / items as f64
}

pub fn keep<T>(value: T) {
    std::hint::black_box(value);
}
