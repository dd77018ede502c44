//! The shared page (streams, claims, last message) and the inquiries, while stray writes change the page.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};

use super::sockets;
use crate::futures::process::channel::flow::Overrun;
use crate::futures::process::channel::inquiry::{Asker, RunningId, Standing, answer};
use crate::futures::process::channel::ring::{CAPACITY, RingBuffer};
use crate::futures::process::channel::shared_page::SharedPage;

/// Reads orders from bytes; zeros follow the last byte.
struct Orders<'a>(&'a [u8]);

impl<'a> Orders<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn number(&mut self) -> u32 {
        self.take(4).iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// One of the two streams, and its contents.
#[derive(Default)]
struct Stream {
    unread: VecDeque<u8>,
    read: u32,
    written: u32,
}

impl Stream {
    /// `honest` while no stray write has changed the page.
    fn write(&mut self, ring: RingBuffer<'_>, bytes: &[u8], honest: bool) {
        let written = ring.try_write(bytes, || Ok(()));
        if honest {
            let fits = self.unread.len() + bytes.len() <= CAPACITY as usize;
            assert_eq!(written, Ok(fits));
        }
        if written == Ok(true) {
            self.unread.extend(bytes);
            self.written = self.written.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
        }
        assert_eq!(ring.written(), self.written, "its own position is its own");
    }

    fn read(&mut self, ring: RingBuffer<'_>, count: usize, honest: bool) {
        let mut bytes = vec![0; count];
        let read = ring.read(&mut bytes);
        if honest {
            let expected: Vec<u8> = self.unread.drain(..count.min(self.unread.len())).collect();
            assert_eq!(read, Ok(expected.len()));
            assert!(bytes.starts_with(&expected));
        }
        match read {
            Ok(read) => {
                assert!(read <= count.min(CAPACITY as usize));
                self.read = self.read.wrapping_add(u32::try_from(read).unwrap_or(0));
            }
            Err(Overrun) => assert!(!honest),
        }
        assert_eq!(ring.has_read(), self.read, "its own position is its own");
    }
}

/// Both sides of one channel, in this process.
struct Both {
    parent: SharedPage,
    worker: SharedPage,
    file: OwnedFd,
    requests: Stream,
    answers: Stream,
    /// Calls that were begun, and that were taken back.
    begun: BTreeSet<u64>,
    revoked: BTreeSet<u64>,
    honest: bool,
}

impl Both {
    fn new() -> rustix::io::Result<Self> {
        let (parent, file) = SharedPage::new()?;
        Ok(Self {
            parent,
            worker: SharedPage::open(file.as_fd())?,
            file,
            requests: Stream::default(),
            answers: Stream::default(),
            begun: BTreeSet::new(),
            revoked: BTreeSet::new(),
            honest: true,
        })
    }

    fn poke(&mut self, at: u32, bytes: &[u8]) {
        if let Ok(stat) = rustix::fs::fstat(&self.file) {
            self.honest = false;
            let _ =
                rustix::io::pwrite(&self.file, bytes, u64::from(at) % stat.st_size.unsigned_abs());
        }
    }

    fn claims(&mut self, seq: u64, what: u8) {
        match what % 4 {
            0 => {
                self.parent.offer(seq);
                // Calls that share its word are over.
                self.begun.clear();
                self.revoked.clear();
            }
            1 if self.worker.begin(seq) => drop(self.begun.insert(seq)),
            2 if self.parent.revoke(seq) => drop(self.revoked.insert(seq)),
            _ => {
                let [may, has] = [self.parent.may_have_begun(seq), self.parent.has_begun(seq)];
                assert!(!has || may);
            }
        }
        if self.honest {
            assert!(self.begun.is_disjoint(&self.revoked), "it runs twice");
            assert!(self.begun.iter().all(|seq| self.parent.may_have_begun(*seq)));
        }
    }
}

/// The inquiries of a parent over a socket, and the replies.
struct Questions {
    asker: Asker,
    socket: OwnedFd,
    running: RunningId,
    now: Instant,
}

impl Questions {
    fn new() -> rustix::io::Result<Self> {
        let (own, socket) = sockets()?;
        let asker = Asker::new(own);
        Ok(Self { asker, socket, running: RunningId::default(), now: Instant::now() })
    }

    fn order(&mut self, both: &Both, orders: &mut Orders<'_>) {
        let what = orders.byte();
        match what % 4 {
            0 => {
                let owed = u64::from(orders.byte());
                let (read, cut) = (both.parent.answers().has_read(), what & 4 != 0);
                self.now += Duration::from_millis(u64::from(orders.byte()) * 10);
                let since = (owed > 0).then_some(self.now);
                let _ = self.asker.due(since);
                let _ = self.asker.assess(Standing { owed, read, cut }, self.now);
                let _ = self.asker.next();
            }
            1 => self.running.set(u64::from(orders.byte())),
            2 => {
                let count = orders.byte();
                let _ = send(&self.socket, orders.take(count.into()), SendFlags::DONTWAIT);
            }
            _ => drop(answer(self.socket.as_fd(), &both.worker, &self.running)),
        }
    }
}

/// The page, used correctly and changed by stray writes in turn.
pub fn page(input: &[u8]) {
    let mut orders = Orders(input);
    let (Ok(mut both), Ok(mut questions)) = (Both::new(), Questions::new()) else { return };
    while !orders.0.is_empty() {
        let order = orders.byte();
        let count = usize::try_from(orders.number() % (CAPACITY + 9)).unwrap_or(0);
        let honest = both.honest;
        let bytes = |orders: &mut Orders<'_>| {
            let some = orders.take(usize::from(order >> 4) + 1);
            some.iter().copied().cycle().take(if some.is_empty() { 0 } else { count }).collect()
        };
        match order % 12 {
            0 => {
                let bytes: Vec<u8> = bytes(&mut orders);
                both.requests.write(both.parent.requests(), &bytes, honest);
            }
            1 => both.requests.read(both.worker.requests(), count, honest),
            2 => {
                let bytes: Vec<u8> = bytes(&mut orders);
                both.answers.write(both.worker.answers(), &bytes, honest);
            }
            3 => both.answers.read(both.parent.answers(), count, honest),
            4 => both.claims(count as u64, orders.byte()),
            5 => {
                let at = orders.number();
                let len = usize::from(orders.byte());
                both.poke(at, orders.take(len));
            }
            6 => drop(both.parent.answers().arm_bell(orders.number())),
            7 => both.parent.answers().reader_is_awake(),
            8 => both.parent.answers().repeat(),
            9 => {
                let words = String::from_utf8_lossy(orders.take(count % 300));
                both.worker.say(&words);
                if honest {
                    assert_eq!(both.parent.panic_message().unwrap_or_default(), words);
                }
            }
            10 => drop(both.parent.panic_message()),
            _ => questions.order(&both, &mut orders),
        }
    }
}
