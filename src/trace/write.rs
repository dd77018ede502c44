//! The recording as JSON, in Chrome's trace format: one object for each event, times in
//! microseconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::record::{CallEnd, CallNumber, CallOrigin, EventKind, Nanos, ThreadLog};

/// The life of a call, put together from the notes of several threads.
struct CallLife<'a> {
    name: &'a str,
    kind: CallOrigin,
    submitted: (Nanos, u64),
    started: Option<(Nanos, u64)>,
    ended: Option<(Nanos, u64, CallEnd)>,
}

/// One event on the track of a thread, to be sorted by time.
struct JsonEvent {
    at: Nanos,
    log: u64,
    text: String,
}

pub(super) fn write(logs: &[ThreadLog], mut to: impl Write) -> io::Result<()> {
    let lives = lives(logs);
    let mut events = Vec::new();
    calls(&lives, &mut events);
    waits(logs, &lives, &mut events);
    queues(&lives, &mut events);
    // A stable sort: events of one thread at the same moment stay in order.
    events.sort_by_key(|event| event.at);

    let process = std::process::id();
    write!(to, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut comma = "";
    for ThreadLog { number, name, .. } in logs {
        let name = quoted(name);
        write!(
            to,
            "{comma}\n{{\"ph\":\"M\",\"pid\":{process},\"tid\":{number},\"name\":\"thread_name\",\"args\":{{\"name\":{name}}}}}"
        )?;
        comma = ",";
    }
    for JsonEvent { at, log, text } in events {
        let at = micros(at);
        write!(to, "{comma}\n{{\"pid\":{process},\"tid\":{log},\"ts\":{at},{text}}}")?;
        comma = ",";
    }
    writeln!(to, "\n]}}")?;
    to.flush()
}

fn lives(logs: &[ThreadLog]) -> BTreeMap<CallNumber, CallLife<'_>> {
    let mut lives = BTreeMap::new();
    let notes = || logs.iter().flat_map(|log| log.notes.iter().map(|note| (log.number, note)));
    for (log, note) in notes() {
        if let EventKind::Submitted { call, name, kind } = note.what {
            let submitted = (note.at, log);
            lives.insert(call, CallLife { name, kind, submitted, started: None, ended: None });
        }
    }
    for (log, note) in notes() {
        match note.what {
            EventKind::Started { call } => {
                if let Some(life) = lives.get_mut(&call) {
                    life.started = Some((note.at, log));
                }
            }
            EventKind::Ended { call, end } => {
                if let Some(life) = lives.get_mut(&call) {
                    life.ended = Some((note.at, log, end));
                }
            }
            EventKind::Submitted { .. } | EventKind::Blocks { .. } | EventKind::Wakes => {}
        }
    }
    lives
}

fn calls(lives: &BTreeMap<CallNumber, CallLife<'_>>, events: &mut Vec<JsonEvent>) {
    for (call, life) in lives {
        let (at, log) = life.submitted;
        let name = quoted(life.name);
        let title = quoted(&format!("submit {}", life.name));
        let text = format!(
            "\"ph\":\"i\",\"s\":\"t\",\"cat\":\"submit\",\"name\":{title},\"args\":{{\"call\":{call}}}"
        );
        events.push(JsonEvent { at, log, text });
        match (life.kind, life.started, life.ended) {
            (CallOrigin::Thread(_), Some((at, log)), ended) => {
                let args = args(*call, life);
                let text = format!("\"ph\":\"B\",\"cat\":\"call\",\"name\":{name},\"args\":{args}");
                events.push(JsonEvent { at, log, text });
                if let Some((at, log, _)) = ended {
                    events.push(JsonEvent { at, log, text: "\"ph\":\"E\"".into() });
                }
            }
            (kind, started, ended) => {
                let category = if kind == CallOrigin::Process { "process" } else { "other" };
                // On a track of its own, from its start, or from the submission if it never started.
                let (at, log) = started.unwrap_or(life.submitted);
                let args = args(*call, life);
                let id = format!("\"cat\":\"{category}\",\"id\":{call},\"name\":{name}");
                let text = format!("\"ph\":\"b\",{id},\"args\":{args}");
                events.push(JsonEvent { at, log, text });
                if let Some((at, log, _)) = ended {
                    events.push(JsonEvent { at, log, text: format!("\"ph\":\"e\",{id}") });
                }
            }
        }
    }
}

fn args(call: CallNumber, life: &CallLife<'_>) -> String {
    let end = match life.ended {
        Some((_, _, CallEnd::Returned)) => "returned",
        Some((_, _, CallEnd::Failed)) => "failed",
        Some((_, _, CallEnd::Cancelled)) => "cancelled",
        Some((_, _, CallEnd::GivenUp)) => "given up",
        None => "not yet",
    };
    let left = life.started.map(|started| started.0).or(life.ended.map(|ended| ended.0));
    let queued = micros(left.map_or(0, |left| left.saturating_sub(life.submitted.0)));
    format!("{{\"call\":{call},\"queued_us\":{queued},\"ended\":\"{end}\"}}")
}

fn waits(
    logs: &[ThreadLog],
    lives: &BTreeMap<CallNumber, CallLife<'_>>,
    events: &mut Vec<JsonEvent>,
) {
    for log in logs {
        for note in &log.notes {
            let text = match &note.what {
                EventKind::Blocks { first, calls } => {
                    let name = first.first().and_then(|call| lives.get(call));
                    let name = match (name, calls) {
                        (Some(life), 1) => format!("waits for {}", life.name),
                        _ => format!("waits for {calls} calls"),
                    };
                    let name = quoted(&name);
                    format!(
                        "\"ph\":\"B\",\"cat\":\"wait\",\"name\":{name},\"args\":{{\"calls\":{first:?}}}"
                    )
                }
                EventKind::Wakes => "\"ph\":\"E\"".into(),
                EventKind::Submitted { .. }
                | EventKind::Started { .. }
                | EventKind::Ended { .. } => continue,
            };
            events.push(JsonEvent { at: note.at, log: log.number, text });
        }
    }
}

fn queues(lives: &BTreeMap<CallNumber, CallLife<'_>>, events: &mut Vec<JsonEvent>) {
    let mut changes: BTreeMap<u32, Vec<(Nanos, i64)>> = BTreeMap::new();
    for life in lives.values() {
        let CallOrigin::Thread(pool) = life.kind else { continue };
        let left = life.started.map(|started| started.0).or(life.ended.map(|ended| ended.0));
        let changes = changes.entry(pool).or_default();
        changes.push((life.submitted.0, 1));
        changes.extend(left.map(|left| (left, -1)));
    }
    for (pool, mut changes) in changes {
        changes.sort_unstable();
        let mut calls = 0;
        for (at, change) in changes {
            calls += change;
            let text = format!(
                "\"ph\":\"C\",\"name\":\"queued in pool {pool}\",\"args\":{{\"calls\":{calls}}}"
            );
            events.push(JsonEvent { at, log: 0, text });
        }
    }
}

/// Microseconds, to the nanosecond.
fn micros(nanos: Nanos) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
