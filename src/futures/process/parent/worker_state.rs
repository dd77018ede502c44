//! The life of one worker as a state machine: transitions only; no process, lock or clock.
//!
//! ```text
//!            start          ready          dispatch
//!    EMPTY ────────► STARTING ────► IDLE ◄──────────► BUSY
//!      ▲                │            │      answer      │
//!      │                │            ▼ retire           │ kill
//!      │                │         DRAINING              ▼
//!      │ clear          │            │               KILLING
//!      └──── EXITED ◄───┴────────────┴─────── exited ───┘
//! ```
//!
//! The channel of a worker keeps the order, and the worker runs one call at a time. It has begun the first
//! few of the calls in flight, and has answered all of those but the last. After its death the calls that it
//! has begun are in doubt; the others were never started and go back to the queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::futures::process::channel::shared_page::MAX_DEPTH;

/// Calls in flight keep a worker busy for about this long: long enough to cover a round trip, short enough
/// not to matter when another worker is free.
const AHEAD: Duration = Duration::from_micros(200);

/// How long a worker may collect answers: a few times what it takes to wake the thread that reads them.
const COLLECT: Duration = Duration::from_micros(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerPhase {
    /// No process.
    Empty,
    /// A process that is not ready yet.
    Starting,
    /// Ready, nothing to do.
    Idle,
    /// Calls are in flight.
    Busy,
    /// Told to end; no call is in flight.
    Draining,
    /// A signal to end it was sent.
    Killing(Reason),
    /// The process has ended, and its place is not free yet.
    Exited,
}

/// Why a worker was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its call ran out of time.
    Deadline,
    /// The caller asked for it.
    Asked,
    /// The pool ends or is broken.
    Stop,
    /// It broke the protocol of the channel, or left it.
    ProtocolViolation(&'static str),
}

#[derive(Debug)]
struct InFlight<C> {
    seq: u64,
    /// `None` if it was taken back; the worker will answer that it was skipped.
    call: Option<C>,
    bytes: usize,
}

/// The state that a worker leaves behind.
#[derive(Debug)]
pub(crate) struct Aftermath<C> {
    /// Why it was killed, if it was.
    pub(crate) reason: Option<Reason>,
    /// Whether it was ready before.
    pub(crate) was_ready: bool,
    /// Whether it was told to end, so that its end is no death.
    pub(crate) was_draining: bool,
    /// Calls that it has begun and not answered, in order. More than one only if answers were lost.
    pub(crate) in_doubt: Vec<C>,
    /// Calls that it never began, in order.
    pub(crate) unstarted: Vec<C>,
}

/// One worker's place in the pool; `C` is a call.
#[derive(Debug)]
pub(crate) struct WorkerState<C> {
    phase: WorkerPhase,
    was_ready: bool,
    flights: VecDeque<InFlight<C>>,
    bytes: usize,
    next_seq: u64,
    /// Calls that this process may still be given; `None` for no limit.
    allowance: Option<usize>,
    /// When the first call in flight could have begun.
    head_since: Option<Instant>,
    /// The average time of recent calls; `None` before the first.
    service: Option<Duration>,
}

/// An answer to a call that is not the next one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

impl<C> WorkerState<C> {
    pub(crate) fn new() -> Self {
        Self {
            phase: WorkerPhase::Empty,
            was_ready: false,
            flights: VecDeque::new(),
            bytes: 0,
            next_seq: 1,
            allowance: None,
            head_since: None,
            service: None,
        }
    }

    pub(crate) fn phase(&self) -> WorkerPhase {
        self.phase
    }

    /// Whether there is a process, or soon will be.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.phase, WorkerPhase::Empty | WorkerPhase::Exited)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Bytes of the frames in flight.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// EMPTY to STARTING; `allowance` is the number of calls that the process may be given in its life.
    pub(crate) fn start(&mut self, allowance: Option<usize>) {
        debug_assert_eq!(self.phase, WorkerPhase::Empty);
        self.phase = WorkerPhase::Starting;
        self.was_ready = false;
        self.allowance = allowance;
        self.check();
    }

    /// STARTING to IDLE; false if it is being killed.
    pub(crate) fn ready(&mut self) -> bool {
        let starting = self.phase == WorkerPhase::Starting;
        if starting {
            self.phase = WorkerPhase::Idle;
            self.was_ready = true;
        }
        self.check();
        starting
    }

    /// The number of further calls that it can be given, with at most `depth` in flight; without a depth, as
    /// many as the average time of a call allows.
    pub(crate) fn room(&self, depth: Option<usize>) -> usize {
        if !matches!(self.phase, WorkerPhase::Idle | WorkerPhase::Busy) {
            return 0;
        }
        let depth = depth.unwrap_or_else(|| self.depth()).min(MAX_DEPTH);
        let room = depth.saturating_sub(self.flights.len());
        self.allowance.map_or(room, |allowance| room.min(allowance))
    }

    fn depth(&self) -> usize {
        let Some(service) = self.service else { return 1 };
        let depth = AHEAD.as_nanos() / service.as_nanos().max(1);
        usize::try_from(depth).unwrap_or(MAX_DEPTH).clamp(1, MAX_DEPTH)
    }

    /// The number of the next call.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Puts a call in flight, in a frame of `bytes`. There must be room.
    pub(crate) fn dispatch(&mut self, call: C, bytes: usize, now: Instant) {
        debug_assert!(matches!(self.phase, WorkerPhase::Idle | WorkerPhase::Busy));
        if self.flights.is_empty() {
            self.head_since = Some(now);
        }
        self.flights.push_back(InFlight { seq: self.next_seq, call: Some(call), bytes });
        self.bytes += bytes;
        self.next_seq += 1;
        if let Some(allowance) = &mut self.allowance {
            *allowance = allowance.saturating_sub(1);
        }
        self.phase = WorkerPhase::Busy;
        self.check();
    }

    /// The answer to a call came; returns the call unless it was taken back.
    pub(crate) fn answer(&mut self, seq: u64) -> Result<Option<C>, OutOfOrder> {
        match self.flights.front() {
            Some(flight) if flight.seq == seq => {}
            _ => return Err(OutOfOrder),
        }
        let flight = self.flights.pop_front().ok_or(OutOfOrder)?;
        self.bytes -= flight.bytes;
        if self.flights.is_empty() && self.phase == WorkerPhase::Busy {
            self.phase = WorkerPhase::Idle;
        }
        self.check();
        Ok(flight.call)
    }

    /// The call that was answered last did not run: it does not count against the allowance.
    pub(crate) fn skipped(&mut self) {
        if let Some(allowance) = &mut self.allowance {
            *allowance += 1;
        }
    }

    /// Notes that `count` answers came just now, for the average and for the next call's start.
    pub(crate) fn answered(&mut self, count: usize, now: Instant) {
        if let (Some(since), Ok(count)) = (self.head_since, u32::try_from(count.max(1))) {
            let each = now.saturating_duration_since(since) / count;
            self.service = Some(self.service.map_or(each, |old| (old * 3 + each) / 4));
        }
        self.head_since = (!self.flights.is_empty()).then_some(now);
    }

    /// The number of replies that the worker may collect before it wakes the reader: at most half of the calls
    /// in flight, so that it does not run out of them, and no more than take [`COLLECT`].
    pub(crate) fn coalesce_limit(&self) -> u32 {
        let Some(service) = self.service else { return 0 };
        let soon = COLLECT.as_nanos() / service.as_nanos().max(1);
        let half = self.flights.len() as u128 / 2;
        u32::try_from(soon.min(half)).expect("at most MAX_DEPTH / 2")
    }

    /// The call that can be running, and when it could have begun.
    pub(crate) fn head(&self) -> Option<(&C, Instant)> {
        let call = self.flights.front()?.call.as_ref()?;
        Some((call, self.head_since?))
    }

    /// The number of the call whose answer comes next, and when it could have begun.
    pub(crate) fn owed(&self) -> Option<(u64, Instant)> {
        let flight = self.flights.front().filter(|_| self.phase == WorkerPhase::Busy)?;
        Some((flight.seq, self.head_since?))
    }

    /// The only call in flight, if it is likely to end soon.
    pub(crate) fn brief(&self) -> Option<&C> {
        let alone = self.phase == WorkerPhase::Busy && self.flights.len() == 1;
        let brief = self.service.is_some_and(|service| service <= AHEAD);
        self.flights.front().filter(|_| alone && brief)?.call.as_ref()
    }

    /// The calls in flight, with their numbers.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (u64, &C)> {
        self.flights.iter().filter_map(|flight| Some((flight.seq, flight.call.as_ref()?)))
    }

    /// The position of a call among those in flight.
    pub(crate) fn position(&self, is_it: impl Fn(&C) -> bool) -> Option<usize> {
        self.flights.iter().position(|flight| flight.call.as_ref().is_some_and(&is_it))
    }

    /// Takes back the calls behind the first `keep`, if `revoke` succeeds; they were never started.
    ///
    /// Gives `None` for a call that could not be taken back: those before it have ended then, and it runs or
    /// has ended as well.
    pub(crate) fn take_back(
        &mut self,
        keep: usize,
        revoke: impl Fn(u64) -> bool,
    ) -> Vec<Option<C>> {
        let behind = self.flights.iter_mut().skip(keep);
        behind
            .filter(|flight| flight.call.is_some())
            .map(|flight| if revoke(flight.seq) { flight.call.take() } else { None })
            .collect()
    }

    /// Gives the worker no further calls if all that it has are over; returns whether they are.
    pub(crate) fn retire(&mut self, is_over: impl Fn(&C) -> bool) -> bool {
        let ready = matches!(self.phase, WorkerPhase::Idle | WorkerPhase::Busy);
        let idle = ready && self.calls().all(|(_, call)| is_over(call));
        if idle {
            self.phase = WorkerPhase::Draining;
        }
        self.check();
        idle
    }

    /// Whether it has reached its `max_tasks_per_child`.
    pub(crate) fn is_worn_out(&self) -> bool {
        self.allowance == Some(0)
    }

    /// Notes that it is being killed; false if there is no process, or it is being killed already.
    pub(crate) fn kill(&mut self, reason: Reason) -> bool {
        let alive = self.is_alive() && !matches!(self.phase, WorkerPhase::Killing(_));
        if alive {
            self.phase = WorkerPhase::Killing(reason);
        }
        self.check();
        alive
    }

    /// Takes all calls in flight, for a pool that fails them at once.
    pub(crate) fn give_up(&mut self) -> Vec<C> {
        let calls = self.flights.iter_mut().filter_map(|flight| flight.call.take()).collect();
        self.check();
        calls
    }

    /// The process has ended. `begun` tells whether it had begun the call with a given number.
    ///
    /// A call for which it was killed is in doubt even if it had not begun it: its caller wants it to end.
    pub(crate) fn exited(&mut self, begun: impl Fn(u64) -> bool) -> Aftermath<C> {
        let reason = match self.phase {
            WorkerPhase::Killing(reason) => Some(reason),
            _ => None,
        };
        let was_draining = self.phase == WorkerPhase::Draining;
        let mut in_doubt = Vec::new();
        let mut unstarted = Vec::new();
        for (index, flight) in self.flights.drain(..).enumerate() {
            let Some(call) = flight.call else { continue };
            if index == 0 && reason == Some(Reason::Asked) || begun(flight.seq) {
                in_doubt.push(call);
            } else {
                unstarted.push(call);
            }
        }
        let was_ready = self.was_ready;
        *self = Self { phase: WorkerPhase::Exited, next_seq: self.next_seq, ..Self::new() };
        self.check();
        Aftermath { reason, was_ready, was_draining, in_doubt, unstarted }
    }

    /// EXITED to EMPTY.
    pub(crate) fn clear(&mut self) {
        debug_assert_eq!(self.phase, WorkerPhase::Exited);
        self.phase = WorkerPhase::Empty;
    }

    fn check(&self) {
        let busy = !self.flights.is_empty();
        match self.phase {
            WorkerPhase::Empty
            | WorkerPhase::Starting
            | WorkerPhase::Idle
            | WorkerPhase::Exited => {
                debug_assert!(!busy);
            }
            WorkerPhase::Busy => debug_assert!(busy),
            WorkerPhase::Draining | WorkerPhase::Killing(_) => {}
        }
        debug_assert_eq!(self.bytes, self.flights.iter().map(|f| f.bytes).sum::<usize>());
        debug_assert!(self.flights.len() <= MAX_DEPTH);
    }
}

#[cfg(test)]
mod tests;
