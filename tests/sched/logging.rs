//! Errors that no caller can receive are logged.

use std::sync::mpsc::channel;
use std::sync::{Mutex, Once};

use concurrent::sched::{Due, OnError, Scheduler, VirtualClock};

/// What was logged, by all tests.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}: {}", record.level(), record.target(), record.args());
        LINES.lock().expect("nothing panics with it").push(line);
    }

    fn flush(&self) {}
}

pub(crate) fn listen() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        log::set_logger(&Lines).expect("no other logger is set");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// The lines that have this in them.
pub(crate) fn lines_with(text: &str) -> Vec<String> {
    let lines = LINES.lock().expect("nothing panics with it");
    lines.iter().filter(|line| line.contains(text)).cloned().collect()
}

fn simulated(on_error: OnError) -> Scheduler<i64> {
    listen();
    let clock = VirtualClock::starting_at(0);
    Scheduler::builder().virtual_clock(&clock).on_error(on_error).build()
}

#[test]
fn a_run_forever_that_ends_by_an_error_is_logged() {
    let s = simulated(OnError::Stop);
    s.enter(0, 1, || Err("the lamp is broken"));
    s.enter(1, 1, || {});
    assert!(s.run_forever().is_err());
    let lines = lines_with("the lamp is broken");
    let expected = "ERROR concurrent: run_forever ends with 1 events queued: \
                    the call returned an error: the lamp is broken";
    assert_eq!(lines, [expected]);
}

#[test]
fn a_run_whose_caller_gets_the_error_logs_nothing() {
    let s = simulated(OnError::Stop);
    s.enter(0, 1, || Err("the kettle is broken"));
    assert!(s.run().is_err());
    s.enter(0, 1, {
        let s = s.clone();
        move || s.stop()
    });
    s.run_forever().unwrap();
    assert!(lines_with("the kettle is broken").is_empty());
}

#[test]
fn an_error_after_which_a_run_goes_on_is_logged_with_the_action() {
    fn feed_the_cat() -> Result<(), &'static str> {
        Err("the bowl is broken")
    }
    let s = simulated(OnError::Continue);
    s.enter(0, 1, feed_the_cat);
    s.run().unwrap();
    let lines = lines_with("the bowl is broken");
    assert!(lines.len() == 1 && lines[0].contains("feed_the_cat failed"), "{lines:?}");
}

#[test]
fn an_error_that_a_function_saw_is_not_logged() {
    listen();
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0_i64))
        .on_error_with(|_| OnError::Continue)
        .build();
    s.enter(0, 1, || Err("the plate is broken"));
    s.run().unwrap();
    assert!(lines_with("the plate is broken").is_empty());
}

#[test]
fn a_failure_that_no_run_will_see_is_logged() {
    listen();
    let (sender, receiver) = channel();
    let s = Scheduler::builder()
        .virtual_clock(&VirtualClock::starting_at(0_i64))
        .dispatch(move |due| sender.send(due).map_err(|_| "nobody listens"))
        .build();
    s.enter(0, 1, || Err("the first cup is broken"));
    s.enter(0, 1, || Err("the second cup is broken"));
    s.run_pending().unwrap();
    receiver.try_iter().for_each(Due::run);
    assert!(s.run_pending().is_err(), "a run sees the first");
    drop(s);
    let lines = lines_with("cup is broken");
    assert!(lines.len() == 1 && lines[0].contains("second"), "{lines:?}");
}
