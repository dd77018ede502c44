//! Properties of the running program and of child processes.

use std::ffi::OsString;

/// Whether this program runs with more rights than the user who started it (set-user-id, file
/// capabilities): its environment and descriptors cannot be trusted then.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: reads the auxiliary vector; takes no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the kernel loaded a dynamic loader for this program. It did not for a static program, nor if the
/// loader itself was executed with the program as its argument.
pub(crate) fn has_loader() -> bool {
    // SAFETY: reads the auxiliary vector; takes no pointer.
    unsafe { libc::getauxval(libc::AT_BASE) != 0 }
}

/// The first argument that this process was started with.
pub(crate) fn first_argument() -> Option<OsString> {
    let mut arguments = std::env::args_os();
    if arguments.len() > 0 {
        return arguments.nth(1);
    }
    // Before `main` not every C library has passed the arguments to the standard library.
    let line = std::fs::read("/proc/self/cmdline").ok()?;
    let argument = line.split(|byte| *byte == 0).nth(1)?;
    Some(std::os::unix::ffi::OsStringExt::from_vec(argument.to_vec()))
}

/// Whether signals have stopped a process, which must be a child that was not reaped.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().map(str::trim_start);
    state.is_some_and(|state| state.starts_with(['T', 't']))
}
