//! Signal masks and actions: of a starting worker, of the thread that starts it, and of threads that write
//! to a pipe.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libc::{c_int, sigset_t};
use rustix::io::{Errno, Result};

/// Blocks signals in this thread, and in threads that it starts meanwhile, until it is dropped.
pub(crate) struct BlockedSignals {
    before: sigset_t,
}

impl BlockedSignals {
    pub(crate) fn new(signal: c_int) -> Self {
        Self { before: change_mask(libc::SIG_BLOCK, &set(&[signal])) }
    }

    /// Blocks all signals but those of faults of the thread itself.
    pub(crate) fn all() -> Self {
        let mut all = set(&[]);
        // SAFETY: it was initialised just now.
        unsafe { libc::sigfillset(&raw mut all) };
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            // SAFETY: as above.
            unsafe { libc::sigdelset(&raw mut all, fault) };
        }
        Self { before: change_mask(libc::SIG_BLOCK, &all) }
    }

    /// Whether the signal was blocked before.
    fn blocked_before(&self, signal: c_int) -> bool {
        contains(&self.before, signal)
    }

    /// Removes the signal if it was sent to this thread meanwhile.
    fn swallow(&self, signal: c_int) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let (signal, info) = (set(&[signal]), std::ptr::null_mut());
        // SAFETY: both structures live; no information is asked for. It does not wait.
        unsafe { libc::sigtimedwait(&raw const signal, info, &raw const now) };
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        change_mask(libc::SIG_SETMASK, &self.before);
    }
}

/// Writes, also to a pipe without a reader, without raising SIGPIPE: the program may have set an action for
/// that signal.
pub(crate) fn write_quietly(to: impl AsFd, bytes: &[u8]) -> Result<usize> {
    let blocked = BlockedSignals::new(libc::SIGPIPE);
    // A signal that was pending before belongs to the program.
    let keeps = blocked.blocked_before(libc::SIGPIPE) && contains(&pending(), libc::SIGPIPE);
    let written = rustix::io::retry_on_intr(|| rustix::io::write(&to, bytes));
    if written == Err(Errno::PIPE) && !keeps {
        blocked.swallow(libc::SIGPIPE);
    }
    written
}

/// Sets the signal mask and the actions of a worker, whatever it has inherited.
///
/// SIGINT does nothing: Ctrl-C goes to the whole process group, and the parent decides what it means. It is
/// handled and not ignored, because programs that calls start inherit ignored signals. SIGTERM is not
/// ignored, so that workers can be terminated. No signal is blocked. Before `main`, SIGPIPE is ignored, as
/// the runtime would do it.
pub(crate) fn settle_worker(ahead_of_main: bool) {
    extern "C" fn nothing(_: c_int) {}
    let handler = nothing as extern "C" fn(c_int);
    if action(libc::SIGINT) != libc::SIG_IGN {
        set_action(libc::SIGINT, handler as libc::sighandler_t);
    }
    if action(libc::SIGTERM) == libc::SIG_IGN {
        set_action(libc::SIGTERM, libc::SIG_DFL);
    }
    if ahead_of_main {
        set_action(libc::SIGPIPE, libc::SIG_IGN);
    }
    change_mask(libc::SIG_SETMASK, &set(&[]));
}

fn action(signal: c_int) -> libc::sighandler_t {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the action is queried and not changed; there is room for it.
    unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeros are a valid value, should the call have failed.
    unsafe { action.assume_init() }.sa_sigaction
}

/// Sets the action of a signal: SIG_DFL, SIG_IGN, or a function that may be called at any time.
fn set_action(signal: c_int, what: libc::sighandler_t) {
    // SAFETY: zeros are a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = what;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the structure lives, and the callers pass functions that may be called in a handler.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

fn set(signals: &[c_int]) -> sigset_t {
    let mut set = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: there is room for it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: it was initialised just now.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

fn contains(set: &sigset_t, signal: c_int) -> bool {
    // SAFETY: an initialised set.
    unsafe { libc::sigismember(&raw const *set, signal) == 1 }
}

/// Changes the mask of this thread; returns the previous one.
fn change_mask(how: c_int, set: &sigset_t) -> sigset_t {
    let mut before = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: both sets live, the first is initialised.
    unsafe { libc::pthread_sigmask(how, &raw const *set, before.as_mut_ptr()) };
    // SAFETY: zeros are a valid value, should the call have failed.
    unsafe { before.assume_init() }
}

fn pending() -> sigset_t {
    let mut set = MaybeUninit::<sigset_t>::zeroed();
    // SAFETY: there is room for it.
    unsafe { libc::sigpending(set.as_mut_ptr()) };
    // SAFETY: zeros are a valid value, should the call have failed.
    unsafe { set.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_hears_of_a_pipe_without_a_reader() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(write_quietly(&writer, b"x"), Ok(1));
        drop(reader);
        let before = change_mask(libc::SIG_BLOCK, &set(&[libc::SIGPIPE]));
        assert_eq!(write_quietly(&writer, b"x"), Err(Errno::PIPE));
        assert!(!contains(&pending(), libc::SIGPIPE));
        // One that was pending before stays.
        // SAFETY: signals this thread, in which it is blocked.
        unsafe { libc::raise(libc::SIGPIPE) };
        assert_eq!(write_quietly(&writer, b"x"), Err(Errno::PIPE));
        assert!(contains(&pending(), libc::SIGPIPE));
        BlockedSignals::new(libc::SIGPIPE).swallow(libc::SIGPIPE);
        change_mask(libc::SIG_SETMASK, &before);
    }

    #[test]
    fn a_mask_is_as_it_was_before() {
        let is_blocked = || contains(&change_mask(libc::SIG_BLOCK, &set(&[])), libc::SIGUSR2);
        assert!(!is_blocked());
        let blocked = BlockedSignals::new(libc::SIGUSR2);
        assert!(is_blocked());
        drop(blocked);
        assert!(!is_blocked());
    }
}
