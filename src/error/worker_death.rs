//! [`WorkerDeath`]: how a worker process ended before its time.

use std::fmt;

/// A report on a worker process that died.
///
/// [`Error::worker_death`](crate::Error::worker_death) finds it in an error.
///
/// # Examples
///
/// ```
/// # #[cfg(all(target_os = "linux", feature = "process"))] {
/// use concurrent::futures::process::{self, OnWorkerDeath, ProcessPoolExecutor};
///
/// process::init();
/// let policy = OnWorkerDeath::FailCall;
/// let pool = ProcessPoolExecutor::builder().max_workers(1).on_worker_death(policy).build()?;
/// let call = pool.submit(|code| -> u8 { std::process::exit(code) }, 3)?;
/// let error = call.into_result().unwrap_err();
/// let death = error.worker_death().expect("the worker has exited");
/// assert_eq!((death.exit_code, death.signal), (Some(3), None));
/// # }
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerDeath {
    /// The id of the process.
    pub pid: u32,
    /// Of an MPI program: its rank.
    pub rank: Option<usize>,
    /// Of an MPI program: the host that it ran on.
    pub host: Option<String>,
    /// The exit code, if the process exited.
    pub exit_code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// The call that it had begun, if any: where it was submitted, and the type of its function.
    pub call: Option<String>,
    /// The message of a panic shortly before, or of the failure that kept it from starting, if
    /// there was one.
    pub panic_message: Option<String>,
    /// More details, if there are any.
    pub note: Option<&'static str>,
    /// The pool has ended it.
    pub(crate) by_pool: bool,
}

impl fmt::Display for WorkerDeath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker process {} ", self.pid)?;
        if let (Some(rank), Some(host)) = (self.rank, &self.host) {
            write!(f, "(rank {rank} on {host}) ")?;
        }
        match (self.exit_code, self.signal) {
            (Some(code), _) => write!(f, "ended with exit code {code}")?,
            (None, Some(signal)) => {
                write!(f, "was ended by signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(f, " ({name})")?;
                }
                f.write_str(sender(signal, self.by_pool))?;
            }
            (None, None) => f.write_str("ended, nobody knows how")?,
        }
        match &self.call {
            Some(call) => write!(f, " while it ran {call}")?,
            None => f.write_str(" while it ran no call")?,
        }
        if let Some(note) = self.note {
            write!(f, "; {note}")?;
        }
        match &self.panic_message {
            Some(message) => write!(f, "; it said: {}", message.escape_debug()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for WorkerDeath {}

/// The sender of such a signal, as far as that is known.
fn sender(signal: i32, by_pool: bool) -> &'static str {
    match (signal_name(signal), by_pool) {
        (Some("SIGKILL" | "SIGTERM"), true) => " from its pool",
        (Some("SIGKILL"), false) => ", as the system does when memory runs out,",
        (Some("SIGXCPU"), _) => ", having used all the processor time that it may,",
        (Some("SIGXFSZ"), _) => ", having written more to a file than it may,",
        _ => "",
    }
}

#[cfg(all(target_os = "linux", feature = "process"))]
fn signal_name(signal: i32) -> Option<&'static str> {
    macro_rules! names {
        ($($name:ident)*) => { [$((libc::$name, stringify!($name))),*] };
    }
    let names = names![
        SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2
        SIGPIPE SIGALRM SIGTERM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ
        SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS
    ];
    let known = names.into_iter().find(|(number, _)| *number == signal).map(|(_, name)| name);
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    // On a system where another signal has this number there is none of this name.
    let known = known.or((signal == 16).then_some("SIGSTKFLT"));
    known.or(real_time.contains(&signal).then_some("a real-time signal"))
}

/// Without worker processes there is none.
#[cfg(not(all(target_os = "linux", feature = "process")))]
fn signal_name(_: i32) -> Option<&'static str> {
    None
}

// The names of signals are those of systems with worker processes.
#[cfg(all(test, feature = "process", target_os = "linux"))]
mod tests {
    use super::*;

    // case 119
    #[test]
    fn it_says_who_how_and_over_what() {
        let death = WorkerDeath {
            pid: 7,
            signal: Some(11),
            call: Some("the call".into()),
            panic_message: Some("panicked\nat".into()),
            ..WorkerDeath::default()
        };
        let text = "worker process 7 was ended by signal 11 (SIGSEGV) while it ran the call; \
                    it said: panicked\\nat";
        assert_eq!(death.to_string(), text);
        let exited = WorkerDeath { exit_code: Some(3), ..WorkerDeath::default() };
        assert!(exited.to_string().contains("ended with exit code 3 while it ran no call"));
    }

    #[test]
    fn a_signal_has_its_name_and_its_sender() {
        let by = |signal, by_pool| {
            WorkerDeath { signal: Some(signal), by_pool, ..WorkerDeath::default() }.to_string()
        };
        assert!(by(libc::SIGKILL, false).contains("(SIGKILL), as the system does when memory"));
        assert!(by(libc::SIGKILL, true).contains("(SIGKILL) from its pool while"));
        assert!(by(libc::SIGTERM, true).contains("(SIGTERM) from its pool while"));
        assert!(by(libc::SIGXCPU, false).contains("(SIGXCPU), having used all the processor time"));
        assert!(by(libc::SIGXFSZ, false).contains("(SIGXFSZ), having written more"));
        assert!((1..32).filter(|signal| signal_name(*signal).is_some()).count() == 31);
        assert!(by(40, false).contains("a real-time signal"));
    }
}
