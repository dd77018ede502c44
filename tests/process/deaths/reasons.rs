//! Errors say what has ended a worker, and why none can be started.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use concurrent::Result;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{OnWorkerDeath, ProcessPoolBuilder, ResourceLimit};

use crate::support::{ProcessGate, in_own_process, trials};

trials![
    a_worker_whose_program_was_replaced,
    a_worker_that_used_its_processor_time,
    a_worker_that_wrote_too_large_a_file,
    a_worker_that_the_pool_has_killed,
    a_directory_that_is_not_there,
    a_system_without_proc,
    a_program_that_was_started_through_its_loader,
];

/// Does what the command line says.
pub(crate) fn act(folder: &str) {
    let folder = std::ffi::CString::new(folder).unwrap();
    // SAFETY: a string that lives.
    assert_eq!(unsafe { libc::chroot(folder.as_ptr()) }, 0);
    let text = text(builder(), |n| n, 1);
    assert!(text.contains("is /proc mounted"), "{text}");
}

fn builder() -> ProcessPoolBuilder {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    builder.limit(ResourceLimit::CoreDump, 0).on_worker_death(OnWorkerDeath::FailCall)
}

/// The text of the error of a call.
fn text(builder: ProcessPoolBuilder, function: fn(u64) -> u64, argument: u64) -> String {
    let call: Result<u64> =
        builder.build().and_then(|pool| pool.submit(function, argument)?.into_result());
    call.unwrap_err().to_string()
}

fn a_worker_whose_program_was_replaced() {
    let replace = |_| {
        let error = Command::new("sleep").arg("60").exec();
        panic!("{error}");
    };
    let text = text(builder(), replace, 1);
    assert!(text.contains("replaced by `exec`") && text.contains("from its pool"), "{text}");
    assert!(!text.contains("memory"), "{text}");
}

fn a_worker_that_used_its_processor_time() {
    let spin = |_| loop {
        std::hint::spin_loop();
    };
    let text = text(builder().limit(ResourceLimit::CpuSeconds, 1), spin, 1);
    assert!(text.contains("(SIGXCPU), having used all the processor time"), "{text}");
}

fn a_worker_that_wrote_too_large_a_file() {
    let write = |len| {
        let folder = ProcessGate::new();
        let bytes = vec![7; usize::try_from(len).unwrap()];
        std::fs::write(format!("{}/file", folder.name()), bytes).unwrap();
        len
    };
    let text = text(builder().limit(ResourceLimit::FileSize, 1000), write, 2000);
    assert!(text.contains("(SIGXFSZ), having written more"), "{text}");
}

fn a_worker_that_the_pool_has_killed() {
    let pool = builder().build().unwrap();
    let gate = ProcessGate::new();
    let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
    gate.wait_begun();
    pool.kill_workers();
    let text = call.into_result().unwrap_err().to_string();
    assert!(text.contains("(SIGKILL) from its pool") && !text.contains("memory"), "{text}");
}

fn a_directory_that_is_not_there() {
    let text = text(builder().working_directory("/not/there"), |n| n, 1);
    assert!(text.contains("the working directory /not/there"), "{text}");
}

fn a_system_without_proc() {
    if !rustix::process::geteuid().is_root() {
        return; // nobody else can change the root
    }
    in_own_process(&["empty-root", &ProcessGate::new().name()]);
}

fn a_program_that_was_started_through_its_loader() {
    let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
    if !loader.exists() {
        return; // it has another name here
    }
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    let output = Command::new(loader).arg(own).args(["--act", "sum"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("started through its dynamic loader"), "{text}");
    assert!(text.contains("ProcessStart"), "{text}");
}
