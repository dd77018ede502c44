//! Programs whose `main` does something before `init`, so that their workers do it as well.
//!
//! This binary is run under a name that says what: `main:WHAT:FOLDER`. Each run notes itself in the
//! folder, and ends if there are many: a start that goes round must not go on without end.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;

use crate::programs::whole_programs::copy;
use crate::support::trials;

trials![
    a_main_that_empties_its_environment,
    a_main_that_redirects_its_input,
    a_main_whose_standard_error_takes_nothing,
    a_privileged_program_is_refused_a_pool,
    a_worker_without_a_pool_ends,
    a_worker_of_another_version_is_left_to_that,
    what_main_opened_keeps_its_number,
    what_main_does_with_signals,
];

/// More runs of one program than any of these tests brings about.
const MOST: usize = 25;

/// Which of these programs this process is, and its folder.
fn program() -> Option<(String, String)> {
    let name = std::env::args().next()?;
    let (what, folder) = name.strip_prefix("main:")?.split_once(':')?;
    Some((what.to_owned(), folder.to_owned()))
}

/// A log that C code opened, and one that Rust code opened.
static LOGS: OnceLock<[File; 2]> = OnceLock::new();

pub(crate) fn before_init() {
    let Some((what, folder)) = program() else { return };
    match what.as_str() {
        "empty-environment" => {
            for (name, _) in std::env::vars_os() {
                // SAFETY: no other thread is there.
                unsafe { std::env::remove_var(name) };
            }
        }
        "redirect-input" => {
            rustix::stdio::dup2_stdin(File::open("/dev/null").unwrap()).unwrap();
        }
        "full-errors" => {
            rustix::stdio::dup2_stdin(File::open("/dev/null").unwrap()).unwrap();
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            rustix::stdio::dup2_stderr(full).unwrap();
        }
        "logs" => {
            let open = || {
                let log = format!("{folder}/log");
                OpenOptions::new().append(true).create(true).open(log).unwrap()
            };
            let (inherited, own) = (open(), open());
            rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
            LOGS.set([inherited, own]).unwrap();
        }
        "signals" => {
            // SAFETY: what is ignored is no danger to anything.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            // SAFETY: as above.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        }
        _ => {}
    }
}

pub(crate) fn after_init() {
    let Some((what, folder)) = program() else { return };
    let runs = format!("{folder}/runs");
    let mut log = OpenOptions::new().append(true).create(true).open(&runs).unwrap();
    writeln!(log, "{}", std::process::id()).unwrap();
    if std::fs::read_to_string(&runs).unwrap().lines().count() >= MOST {
        std::process::exit(9);
    }
    let pool =
        ProcessPoolExecutor::builder().max_workers(1).on_worker_death(OnWorkerDeath::FailCall);
    let said = pool.build().and_then(|pool| match what.as_str() {
        "logs" => pool.submit(|()| write_to_logs(), ())?.into_result(),
        "signals" => {
            pool.submit(|()| crate::system::signals_and_streams::signals(), ())?.into_result()
        }
        _ => pool.submit(|n: u64| (n + 1).to_string(), 41)?.into_result(),
    });
    println!("{}", said.unwrap_or_else(|error| format!("error: {error}")));
    std::process::exit(0);
}

/// Runs one of these programs; gives what it said, and how many runs of `main` there were.
fn run(what: &str, change: impl FnOnce(&mut Command)) -> (Output, usize) {
    let (place, path) = copy();
    let mut command = Command::new(path);
    command.arg0(format!("main:{what}:{}", place.name())).stdin(Stdio::null());
    change(&mut command);
    let output = command.output().unwrap();
    let runs = std::fs::read_to_string(format!("{}/runs", place.name())).unwrap_or_default();
    (output, runs.lines().count())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn a_main_that_empties_its_environment() {
    let (output, runs) = run("empty-environment", |_| {});
    assert_eq!((said(&output).as_str(), runs), ("42", 1));
}

fn a_main_that_redirects_its_input() {
    let (output, runs) = run("redirect-input", |_| {});
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(runs, 1, "{output:?}");
    assert!(said(&output).contains("its standard error says why"), "{output:?}");
    assert!(errors.contains("standard input is not the channel"), "{errors}");
}

fn a_main_whose_standard_error_takes_nothing() {
    let (output, runs) = run("full-errors", |_| {});
    assert_eq!(runs, 1, "{output:?}");
    assert!(said(&output).contains("exit code 113"), "{output:?}");
}

fn a_privileged_program_is_refused_a_pool() {
    if !rustix::process::geteuid().is_root() {
        return; // nobody else can make a program privileged
    }
    let (output, runs) = run("plain", |command| {
        let mode = std::fs::Permissions::from_mode(0o4755);
        std::fs::set_permissions(command.get_program(), mode).unwrap();
        command.uid(65534);
    });
    assert_eq!(runs, 1, "{output:?}");
    assert!(said(&output).contains("more rights than the user"), "{output:?}");
}

fn a_worker_without_a_pool_ends() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let mark = |()| std::env::args().nth(1).unwrap();
    let mark = pool.submit(mark, ()).unwrap().into_result().unwrap();
    let (output, runs) = run("plain", |command| {
        command.arg(mark);
    });
    assert_eq!((output.status.code(), runs), (Some(113), 0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input"), "{output:?}");
}

fn a_worker_of_another_version_is_left_to_that() {
    let (output, runs) = run("plain", |command| {
        command.arg("--concurrent-worker=0123456789abcdef.3");
    });
    assert_eq!((said(&output).as_str(), runs), ("42", 1), "{output:?}");
    let (output, runs) = run("plain", |command| {
        command.arg("--concurrent-worker=0123456789abcdef.10");
    });
    assert_eq!(runs, 1, "{output:?}");
    assert!(said(&output).contains("too deep"), "{output:?}");
}

/// In a worker: writes to both logs, which must be what they were.
fn write_to_logs() -> String {
    let mut logs = LOGS.get().unwrap().iter();
    let all_written = logs.all(|mut log| {
        let is = std::fs::read_link(format!("/proc/self/fd/{}", log.as_raw_fd())).unwrap();
        (0..1000).for_each(|_| log.write_all(b"a line\n").unwrap());
        is.ends_with("log")
    });
    format!("{all_written}")
}

fn what_main_opened_keeps_its_number() {
    let (output, runs) = run("logs", |_| {});
    assert_eq!((said(&output).as_str(), runs), ("true", 1), "{output:?}");
}

fn what_main_does_with_signals() {
    let (output, runs) = run("signals", |_| {});
    // SIGTERM would end it, and SIGPIPE is as `main` has it.
    assert_eq!((said(&output).as_str(), runs), ("blocked: [], ignored: []", 1), "{output:?}");
}
