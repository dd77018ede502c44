//! Interleaved rounds, and their results beside the targets.

use std::cell::RefCell;
use std::time::Instant;

use crate::options::Options;
use crate::report::{Report as Table, Row, quantile};

/// One way to do the work.
pub struct Contender<'a> {
    name: &'static str,
    /// The least multiple of our time that it is to take.
    asked: Option<f64>,
    /// Does the work once; returns ns per item.
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
    table: RefCell<Table>,
    /// Lines of the summary.
    lines: RefCell<Vec<String>>,
}

impl Report {
    pub fn new(options: &Options) -> Self {
        Self {
            rounds: options.number("--rounds", 7),
            filter: options.get("--only").unwrap_or_default().to_owned(),
            table: RefCell::default(),
            lines: RefCell::default(),
        }
    }

    pub fn wants(&self, title: &str) -> bool {
        title.contains(&self.filter)
    }

    /// Runs all in turn; ns per item, and how many times longer than ours, the first, each takes
    /// (the median over rounds of the ratio within a round).
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
        let row = |(contender, own): (&Contender<'_>, &Vec<f64>)| {
            let ratios: Vec<_> =
                own.iter().zip(&times[0]).map(|(theirs, ours)| theirs / ours).collect();
            let ratio = quantile(&ratios, 0.5);
            if let Some(asked) = contender.asked {
                self.line(title, contender.name, ratio, ">=", asked);
            }
            single(title, contender.name, "ns", quantile(own, 0.), quantile(own, 0.5), ratio)
        };
        self.table.borrow_mut().add(contenders.iter().zip(&times).map(row).collect());
    }

    /// A figure of ours alone, which must not exceed `asked`.
    pub fn single(&self, title: &str, unit: &'static str, value: f64, asked: f64) {
        self.table.borrow_mut().add(vec![single(title, OURS, unit, value, value, 1.)]);
        self.line(title, "", value, "<=", asked);
    }

    fn line(&self, title: &str, beside: &str, value: f64, relation: &str, asked: f64) {
        let met = if relation == "<=" { value <= asked } else { value >= asked };
        let verdict = if met { "" } else { "MISSED" };
        let line =
            format!("{title:<46} {beside:<28} {value:>9.2} {relation} {asked:<6.2} {verdict}");
        self.lines.borrow_mut().push(line);
    }

    pub fn finish(&self, options: &Options) {
        println!("\nAll figures that something was asked of (this / ours, or ours alone)");
        self.lines.borrow().iter().for_each(|line| println!("{line}"));
        self.table.borrow().write(options);
    }
}

pub const OURS: &str = "concurrent";

fn single(
    title: &str,
    name: &'static str,
    unit: &'static str,
    min: f64,
    median: f64,
    ratio: f64,
) -> Row {
    let group = title.to_owned();
    let (p99, cpu, switches) = (None, None, None);
    Row { group, name, unit, min, median, p99, cpu, switches, ratio, by_cpu: false }
}

pub fn time(items: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / items as f64
}

pub fn keep<T>(value: T) {
    std::hint::black_box(value);
}
