//! [`WorkerDeath`]: what is known of a worker process that ended before its time.

use std::fmt;

/// What is known of a worker process that ended before its time.
///
/// Found in an error by [`Error::worker_death`](crate::Error::worker_death).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerDeath {
    /// Its process id.
    pub pid: u32,
    /// In a cluster: its rank.
    pub rank: Option<usize>,
    /// In a cluster: the host it ran on.
    pub host: Option<String>,
    /// What it exited with, if it did.
    pub exit_code: Option<i32>,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
    /// The call that it had begun, if any: where it was submitted, and the type of its function.
    pub call: Option<String>,
    /// The message of a panic, if one was raised shortly before.
    pub last_words: Option<String>,
    /// What else is known.
    pub note: Option<&'static str>,
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
                if signal == 9 {
                    f.write_str(", as the system does when memory runs out,")?;
                }
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
        match &self.last_words {
            Some(words) => write!(f, "; its last words: {}", words.escape_debug()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for WorkerDeath {}

/// The signals that end a process by accident; numbers that all Linux systems share.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // case 119
    #[test]
    fn it_says_who_how_and_over_what() {
        let death = WorkerDeath {
            pid: 7,
            signal: Some(11),
            call: Some("the call".into()),
            last_words: Some("panicked\nat".into()),
            ..WorkerDeath::default()
        };
        let text = "worker process 7 was ended by signal 11 (SIGSEGV) while it ran the call; \
                    its last words: panicked\\nat";
        assert_eq!(death.to_string(), text);
        let exited = WorkerDeath { exit_code: Some(3), ..WorkerDeath::default() };
        assert!(exited.to_string().contains("ended with exit code 3 while it ran no call"));
    }
}
