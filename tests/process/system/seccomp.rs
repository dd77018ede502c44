//! System calls that fail as a test wants: of this program and of the workers that it starts.
//!
//! A filter (seccomp) has the kernel ask a thread of this program about each of these calls. The
//! thread lets it through, or has it fail with an error of the test's choice: the nth such call, or
//! all of them. Workers inherit the filter. The thread allocates nothing: whoever waits for its answer
//! may hold the lock of an allocator.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use libc::{c_int, c_long, c_ulong};

/// A system call that can be made to fail.
#[derive(Debug)]
pub(crate) struct SystemCall {
    pub(crate) name: &'static str,
    number: c_long,
    /// Whether it is one that a pool makes, and not an allocator or the test.
    concerns: fn(&[u64; 6]) -> bool,
    /// Its errors in practice.
    pub(crate) errors: &'static [c_int],
}

/// The process that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Parent,
    Worker,
}

/// The system call that is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) side: Side,
    /// An index into [`CALLS`].
    pub(crate) call: usize,
    /// The one with this number alone, counted from 0; all without one.
    pub(crate) nth: Option<u32>,
    pub(crate) error: c_int,
}

macro_rules! calls {
    ($($name:ident($arguments:pat) if $concerns:expr => $($error:ident)*;)*) => {
        [$(SystemCall {
            name: stringify!($name),
            number: libc::$name,
            concerns: |$arguments| $concerns,
            errors: &[$(libc::$error),*],
        }),*]
    };
}

const COUNT: usize = 35;

/// No file descriptor, as an argument.
const NONE: u32 = u32::MAX;

#[expect(clippy::cast_possible_truncation, reason = "arguments of 32 bits")]
fn low(argument: u64) -> u32 {
    argument as u32
}

/// The system calls of parent and worker on behalf of a pool. Not those that cannot fail.
pub(crate) static CALLS: [SystemCall; COUNT] = calls![
    SYS_socketpair(_) if true => EMFILE ENFILE ENOMEM ENOBUFS EACCES;
    SYS_pipe2(_) if true => EMFILE ENFILE;
    SYS_eventfd2(_) if true => EMFILE ENFILE ENOMEM;
    SYS_epoll_create1(_) if true => EMFILE ENFILE ENOMEM;
    SYS_epoll_ctl(_) if true => ENOMEM ENOSPC;
    SYS_memfd_create(_) if true => EMFILE ENFILE ENOMEM ENOSYS EPERM;
    SYS_ftruncate(_) if true => ENOMEM EINTR EPERM;
    // Not F_GETFD, with which the standard library checks a descriptor that it closes.
    SYS_fcntl([_, what, ..]) if low(*what) != libc::F_GETFD as u32 => EMFILE ENOMEM EPERM;
    // For a file, or for memory: threads and the shared page.
    SYS_mmap([_, _, protection, _, file, _]) if low(*file) != NONE || *protection == 0 => ENOMEM EAGAIN;
    SYS_mprotect([_, _, protection, ..]) if *protection != 0 => ENOMEM;
    SYS_mremap(_) if true => ENOMEM EAGAIN;
    SYS_munmap(_) if true => ENOMEM;
    SYS_madvise(_) if true => EAGAIN ENOMEM;
    SYS_clone(_) if true => EAGAIN ENOMEM;
    SYS_clone3(_) if true => EAGAIN ENOMEM;
    SYS_execve(_) if true => EAGAIN ENOMEM ENOENT EACCES ETXTBSY;
    SYS_pidfd_open(_) if true => EMFILE ENFILE ENOMEM EPERM ENOSYS;
    SYS_pidfd_send_signal(_) if true => EPERM ENOSYS;
    SYS_waitid(_) if true => EINTR ECHILD;
    SYS_poll(_) if true => EINTR ENOMEM EAGAIN;
    SYS_ppoll(_) if true => EINTR ENOMEM EAGAIN;
    SYS_read(_) if true => EINTR;
    // One byte: it wakes the other side.
    SYS_write([_, _, len, ..]) if *len == 1 => EINTR ENOMEM;
    SYS_pread64(_) if true => EINTR ENOMEM;
    SYS_sendmsg(_) if true => EINTR ENOBUFS ENOMEM ETOOMANYREFS;
    SYS_sendto(_) if true => EINTR ENOBUFS ENOMEM;
    SYS_recvmsg(_) if true => EINTR ENOBUFS ENOMEM;
    SYS_recvfrom(_) if true => EINTR ENOMEM;
    SYS_fstat(_) if true => ENOMEM EPERM;
    SYS_fstatfs(_) if true => ENOSYS EPERM;
    SYS_prlimit64(_) if true => EPERM;
    SYS_prctl(_) if true => EPERM;
    SYS_getsockopt(_) if true => ENOBUFS EPERM;
    SYS_openat(_) if true => EMFILE ENFILE EACCES;
    SYS_dup2(_) if true => EINTR EBUSY;
];

/// Makes system calls of this program fail.
pub(crate) struct Refusals {
    refusal: Mutex<Option<Refusal>>,
    seen: [[AtomicU32; COUNT]; 2],
    refused: AtomicU32,
    counts: AtomicBool,
    /// The call that is to be held, and the number of the one that is; 0 for none.
    holds: Mutex<Option<(Side, usize)>>,
    held: AtomicU64,
    listener: OnceLock<OwnedFd>,
    /// Programs that were started, and how many may be.
    programs: AtomicU32,
}

static REFUSALS: Refusals = Refusals {
    refusal: Mutex::new(None),
    seen: [const { [const { AtomicU32::new(0) }; COUNT] }; 2],
    refused: AtomicU32::new(0),
    counts: AtomicBool::new(false),
    holds: Mutex::new(None),
    held: AtomicU64::new(0),
    listener: OnceLock::new(),
    programs: AtomicU32::new(0),
};

/// The most programs that a test starts. What goes round without end stops there.
const PROGRAMS: u32 = 6000;

impl Refusals {
    /// Filters the calls of this thread, of those that it starts, and of their processes; why that
    /// cannot be had, if so.
    pub(crate) fn begin() -> Result<&'static Self, std::io::Error> {
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || receive.recv().map(|()| REFUSALS.decide()));
        REFUSALS.listener.set(filter()?).unwrap();
        send.send(()).unwrap();
        Ok(&REFUSALS)
    }

    /// From now on calls fail as `refusal` says, and are counted anew.
    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        let mut current = self.refusal.lock().unwrap();
        self.seen.iter().flatten().for_each(|count| count.store(0, Ordering::SeqCst));
        self.refused.store(0, Ordering::SeqCst);
        self.counts.store(true, Ordering::SeqCst);
        *current = refusal;
    }

    /// No more fail; gives how many have.
    pub(crate) fn end(&self) -> u32 {
        let mut current = self.refusal.lock().unwrap();
        self.counts.store(false, Ordering::SeqCst);
        *current = None;
        self.refused()
    }

    /// How many have failed since the last [`refuse`](Self::refuse).
    pub(crate) fn refused(&self) -> u32 {
        self.refused.load(Ordering::SeqCst)
    }

    /// How many there were of a call since the last [`refuse`](Self::refuse).
    pub(crate) fn seen(&self, side: Side, call: usize) -> u32 {
        self.seen[side as usize][call].load(Ordering::SeqCst)
    }

    /// The next call with this name has to wait until it is [released](Self::release).
    pub(crate) fn hold(&self, side: Side, name: &str) {
        let call = CALLS.iter().position(|call| call.name == name).expect("a call");
        *self.holds.lock().unwrap() = Some((side, call));
    }

    /// Waits until there is one.
    pub(crate) fn wait_held(&self) {
        while self.held.load(Ordering::SeqCst) == 0 {
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }

    pub(crate) fn release(&self) {
        let id = self.held.swap(0, Ordering::SeqCst);
        self.answer(id, 0);
    }

    pub(crate) fn programs(&self) -> u32 {
        self.programs.load(Ordering::SeqCst)
    }

    /// In the thread that is asked.
    fn decide(&self) {
        let listener = self.listener();
        loop {
            // SAFETY: zeros are a valid value, and the kernel wants them.
            let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the structure is what this call fills.
            if unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) } != 0
            {
                continue; // whoever asked is gone
            }
            match self.judge(&asked) {
                Some(error) => self.answer(asked.id, error),
                None => self.held.store(asked.id, Ordering::SeqCst),
            }
        }
    }

    fn listener(&self) -> c_int {
        self.listener.get().expect("it is made before anybody is asked").as_raw_fd()
    }

    /// Lets a call through, or has it fail.
    fn answer(&self, id: u64, error: c_int) {
        #[expect(clippy::cast_possible_truncation, reason = "it is 1")]
        let flags = if error == 0 { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 };
        let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -error, flags };
        let listener = self.listener();
        // SAFETY: the structure is what this call reads. If it fails, nobody waits for it.
        unsafe { libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    }

    /// The error of a call, 0 for none; `None` if it is to wait.
    fn judge(&self, asked: &libc::seccomp_notif) -> Option<c_int> {
        let number = c_long::from(asked.data.nr);
        let Some(call) = CALLS.iter().position(|call| call.number == number) else {
            return Some(0);
        };
        if number == libc::SYS_execve && self.programs.fetch_add(1, Ordering::SeqCst) > PROGRAMS {
            return Some(libc::EPERM);
        }
        if !(CALLS[call].concerns)(&asked.data.args) {
            return Some(0);
        }
        // SAFETY: takes nothing, and cannot fail.
        let this = unsafe { libc::getpid() };
        // SAFETY: takes numbers; without a signal it only looks whether there is such a thread of ours.
        let own = unsafe { libc::syscall(libc::SYS_tgkill, this, asked.pid, 0) } == 0;
        let side = if own { Side::Parent } else { Side::Worker };
        let refusal = self.refusal.lock().unwrap();
        if self.holds.lock().unwrap().take_if(|holds| *holds == (side, call)).is_some() {
            return None;
        }
        if !self.counts.load(Ordering::SeqCst) {
            return Some(0);
        }
        let nth = self.seen[side as usize][call].fetch_add(1, Ordering::SeqCst);
        match *refusal {
            Some(refusal)
                if refusal.side == side
                    && refusal.call == call
                    && refusal.nth.is_none_or(|own| own == nth) =>
            {
                self.refused.fetch_add(1, Ordering::SeqCst);
                Some(refusal.error)
            }
            _ => Some(0),
        }
    }
}

/// Has the kernel ask about these calls; gives where it asks.
fn filter() -> Result<OwnedFd, std::io::Error> {
    let step = |code: u32, yes, no, value| libc::sock_filter {
        code: code.try_into().expect("16 bits"),
        jt: yes,
        jf: no,
        k: value,
    };
    let give_back = |what| step(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    // The number of the call comes first in what a filter sees.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (call, left) in CALLS.iter().zip((1..=COUNT).rev()) {
        let number = u32::try_from(call.number).expect("a number of a call");
        let to_the_end = u8::try_from(left).expect("not so many");
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_the_end, 0, number));
    }
    program.push(give_back(libc::SECCOMP_RET_ALLOW));
    program.push(give_back(libc::SECCOMP_RET_USER_NOTIF));
    let len = program.len().try_into().expect("short");
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    let failed =
        |result: c_long| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
    // SAFETY: takes numbers.
    failed(c_long::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }))?;
    let (mode, flags) =
        (c_ulong::from(libc::SECCOMP_SET_MODE_FILTER), libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program lives until the kernel has copied it.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    let listener = failed(listener)?.try_into().expect("a descriptor");
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(listener) })
}
