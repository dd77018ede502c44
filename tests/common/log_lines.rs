//! Keeps what the crate logs. A program has one logger, so all its tests share these lines.

use std::sync::{Mutex, OnceLock};

type Reaction = Box<dyn Fn(&str) + Send + Sync>;

/// Keeps every line that the crate logs, and lets a test react to lines as a logger would.
struct Lines {
    kept: Mutex<Vec<(log::Level, String)>>,
    reaction: OnceLock<Reaction>,
}

static LINES: Lines = Lines { kept: Mutex::new(Vec::new()), reaction: OnceLock::new() };

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if let Some(react) = self.reaction.get() {
            react(&line);
        }
        let breaks = line.contains("make the logger panic");
        self.kept.lock().unwrap().push((record.level(), format!("{}: {line}", record.target())));
        assert!(!breaks, "this logger panics on purpose");
    }

    fn flush(&self) {}
}

/// Starts to keep what is logged; call it before the thing that logs.
pub(crate) fn keep_log() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        log::set_logger(&LINES).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Has the logger call `react` with every line; for a test that has its process to itself.
pub(crate) fn react_to_log(react: impl Fn(&str) + Send + Sync + 'static) {
    keep_log();
    assert!(LINES.reaction.set(Box::new(react)).is_ok(), "one reaction per process");
}

/// The lines that contain `text`, which is to be the test's own.
pub(crate) fn logged(text: &str) -> Vec<(log::Level, String)> {
    LINES.kept.lock().unwrap().iter().filter(|(_, line)| line.contains(text)).cloned().collect()
}

/// All lines so far.
pub(crate) fn all_logged() -> Vec<(log::Level, String)> {
    logged("")
}
