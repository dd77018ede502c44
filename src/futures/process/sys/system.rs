//! The four system calls that have no safe wrapper: each once, at the start of a worker.

/// Whether this program runs with more rights than whoever started it: then it is no worker, because
/// its environment and descriptors cannot be trusted.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: reads the auxiliary vector; takes no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Removes a variable from the environment.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: called once, first in `main` or before it, while no other thread is there.
    unsafe { std::env::remove_var(name) };
}

/// Closes all descriptors from `first` on.
pub(crate) fn close_from(first: u32) {
    // SAFETY: called once, first in `main` or before it: nothing in this process has opened a
    // descriptor yet, those that are open were inherited by accident.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Ignores SIGINT: Ctrl-C goes to the whole group, and the parent decides what it means. Ignores
/// SIGPIPE, as `main` would have done.
pub(crate) fn ignore_signals() {
    for signal in [libc::SIGINT, libc::SIGPIPE] {
        // SAFETY: SIG_IGN is a valid disposition for both, and installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
