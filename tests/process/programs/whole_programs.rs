//! Whole programs: this binary started again, as somebody's program with a pool.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{OnWorkerDeath, ResourceLimit};
use rustix::process::WaitOptions;

use crate::support::{ProcessGate, eventually, in_own_process, lives, trials};

trials![
    a_binary_that_is_deleted_or_replaced,
    a_binary_reached_through_a_link_and_another_directory,
    workers_end_with_their_parent,
    a_program_with_closed_standard_descriptors,
    a_full_environment_and_an_ignored_sigchld,
    another_thread_that_reaps_all_children,
];

/// Does what the command line says, if this is one of those programs.
pub(crate) fn act() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("--act") {
        return;
    }
    match arguments.next().unwrap().as_str() {
        test @ ("pools" | "deaths") => crate::pool::leaks::act(test),
        test @ ("few-descriptors" | "few-processes" | "no-descriptors" | "no-threads") => {
            crate::system::limits::act(test)
        }
        test @ ("no-temp"
        | "descriptors-run-out"
        | "parent-memory"
        | "large-result"
        | "cut-off"
        | "no-descriptors-left") => crate::system::resource_exhaustion::act(test),
        "lost-answer" => crate::deaths::lost_answers::act(),
        "memory-kept" => crate::calls::large_payloads::memory_kept(),
        "kills" => crate::random::kills::act(&arguments.next().unwrap()),
        "random-pools" => crate::random::pools::act(),
        "descriptors" => crate::system::few_descriptors::act(&arguments.next().unwrap()),
        "matrix" => {
            let [one, other] = [(); 2].map(|()| arguments.next().unwrap());
            crate::programs::every_circumstance::act(&one, &other);
        }
        "reuse" => crate::deaths::reused_process_ids::act(),
        "refused" => {
            let [phase, side] = [(); 2].map(|()| arguments.next().unwrap());
            crate::system::failing_calls::act(&phase, &side);
        }
        "empty-root" => crate::deaths::reasons::act(&arguments.next().unwrap()),
        "surroundings" => {
            let [what, folder] = [(); 2].map(|()| arguments.next().unwrap());
            crate::system::signals_and_streams::act(&what, &folder);
        }
        "forks" => crate::system::forks::leaves_alone(),
        "faults" => crate::deaths::each_step::act(&arguments.next().unwrap()),
        "orphan" => {
            let [step, gate, what] = [(); 3].map(|()| arguments.next().unwrap());
            crate::deaths::dead_parent::act(&step, &gate, &what);
        }
        "stand-ins" => crate::calls::user_code::act(),
        "reaped" => reaped(),
        "sum" => println!("{}", sum()),
        "remove-self" => {
            let first = sum();
            std::fs::remove_file(arguments.next().unwrap()).unwrap();
            println!("{}", first + sum());
        }
        "replace-self" => {
            let first = sum();
            let own = arguments.next().unwrap();
            std::fs::copy("/bin/true", format!("{own}.new")).unwrap();
            std::fs::rename(format!("{own}.new"), own).unwrap();
            println!("{}", first + sum());
        }
        "hold" => {
            let pool = ProcessPoolExecutor::new(2).unwrap();
            let gate = arguments.next().unwrap();
            let _calls = [gate.clone(), gate]
                .map(|gate| pool.submit(|g: String| ProcessGate::pass(&g), gate).unwrap());
            loop {
                std::thread::park();
            }
        }
        _ => unreachable!("no such act"),
    }
    std::process::exit(0);
}

fn sum() -> u64 {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let sum = pool.map(|n: u64| n * n, 0..10).map(|n| n.unwrap()).sum();
    assert_eq!(sum, 285); // should nobody hear it
    sum
}

/// A copy of this binary in a directory of its own.
pub(crate) fn copy() -> (ProcessGate, PathBuf) {
    let place = ProcessGate::new();
    let path = PathBuf::from(place.name()).join("program");
    // Not by this process: a descriptor to write to it could be in some child at this moment, and
    // then it could not be executed.
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    assert!(Command::new("cp").args([&own, &path]).status().unwrap().success());
    (place, path)
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn a_binary_that_is_deleted_or_replaced() {
    for act in ["remove-self", "replace-self"] {
        let (_place, path) = copy();
        assert_eq!(output(Command::new(&path).args(["--act", act]).arg(&path)), "570");
    }
}

fn a_binary_reached_through_a_link_and_another_directory() {
    let (place, path) = copy();
    let link = PathBuf::from(place.name()).join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(output(Command::new(&link).args(["--act", "sum"]).current_dir("/")), "285");
    let search = Command::new("program").args(["--act", "sum"]).env("PATH", place.name()).output();
    assert_eq!(String::from_utf8(search.unwrap().stdout).unwrap().trim(), "285");
    assert_eq!(output(Command::new(&path).arg0("other name").args(["--act", "sum"])), "285");
}

fn workers_end_with_their_parent() {
    let gate = ProcessGate::new();
    let program = Command::new("/proc/self/exe").args(["--act", "hold", &gate.name()]).spawn();
    let mut program = program.unwrap();
    let workers = [gate.wait_begun(), gate.wait_begun()];
    assert!(workers.iter().all(|pid| lives(*pid)));
    program.kill().unwrap();
    program.wait().unwrap();
    eventually("the end of the workers", || workers.iter().all(|pid| !lives(*pid)));
}

fn a_program_with_closed_standard_descriptors() {
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    for closed in ["<&-", ">&-", "2>&-", "<&- 2>&-", "<&- >&- 2>&-"] {
        let script = format!("exec \"$0\" --act sum {closed}");
        let said = if closed.contains(" >") || closed.starts_with('>') { "" } else { "285" };
        assert_eq!(output(Command::new("sh").args(["-c", &script]).arg(&own)), said, "{closed}");
    }
}

fn a_full_environment_and_an_ignored_sigchld() {
    let script = "trap '' CHLD; exec \"$0\" --act sum";
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(own).env("BIG", "x".repeat(100_000));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.wait().unwrap();
    assert_eq!(line.trim(), "285");
}

fn another_thread_that_reaps_all_children() {
    in_own_process(&["reaped"]);
}

fn reaped() {
    let gates: Vec<ProcessGate> = (0..10).map(|_| ProcessGate::new()).collect(); // that starts programs
    std::thread::spawn(|| {
        loop {
            if rustix::process::wait(WaitOptions::empty()).is_err() {
                std::thread::park_timeout(Duration::from_micros(100)); // there is none
            }
        }
    });
    let builder = ProcessPoolExecutor::builder().max_workers(2).limit(ResourceLimit::OpenFiles, 50);
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    let limit = |()| rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    for gate in gates {
        assert_eq!(pool.submit(limit, ()).unwrap().into_result().unwrap(), Some(50));
        let dies = pool.submit(|()| -> () { std::process::abort() }, ()).unwrap();
        let error = dies.into_result().unwrap_err();
        assert!(error.worker_death().is_some(), "{error}");
        let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
        gate.wait_begun();
        assert!(call.kill());
        let error = call.into_result().unwrap_err();
        assert!(matches!(error, Error::Killed { .. }), "{error}");
    }
    pool.shutdown();
    assert_eq!(pool.stats().workers, 0);
}
