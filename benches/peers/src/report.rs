//! Figures as a table on the screen and as CSV, with a description of the machine.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, exit};

use crate::options::Options;

/// One peer at one work.
pub struct Row {
    pub group: String,
    pub name: &'static str,
    pub unit: &'static str,
    pub min: f64,
    pub median: f64,
    /// If there are enough figures for one.
    pub p99: Option<f64>,
    /// Processor time per item, in microseconds if the unit is, in nanoseconds otherwise.
    pub cpu: Option<f64>,
    /// Context switches per item.
    pub switches: Option<f64>,
    /// The multiple of ours.
    pub ratio: f64,
    /// Whether the ratio is of processor times, not of medians.
    pub by_cpu: bool,
}

impl Row {
    /// The value whose ratio is taken.
    fn value(&self) -> f64 {
        self.cpu.filter(|_| self.by_cpu).unwrap_or(self.median)
    }
}

/// Everything that one run of the program measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Prints the rows of one group, and keeps them.
    pub fn add(&mut self, rows: Vec<Row>) {
        let Some(first) = rows.first() else { return };
        println!("\n{}, {}", first.group, first.unit);
        let heads = ["min", "median", "p99", "cpu", "switches", "x ours"];
        println!(
            "{:<30}{}",
            "",
            heads.iter().fold(String::new(), |mut line, head| {
                let _ = write!(line, "{head:>13}");
                line
            })
        );
        for row in &rows {
            let optional = |value: Option<f64>| value.map_or("-".into(), figure);
            println!(
                "{:<30}{:>13}{:>13}{:>13}{:>13}{:>13}{:>13}",
                row.name,
                figure(row.min),
                figure(row.median),
                optional(row.p99),
                optional(row.cpu),
                row.switches.map_or("-".into(), |switches| format!("{switches:.3}")),
                format!("{:.2}", row.ratio)
            );
        }
        self.rows.extend(rows);
    }

    /// Writes the rows as CSV, if there is a file for them.
    pub fn write(&self, options: &Options) {
        if let Some(path) = options.get("--csv") {
            write(path, &self.csv());
        }
    }

    /// The rows as CSV. Lines that begin with `#` describe the machine.
    fn csv(&self) -> String {
        let mut text = String::new();
        for line in machine() {
            let _ = writeln!(text, "# {line}");
        }
        text += "group,name,value,ratio,unit,min,p99,cpu,switches\n";
        for row in &self.rows {
            let optional = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.3}"));
            let _ = writeln!(
                text,
                "\"{}\",\"{}\",{:.3},{:.3},{},{:.3},{},{},{}",
                row.group,
                row.name,
                row.value(),
                row.ratio,
                row.unit,
                row.min,
                optional(row.p99),
                optional(row.cpu),
                optional(row.switches),
            );
        }
        text
    }
}

pub fn write(path: &str, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| {
        eprintln!("{path}: {error}");
        exit(1)
    });
}

fn figure(value: f64) -> String {
    if value < 1000.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Processor, system and compilers, a line each.
pub fn machine() -> Vec<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut lines = vec![format!(
        "{count} processors ({}), Linux {}",
        model.map_or("unknown", |(_, name)| name.trim()),
        kernel.split('-').next().unwrap_or_default().trim()
    )];
    let programs = [("rustc", "--version"), ("python3", "--version"), ("java", "--version")];
    lines.extend(programs.iter().filter_map(|(program, argument)| {
        let output = Command::new(program).arg(argument).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned())
    }));
    lines
}

/// The value that the share `quantile` of `values` does not exceed.
pub fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or(f64::NAN)
}
