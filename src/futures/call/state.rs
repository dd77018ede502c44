//! The state machine of a call: transitions only; no lock, no time, no value.
//!
//! ```text
//!                    start                finish
//!     PENDING ────────────────► RUNNING ─────────► FINISHED
//!        │                                            ▲
//!        ├────────────────────────────────────────────┘ claim + finish
//!        └────────► CANCELLED                             (a promise that never said "running")
//!          cancel
//! ```
//!
//! The whole state is one byte. The two lowest bits are the phase; FINISHED and CANCELLED are
//! terminal. The other bits:
//!
//! - `CLAIMED`: one thread has the sole right to write the outcome. Set in RUNNING.
//! - `WAITED`: the list of waiters may not be empty; the thread that ends the call must take the
//!   lock.
//! - `FAILED`: the outcome is an error. Set with FINISHED, never alone.
//! - `UNSETTLED`: the call has ended but its waiters are being notified; callbacks borrow the
//!   outcome, so that it may not be moved out yet.
//! - `SEEN`: a caller has received the error, so that it is not logged as lost.
//! - `TAKEN`: the outcome was moved out. Set by the owner of the only `Future`.

use std::fmt;

const PHASE: u8 = 0b11;
const PENDING: u8 = 0;
const RUNNING: u8 = 1;
const FINISHED: u8 = 2;
const CANCELLED: u8 = 3;

const CLAIMED: u8 = 1 << 2;
const WAITED: u8 = 1 << 3;
const FAILED: u8 = 1 << 4;
const UNSETTLED: u8 = 1 << 5;
const SEEN: u8 = 1 << 6;
const TAKEN: u8 = 1 << 7;

/// The states that a user can distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    Running,
    Finished,
    Cancelled,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        })
    }
}

/// One value of the state byte. A transition that is not allowed returns `None`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(pub(crate) u8);

impl State {
    pub(crate) const NEW: Self = Self(PENDING);
    pub(crate) const WAITED: u8 = WAITED;
    pub(crate) const SETTLED_MASK: u8 = !UNSETTLED;
    pub(crate) const SEEN: u8 = SEEN;
    pub(crate) const TAKEN: u8 = TAKEN;

    pub(crate) fn phase(self) -> Phase {
        match self.0 & PHASE {
            PENDING => Phase::Pending,
            RUNNING => Phase::Running,
            FINISHED => Phase::Finished,
            _ => Phase::Cancelled,
        }
    }

    pub(crate) fn is_done(self) -> bool {
        self.0 & PHASE >= FINISHED
    }

    /// A thread is about to end the call.
    pub(crate) fn is_claimed(self) -> bool {
        self.0 & CLAIMED != 0
    }

    pub(crate) fn is_finished(self) -> bool {
        self.0 & PHASE == FINISHED
    }

    pub(crate) fn is_settled(self) -> bool {
        self.is_done() && self.0 & UNSETTLED == 0
    }

    pub(crate) fn is_waited(self) -> bool {
        self.0 & WAITED != 0
    }

    pub(crate) fn is_failed(self) -> bool {
        self.0 & FAILED != 0
    }

    pub(crate) fn is_taken(self) -> bool {
        self.0 & TAKEN != 0
    }

    /// Failed, and no caller has received the error.
    pub(crate) fn is_lost_failure(self) -> bool {
        self.is_failed() && self.0 & (SEEN | TAKEN) == 0
    }

    /// PENDING to RUNNING.
    pub(crate) fn start(self) -> Option<Self> {
        (self.phase() == Phase::Pending).then_some(Self(self.0 | RUNNING))
    }

    /// Takes the sole right to write the outcome, starting the call if need be.
    pub(crate) fn claim(self) -> Option<Self> {
        (!self.is_done() && self.0 & CLAIMED == 0).then_some(Self(self.0 | RUNNING | CLAIMED))
    }

    /// PENDING to RUNNING, with the right to write the outcome.
    pub(crate) fn start_and_claim(self) -> Option<Self> {
        (self.phase() == Phase::Pending).then_some(Self(self.0 | RUNNING | CLAIMED))
    }

    /// RUNNING to FINISHED, by the owner of the claim.
    pub(crate) fn finish(self, failed: bool) -> Self {
        let kept = self.0 & WAITED;
        let failed = if failed { FAILED } else { 0 };
        Self(FINISHED | kept | failed | Self::unsettled(kept))
    }

    /// PENDING to CANCELLED.
    pub(crate) fn cancel(self) -> Option<Self> {
        let kept = self.0 & WAITED;
        (self.phase() == Phase::Pending).then_some(Self(CANCELLED | kept | Self::unsettled(kept)))
    }

    fn unsettled(waited: u8) -> u8 {
        if waited == 0 { 0 } else { UNSETTLED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state that the transitions can reach from NEW.
    fn reachable() -> Vec<State> {
        let mut found = vec![State::NEW];
        let mut next = 0;
        while let Some(&state) = found.get(next) {
            next += 1;
            let claimed = state.is_claimed();
            let steps = [
                state.start(),
                state.claim(),
                state.start_and_claim(),
                claimed.then(|| state.finish(false)),
                claimed.then(|| state.finish(true)),
                state.cancel(),
                (!state.is_done()).then_some(State(state.0 | WAITED)),
                state.is_done().then_some(State(state.0 & State::SETTLED_MASK)),
                state.is_failed().then_some(State(state.0 | SEEN)),
                state.is_settled().then_some(State(state.0 | TAKEN)),
            ];
            for step in steps.into_iter().flatten() {
                if !found.contains(&step) {
                    found.push(step);
                }
            }
        }
        found
    }

    #[test]
    fn a_call_is_claimed_from_its_claim_to_its_end() {
        let claimed = [State::NEW.claim(), State::NEW.start_and_claim()];
        for state in claimed.map(|state| state.expect("it is pending")) {
            assert!(state.is_claimed() && !state.finish(false).is_claimed());
        }
        let started = State::NEW.start().expect("it is pending");
        assert!(!started.is_claimed() && !State::NEW.is_claimed());
        assert!(started.claim().is_some_and(State::is_claimed));
        assert!(reachable().into_iter().any(State::is_finished));
    }

    // F5, F6, F7
    #[test]
    fn a_done_state_never_leaves_its_phase() {
        for state in reachable().into_iter().filter(|state| state.is_done()) {
            assert!(state.start().is_none());
            assert!(state.claim().is_none());
            assert!(state.start_and_claim().is_none());
            assert!(state.cancel().is_none());
        }
    }

    // F11, F13
    #[test]
    fn only_a_pending_call_can_be_cancelled_or_started() {
        for state in reachable() {
            let pending = state.phase() == Phase::Pending;
            assert_eq!(state.cancel().is_some(), pending);
            assert_eq!(state.start().is_some(), pending);
            assert_eq!(state.start_and_claim().is_some(), pending);
        }
    }

    #[test]
    fn the_bits_keep_their_promises() {
        for state in reachable() {
            let claimed = state.is_claimed();
            assert!(!claimed || state.phase() == Phase::Running, "claimed only while running");
            assert!(!claimed || state.claim().is_none(), "one claim");
            assert!(!state.is_failed() || state.is_finished(), "failed only when finished");
            assert!(state.0 & UNSETTLED == 0 || state.is_done(), "unsettled only when done");
            assert!(!state.is_taken() || state.is_settled(), "taken only when settled");
        }
    }

    #[test]
    fn ending_a_waited_call_leaves_it_unsettled_and_an_unwaited_one_settled() {
        for state in reachable() {
            for end in [state.cancel(), state.claim().map(|claimed| claimed.finish(true))] {
                let Some(end) = end else { continue };
                assert!(end.is_done());
                assert_eq!(end.is_settled(), !state.is_waited());
                assert_eq!(end.is_waited(), state.is_waited());
            }
        }
    }
}
