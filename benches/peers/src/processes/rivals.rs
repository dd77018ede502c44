//! The peers: Python's pools, and two processes with only a socket between them.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Python process with a pool, which works on request.
pub struct Python {
    child: Child,
    pipes: RefCell<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

impl Python {
    /// `None`, and a line that says so, if it is not installed.
    pub fn start(kind: &str) -> Option<Self> {
        let child = Command::new("python3")
            .args(["-c", include_str!("rival.py"), kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let started = child.ok().and_then(|mut child| {
            let orders = child.stdin.take()?;
            let mut answers = BufReader::new(child.stdout.take()?);
            let mut line = String::new();
            answers.read_line(&mut line).ok()?;
            (line == "ready\n")
                .then_some(Self { child, pipes: RefCell::new((Some(orders), answers)) })
        });
        if started.is_none() {
            println!("SKIPPED: {kind} (python3 with it is not installed)");
        }
        started
    }

    /// Returns elapsed ns, and CPU ns of the parent, per item.
    pub fn ask_both(&self, order: &str, items: usize) -> (f64, f64) {
        let (orders, answers) = &mut *self.pipes.borrow_mut();
        writeln!(orders.as_mut().unwrap(), "{order}").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let mut numbers = line.split_whitespace().map(|n| n.parse::<f64>().unwrap());
        let mut next = || numbers.next().unwrap() / items as f64;
        (next(), next())
    }

    /// Returns elapsed ns per item.
    pub fn ask(&self, order: &str, items: usize) -> f64 {
        self.ask_both(order, items).0
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.pipes.get_mut().0 = None; // not a signal: its workers would outlive it
        let _ = self.child.wait();
    }
}

const PING_PONG: &str = "PEERS_PING_PONG";

/// Two processes and a socket between them. The other one is this program, started with a variable.
pub struct PingPong {
    socket: RefCell<UnixStream>,
}

impl PingPong {
    pub fn start() -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        let child = Command::new("/proc/self/exe")
            .env(PING_PONG, "1")
            .arg("processes")
            .stdin(Stdio::from(OwnedFd::from(other)))
            .spawn();
        drop(child.unwrap());
        Self { socket: RefCell::new(socket) }
    }

    /// Whether this process is the other one; then it has served all rounds.
    pub fn serve() -> bool {
        if std::env::var_os(PING_PONG).is_none() {
            return false;
        }
        let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        let mut message = [0; 64];
        while socket.read_exact(&mut message).is_ok() {
            socket.write_all(&message).unwrap();
        }
        true
    }

    pub fn round(&self) {
        let mut socket = self.socket.borrow_mut();
        let mut message = [1; 64];
        socket.write_all(&message).unwrap();
        socket.read_exact(&mut message).unwrap();
    }
}
