//! [`DispatchedActions`]: how many actions were dispatched and have not ended.
//!
//! Pure: no clock, no lock, no thread but the names of some.

use std::collections::BTreeMap;

use crate::sync::{ThreadId, current_thread};

#[derive(Debug, Default)]
pub(crate) struct DispatchedActions {
    /// How many were dispatched between one `stop` and the next, by how many those were before. None
    /// is zero.
    count: BTreeMap<u64, usize>,
    /// The threads that are running one. A wait in one of them does not wait for these to end, because
    /// it would wait for itself.
    inside: Vec<ThreadId>,
}

impl DispatchedActions {
    /// One begins, after so many stops.
    pub(crate) fn begin(&mut self, stops: u64) {
        *self.count.entry(stops).or_default() += 1;
    }

    /// One that began then has ended.
    pub(crate) fn end(&mut self, stops: u64) {
        if let Some(count) = self.count.get_mut(&stops) {
            *count -= 1;
            if *count == 0 {
                self.count.remove(&stops);
            }
        }
    }

    /// This thread begins to run one.
    pub(crate) fn enter(&mut self) {
        self.inside.push(current_thread());
    }

    /// This thread has run one.
    pub(crate) fn leave(&mut self) {
        let thread = current_thread();
        self.inside
            .iter()
            .rposition(|other| *other == thread)
            .map(|at| self.inside.swap_remove(at));
    }

    /// Whether all have ended that this thread may wait for.
    pub(crate) fn have_all_ended(&self) -> bool {
        self.count.is_empty() || self.is_inside()
    }

    /// As [`have_all_ended`](Self::have_all_ended), of those that began after no more stops than this.
    pub(crate) fn have_all_ended_until(&self, stops: u64) -> bool {
        self.count.range(..=stops).next().is_none() || self.is_inside()
    }

    fn is_inside(&self) -> bool {
        self.inside.contains(&current_thread())
    }
}

#[cfg(test)]
mod tests {
    use super::DispatchedActions;

    #[test]
    fn only_a_thread_that_is_inside_of_one_waits_for_none() {
        let mut actions = DispatchedActions::default();
        actions.begin(1);
        assert!(actions.have_all_ended_until(0), "it began later");
        assert!(!actions.have_all_ended() && !actions.have_all_ended_until(1));
        actions.enter();
        actions.enter(); // one runs in another
        actions.leave();
        assert!(actions.have_all_ended() && actions.have_all_ended_until(1));
        actions.leave();
        assert!(!actions.have_all_ended() && !actions.have_all_ended_until(1));
        actions.end(1);
        assert!(actions.have_all_ended());
    }
}
