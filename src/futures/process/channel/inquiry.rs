//! Inquiries: the parent asks a worker that has owed it an answer for long what it is doing.
//!
//! User code in a worker can overwrite the shared memory of the channel by mistake. A frame or a wake-up may
//! be lost then, and each side waits for the other. So the parent asks, over a socket for this purpose, and a
//! thread of the worker replies from private memory, whatever the worker does. Only replies count: a stopped
//! worker does not reply, and is left alone. A worker whose replies contradict twice in a row what the parent
//! knows is ended.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::shared_page::SharedPage;

/// How long a worker may owe an answer before it is asked, and before it is asked again.
const ASK_AFTER: Duration = Duration::from_millis(500);

/// When it is asked again after a contradiction.
const DOUBT: Duration = Duration::from_millis(250);

/// The number of contradictions in a row after which the worker is ended.
const STRIKES: u32 = 2;

/// The most replies that are read at a time; there is one question at a time.
const REPLIES: usize = 8;

/// The call that a worker runs; 0 for none.
#[derive(Debug, Default)]
pub(crate) struct RunningId(AtomicU64);

impl RunningId {
    pub(crate) fn set(&self, seq: u64) {
        self.0.store(seq, Ordering::Relaxed); // ORDERING: a number by itself
    }
}

/// A worker's reply to an inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// The number of the question.
    number: u64,
    /// The call that it runs.
    running: u64,
    /// The number of bytes of answers that it has written, modulo 2^32.
    written: u32,
}

impl Account {
    const BYTES: usize = 20;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.number.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.running.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.written.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (running, rest) = rest.split_first_chunk()?;
        Some(Self {
            number: u64::from_ne_bytes(*number),
            running: u64::from_ne_bytes(*running),
            written: u32::from_ne_bytes(rest.try_into().ok()?),
        })
    }
}

/// In the worker: answers the questions that have come. An error if no more can come.
pub(crate) fn answer(socket: BorrowedFd<'_>, page: &SharedPage, running: &RunningId) -> Result<()> {
    loop {
        let mut question = [0; 8];
        match recv(socket, &mut question, RecvFlags::DONTWAIT) {
            Ok((_, 8)) => {}
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => return Ok(()),
            Ok(_) => return Err(Errno::PIPE),
            Err(error) => return Err(error),
        }
        let account = Account {
            number: u64::from_ne_bytes(question),
            running: running.0.load(Ordering::Relaxed), // ORDERING: a number by itself
            written: page.answers().written(),
        };
        // If there is no room, the parent does not read replies.
        let _ = send(socket, &account.to_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// The parent's view of a worker that owes it an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The call whose answer comes next.
    pub(crate) owed: u64,
    /// The number of bytes of answers that were read, modulo 2^32.
    pub(crate) read: u32,
    /// Whether they end in the middle of a frame.
    pub(crate) cut: bool,
}

impl Standing {
    /// Whether a worker with this reply will answer its call.
    fn fits(&self, account: Account) -> bool {
        account.running == self.owed && account.written == self.read && !self.cut
    }
}

/// The parent's next action with a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    Wait,
    /// Wakes it, since a wake-up may be lost.
    Ring,
    End,
}

/// In the parent: asks one worker and assesses its replies. No clock.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: OwnedFd,
    /// The parent's view at the last question, if that was sent.
    asked: Option<Standing>,
    number: u64,
    strikes: u32,
    /// When to ask next.
    due: Option<Instant>,
}

impl Asker {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, asked: None, number: 0, strikes: 0, due: None }
    }

    /// When to assess a worker that has owed an answer since the given time; `None` if it owes none.
    pub(crate) fn due(&mut self, owes_since: Option<Instant>) -> Option<Instant> {
        let Some(since) = owes_since else {
            (self.due, self.strikes) = (None, 0);
            return None;
        };
        let first = since.checked_add(ASK_AFTER)?;
        let due = self.due.map_or(first, |due| due.max(first));
        self.due = Some(due);
        Some(due)
    }

    /// The same as of the last question.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// At that time, after everything that the worker has written was read: assesses it, and asks again.
    pub(crate) fn assess(&mut self, standing: Standing, now: Instant) -> Suspicion {
        let said = self.hear();
        let same = self.asked == Some(standing);
        match said {
            // It has made progress, or the question was about another state.
            _ if !same => self.strikes = 0,
            Some(account) if standing.fits(account) => self.strikes = 0,
            Some(_) => self.strikes += 1,
            None => {
                self.due = now.checked_add(ASK_AFTER);
                return Suspicion::Wait;
            }
        }
        if self.strikes >= STRIKES {
            return Suspicion::End;
        }
        self.ask(standing);
        let (wait, verdict) = match self.strikes {
            0 => (ASK_AFTER, Suspicion::Wait),
            _ => (DOUBT, Suspicion::Ring),
        };
        self.due = now.checked_add(wait);
        verdict
    }

    fn ask(&mut self, standing: Standing) {
        self.number += 1;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = send(&self.socket, &self.number.to_ne_bytes(), flags);
        // A worker that does not read its questions does not reply.
        self.asked = sent.is_ok().then_some(standing);
    }

    /// The reply to the last question.
    fn hear(&mut self) -> Option<Account> {
        let mut said = None;
        for _ in 0..REPLIES {
            let mut bytes = [0; Account::BYTES + 1];
            // Descriptors that come with it are not received, so the kernel closes them.
            match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(_) => break,
                Ok((_, len)) => {
                    let account = bytes.get(..len).and_then(Account::from_bytes);
                    said = account.filter(|account| account.number == self.number).or(said);
                }
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::AsFd;

    const STANDING: Standing = Standing { owed: 7, read: 0, cut: false };

    fn both() -> (Asker, OwnedFd, SharedPage, RunningId) {
        let (flags, kind) = (SocketFlags::CLOEXEC, SocketType::SEQPACKET);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None).unwrap();
        (Asker::new(ours), theirs, SharedPage::new().unwrap().0, RunningId::default())
    }

    #[test]
    fn a_worker_that_runs_its_call_is_let_be_and_one_that_waits_is_ended() {
        let (mut asker, theirs, page, running) = both();
        let now = Instant::now();
        let since = asker.due(Some(now)).unwrap();
        assert_eq!(since, now + ASK_AFTER);
        running.set(7);
        for _ in 0..5 {
            assert_eq!(asker.assess(STANDING, since), Suspicion::Wait);
            answer(theirs.as_fd(), &page, &running).unwrap();
        }
        assert_eq!(asker.due(Some(now)), Some(since + ASK_AFTER));
        running.set(0);
        assert_eq!(asker.assess(STANDING, since), Suspicion::Wait, "what it said fits");
        answer(theirs.as_fd(), &page, &running).unwrap();
        assert_eq!(asker.assess(STANDING, since), Suspicion::Ring);
        assert_eq!(asker.due(Some(now)), Some(since + DOUBT));
        answer(theirs.as_fd(), &page, &running).unwrap();
        assert_eq!(asker.assess(STANDING, since), Suspicion::End);
    }

    #[test]
    fn one_that_loses_its_mind_is_ended_within_two_seconds_whenever_that_is() {
        let begin = Instant::now(); // and all other times are counted from there
        for lost in (0..2500).step_by(20) {
            let (mut asker, theirs, page, running) = both();
            let lost = begin + Duration::from_millis(lost);
            running.set(7);
            let mut now = begin;
            loop {
                now = asker.due(Some(begin)).filter(|due| *due > now).expect("it is asked again");
                if now >= lost {
                    running.set(0);
                }
                if asker.assess(STANDING, now) == Suspicion::End {
                    break;
                }
                answer(theirs.as_fd(), &page, &running).unwrap();
            }
            assert!(now > lost && now <= lost + Duration::from_secs(2), "{:?}", now - lost);
        }
    }

    #[test]
    fn what_does_not_fit_counts_only_twice_in_a_row_and_without_progress() {
        let (mut asker, theirs, page, running) = both();
        let now = Instant::now();
        for round in 0..10 {
            let standing = Standing { read: round / 2, ..STANDING };
            assert_ne!(asker.assess(standing, now), Suspicion::End, "{round}");
            answer(theirs.as_fd(), &page, &running).unwrap();
        }
        assert_eq!(asker.assess(Standing { read: 4, ..STANDING }, now), Suspicion::End);
    }

    #[test]
    fn one_that_says_nothing_is_let_be() {
        let (mut asker, theirs, ..) = both();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(asker.assess(STANDING, now), Suspicion::Wait);
        }
        // It was asked once, so that nothing piles up.
        assert_eq!(recv(&theirs, &mut [0; 8][..], RecvFlags::DONTWAIT).unwrap().1, 8);
        assert!(recv(&theirs, &mut [0; 8][..], RecvFlags::DONTWAIT).is_err());
        assert_eq!(asker.due(None), None);
    }

    #[test]
    fn noise_is_no_answer() {
        let (mut asker, theirs, page, running) = both();
        let now = Instant::now();
        running.set(7);
        for round in 0..20_u64 {
            assert_eq!(asker.assess(STANDING, now), Suspicion::Wait);
            for len in [1, 19, 20, 21, 300] {
                let noise = vec![round as u8; len];
                send(&theirs, &noise, SendFlags::DONTWAIT).unwrap();
            }
            answer(theirs.as_fd(), &page, &running).unwrap();
        }
        drop(theirs);
        assert_eq!(asker.assess(STANDING, now), Suspicion::Wait);
    }

    #[test]
    fn half_a_frame_and_lost_bytes_do_not_fit() {
        let account = Account { number: 1, running: 7, written: 10 };
        assert_eq!(Account::from_bytes(&account.to_bytes()), Some(account));
        let standing = Standing { read: 10, ..STANDING };
        assert!(standing.fits(account));
        assert!(!Standing { cut: true, ..standing }.fits(account));
        assert!(!Standing { read: 9, ..standing }.fits(account));
        assert!(!Standing { owed: 8, ..standing }.fits(account));
    }
}
