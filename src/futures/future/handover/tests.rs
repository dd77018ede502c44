//! One thread as the timer; under loom every interleaving.

use std::sync::Arc;

use super::{Handover, Progress};
use crate::sync::outcomes::{EVERY_INTERLEAVING, outcomes};
use crate::sync::{Condvar, JoinHandle, Mutex, spawn, wait_until, yield_now};

/// The things that are handed to the threads.
enum Piece {
    Notes(u8),
    /// Blocks until the other was noted.
    WaitsFor(u8, u8),
    /// Has the thread that takes it end, so that the model does.
    Leave,
}

#[derive(Default)]
struct Notes {
    noted: Mutex<Vec<u8>>,
    more: Condvar,
}

impl Notes {
    fn add(&self, note: u8) {
        self.noted.lock().push(note);
        self.more.notify_all();
    }

    fn wait_for(&self, note: u8) {
        let mut noted = self.noted.lock();
        while !noted.contains(&note) {
            wait_until(&self.more, &mut noted, None);
        }
    }
}

struct Timer {
    handover: Arc<Handover<Piece>>,
    notes: Arc<Notes>,
    threads: Vec<JoinHandle<()>>,
}

impl Timer {
    fn new() -> Self {
        let handover = Arc::new(Handover::new());
        let mut timer = Self { handover, notes: Arc::default(), threads: Vec::new() };
        assert!(timer.handover.wants_first_thread() && !timer.handover.wants_first_thread());
        timer.start_thread();
        timer
    }

    fn start_thread(&mut self) {
        let (handover, notes) = (Arc::clone(&self.handover), Arc::clone(&self.notes));
        let serve = move || {
            let mut next = handover.first();
            while let Some(piece) = next {
                match piece {
                    Piece::Notes(note) => notes.add(note),
                    Piece::WaitsFor(other, note) => {
                        notes.wait_for(other);
                        notes.add(note);
                    }
                    Piece::Leave => return,
                }
                next = handover.next();
            }
        };
        self.threads.push(spawn("server".into(), None, serve).expect("there are threads"));
    }

    /// Hands over, and looks until nothing is left.
    fn hand_over(&mut self, pieces: Vec<Piece>) {
        if self.handover.put(pieces) {
            self.check();
        }
    }

    fn check(&mut self) {
        loop {
            match self.handover.check() {
                Progress::Idle => return,
                Progress::Busy => yield_now(),
                Progress::Stalled => self.start_thread(),
            }
        }
    }

    /// Returns when a thread is asleep: all are, if there is one.
    fn rest(&self) {
        while self.handover.state.lock().free == 0 {
            yield_now();
        }
    }

    /// Ends the threads, and gives what was noted and how many they were.
    fn end(mut self) -> (Vec<u8>, usize) {
        let count = self.threads.len();
        let leave = (0..count).map(|_| Piece::Leave).collect();
        let _ = self.handover.put(leave);
        self.threads.drain(..).for_each(|thread| thread.join().expect("nothing panics"));
        (std::mem::take(&mut *self.notes.noted.lock()), count)
    }
}

/// Three forced switches: one takes the timer away between what it saw and what it does about it,
/// two take each thread away between its last piece and its sleep. That is a second; with twice as
/// many the model of three pieces takes minutes.
const BOUND: Option<usize> = Some(3);

#[test]
fn model_a_piece_that_waits_for_a_later_one_gets_it_run() {
    let met = outcomes(BOUND, || {
        let mut timer = Timer::new();
        timer.hand_over(vec![Piece::WaitsFor(2, 1)]);
        timer.hand_over(vec![Piece::Notes(2)]);
        timer.end()
    });
    assert!(met.iter().all(|(notes, threads)| *notes == [2, 1] && *threads == 2));
}

#[test]
fn model_pieces_handed_over_at_once_may_wait_for_each_other() {
    let met = outcomes(BOUND, || {
        let mut timer = Timer::new();
        timer.hand_over(vec![Piece::WaitsFor(2, 1), Piece::Notes(2)]);
        timer.end()
    });
    assert!(met.iter().all(|(notes, threads)| *notes == [2, 1] && *threads == 2));
}

#[test]
fn model_what_does_not_block_is_run_in_order_by_few() {
    let met = outcomes(BOUND, || {
        let mut timer = Timer::new();
        timer.hand_over(vec![Piece::Notes(1)]);
        timer.hand_over(vec![Piece::Notes(2)]);
        let (mut notes, threads) = timer.end();
        notes.sort_unstable();
        (notes, threads)
    });
    assert!(met.iter().all(|(notes, _)| *notes == [1, 2]));
    assert!(!EVERY_INTERLEAVING || met.iter().any(|(_, threads)| *threads == 1));
}

/// A thread more than is needed ends, and what comes later is run.
#[test]
fn model_a_thread_that_finds_another_one_free_ends() {
    let met = outcomes(BOUND, || {
        let mut timer = Timer::new();
        timer.hand_over(vec![Piece::WaitsFor(2, 1)]);
        timer.hand_over(vec![Piece::Notes(2)]);
        timer.notes.wait_for(1);
        timer.hand_over(vec![Piece::Notes(3)]);
        timer.notes.wait_for(3);
        let handover = Arc::clone(&timer.handover);
        let threads = timer.threads.len();
        timer.end();
        let ended = threads - handover.state.lock().threads;
        (ended, threads)
    });
    assert!(met.iter().all(|(ended, threads)| ended < threads), "one of them always stays");
    assert!(!EVERY_INTERLEAVING || met.contains(&(1, 2)), "one of two found the other free");
}

/// The thread that is woken is late, but it comes: a check in between starts no other. That is for
/// what the first one leaves.
#[test]
fn model_pieces_given_to_a_free_thread_may_wait_for_each_other() {
    let met = outcomes(BOUND, || {
        let mut timer = Timer::new();
        timer.rest();
        let pieces = vec![Piece::WaitsFor(2, 1), Piece::Notes(2)];
        assert!(timer.handover.put(pieces), "one thread is not enough for both");
        assert_ne!(timer.handover.check(), Progress::Stalled, "it was free a moment ago");
        timer.check();
        timer.end()
    });
    assert!(met.iter().all(|(notes, threads)| *notes == [2, 1] && *threads == 2));
}

#[cfg(not(concurrent_loom))]
#[test]
fn a_thread_that_cannot_be_started_counts_no_more() {
    let handover = Handover::new();
    assert!(handover.wants_first_thread());
    handover.thread_failed_to_start();
    assert!(handover.wants_first_thread(), "there is none");
    assert!(handover.put(vec![1, 2]));
    assert_eq!(handover.first(), Some(1));
    assert_eq!(handover.check(), Progress::Busy);
    // It blocks, and no other one is to be had for a while.
    for _ in 0..3 {
        assert_eq!(handover.check(), Progress::Stalled);
        handover.thread_failed_to_start();
    }
    assert_eq!(handover.check(), Progress::Stalled);
    assert_eq!(handover.check(), Progress::Busy, "one is coming");
    assert_eq!(handover.first(), Some(2));
    assert_eq!(handover.check(), Progress::Idle);
}
