//! Samples over time as an SVG: one chart below the other, each from zero.

use std::fmt::Write;

use crate::sample::{SERIES, Sample};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 60.0;
const HEIGHT: f64 = 110.0;
const STEP: f64 = HEIGHT + 56.0;
/// More points than this cannot be told apart: each drawn one is the largest of some.
const POINTS: usize = 400;

pub(crate) fn draw(samples: &[Sample]) -> String {
    let end = samples.last().map_or(1.0, |sample| sample.seconds.max(1.0));
    let ended = samples.last().map_or(0, |sample| sample.ended);
    let height = 60.0 + STEP * SERIES.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <style>text{{fill:#222}}.title{{font-size:18px;font-weight:bold}}\
         .group{{font-weight:bold}}.note{{fill:#666;font-size:11px}}\
         polyline{{fill:none;stroke:#b7410e;stroke-width:1.5}}line{{stroke:#9fb3c8}}\
         .back{{fill:#fff}}@media (prefers-color-scheme:dark){{.back{{fill:#0d1117}}\
         text{{fill:#e6edf3}}.note{{fill:#9198a1}}polyline{{stroke:#f0883e}}line{{stroke:#3d444d}}}}\
         </style>\n\
         <rect width=\"100%\" height=\"100%\" class=\"back\"/>\n\
         <text x=\"12\" y=\"28\" class=\"title\">mixed load with faults for {:.0} minutes: {} \
         calls and events</text>\n",
        end / 60.0,
        grouped(ended),
    );
    for (index, (name, value)) in SERIES.into_iter().enumerate() {
        let top = 70.0 + STEP * index as f64;
        let bottom = top + HEIGHT;
        let most = samples.iter().map(value).fold(1.0, f64::max);
        let x = |seconds: f64| LEFT + (WIDTH - LEFT - 20.0) * seconds / end;
        let _ = writeln!(svg, "<text x=\"12\" y=\"{}\" class=\"group\">{name}</text>", top - 12.0);
        for (at, label) in [(top, most), (bottom, 0.0)] {
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\"/>\
                 <text x=\"{}\" y=\"{}\" class=\"note\" text-anchor=\"end\">{label:.0}</text>",
                WIDTH - 20.0,
                LEFT - 6.0,
                at + 4.0,
            );
        }
        svg += "<polyline points=\"";
        for group in samples.chunks(samples.len().div_ceil(POINTS).max(1)) {
            let largest = group.iter().map(value).fold(0.0, f64::max);
            let _ =
                write!(svg, "{:.1},{:.1} ", x(group[0].seconds), bottom - HEIGHT * largest / most);
        }
        svg += "\"/>\n";
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{0}\" class=\"note\">0</text>\
             <text x=\"{1}\" y=\"{0}\" class=\"note\" text-anchor=\"end\">{2:.0} min</text>",
            bottom + 16.0,
            WIDTH - 20.0,
            end / 60.0,
        );
    }
    svg + "</svg>\n"
}

/// Thousands apart.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
