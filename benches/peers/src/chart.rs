//! Bar charts of what was measured: `peers chart FILE.csv FILE.svg [TITLE]`.
//!
//! The CSV has a heading with the columns `group`, `name`, `value` and `ratio`, and `unit` if it
//! likes; others are left alone. Each group becomes a chart of bars as long as the values, or as
//! their logarithms if they differ too much. A ratio of 1 is ours. Lines that begin with `#` go below
//! it all.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::process::exit;

const WIDTH: f64 = 860.0;
const NAMES: f64 = 250.0;
const FIGURES: f64 = 190.0;
const BAR: f64 = 20.0;
/// Bars that differ by more are drawn by their logarithms.
const LINEAR: f64 = 40.0;

struct Bar {
    name: String,
    value: f64,
    ratio: f64,
    unit: String,
}

struct Chart {
    groups: Vec<(String, Vec<Bar>)>,
    notes: Vec<String>,
}

pub fn run(arguments: &[String]) {
    let (csv, svg, title) = match arguments {
        [csv, svg] => (csv, svg, ""),
        [csv, svg, title] => (csv, svg, title.as_str()),
        _ => fail("peers chart FILE.csv FILE.svg [TITLE]"),
    };
    let text = fs::read_to_string(csv).unwrap_or_else(|error| fail(&format!("{csv}: {error}")));
    let chart = Chart::parse(&text).unwrap_or_else(|error| fail(&format!("{csv}: {error}")));
    fs::write(svg, chart.draw(title)).unwrap_or_else(|error| fail(&format!("{svg}: {error}")));
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(2)
}

/// The fields of a line; one in quotes may have commas.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("there is one").push(character),
        }
    }
    fields
}

impl Chart {
    fn parse(text: &str) -> Result<Self, String> {
        let notes = text.lines().filter_map(|line| line.strip_prefix('#'));
        let notes = notes.map(|note| note.trim().to_owned()).collect();
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let heads = fields(lines.next().ok_or("empty")?);
        let column: HashMap<_, _> =
            heads.iter().enumerate().map(|(index, head)| (head.as_str(), index)).collect();
        let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
        for line in lines {
            let fields = fields(line);
            let field = |name: &str| column.get(name).and_then(|index| fields.get(*index));
            let text = |name: &str| field(name).cloned().ok_or(format!("no {name}: {line}"));
            let number = |name: &str| text(name)?.parse().map_err(|_| format!("{name}: {line}"));
            let bar = Bar {
                name: text("name")?,
                value: number("value")?,
                ratio: number("ratio")?,
                unit: text("unit").unwrap_or_default(),
            };
            let group = text("group")?;
            match groups.iter_mut().find(|(name, _)| *name == group) {
                Some((_, bars)) => bars.push(bar),
                None => groups.push((group, vec![bar])),
            }
        }
        Ok(Self { groups, notes })
    }

    fn draw(&self, title: &str) -> String {
        let mut body = String::new();
        let mut y = 10.0;
        let line = |y: f64, class: &str, text: &str| {
            format!("<text x=\"12\" y=\"{y:.0}\" class=\"{class}\">{}</text>\n", escaped(text))
        };
        if !title.is_empty() {
            y += 24.0;
            body += &line(y, "title", title);
        }
        for (group, bars) in &self.groups {
            let largest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
            let least = bars.iter().map(|bar| bar.value).fold(f64::INFINITY, f64::min);
            let logarithmic = largest > LINEAR * least;
            let note = if logarithmic { " (logarithmic)" } else { "" };
            y += 34.0;
            body += &line(y, "group", &format!("{group}{note}"));
            y += 8.0;
            for bar in bars {
                // A logarithmic bar of the least value still has some length.
                let share = if logarithmic {
                    (2.0 * bar.value / least).ln() / (2.0 * largest / least).ln()
                } else {
                    bar.value / largest
                };
                body += &drawn(bar, y, share);
                y += BAR + 4.0;
            }
        }
        y += 14.0;
        for note in &self.notes {
            y += 17.0;
            body += &line(y, "note", note);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n{STYLE}\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
            height = y + 16.0,
        )
    }
}

const STYLE: &str = "<style>\
    text{fill:#222}.title{font-size:18px;font-weight:bold}.group{font-weight:bold}\
    .note{fill:#666;font-size:11px}.name{text-anchor:end}\
    rect.ours{fill:#b7410e}rect.peer{fill:#9fb3c8}</style>\n";

fn drawn(bar: &Bar, y: f64, share: f64) -> String {
    let ours = bar.name.starts_with("concurrent");
    let length = (share * (WIDTH - NAMES - FIGURES)).max(1.0);
    let base = y + BAR * 0.72;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "<text x=\"{:.0}\" y=\"{base:.0}\" class=\"name\">{}</text>",
        NAMES - 8.0,
        escaped(&bar.name)
    );
    let _ = writeln!(
        text,
        "<rect x=\"{NAMES}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR}\" class=\"{}\"/>",
        if ours { "ours" } else { "peer" }
    );
    let _ = writeln!(
        text,
        "<text x=\"{:.0}\" y=\"{base:.0}\">{} {} &#183; {} x</text>",
        NAMES + length + 6.0,
        figure(bar.value),
        escaped(&bar.unit),
        figure(bar.ratio)
    );
    text
}

/// With three digits or more, and its thousands apart.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(a, b)| (a, b));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { grouped } else { format!("{grouped}.{rest}") }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
