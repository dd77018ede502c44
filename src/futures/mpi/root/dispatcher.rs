//! [`Dispatcher`]: decides which call goes to which rank, and what becomes of the calls of a rank that died.
//! No message, no clock, no user code.
//!
//! A rank runs its calls in the order in which they were sent. So of the calls that a dead rank has not
//! answered only the first can have killed it, and only that one counts an attempt. The others go back to
//! the queue.

use std::collections::VecDeque;
use std::time::Duration;

use super::adaptive_credit::{AdaptiveCredit, Credit};

/// A call, as far as the dispatcher knows it.
pub(crate) trait Item {
    /// A number that no other call of the pool has.
    fn id(&self) -> u64;

    /// The bytes of its message.
    fn weight(&self) -> usize;

    /// Notes that it is about to be sent; false if it has ended already.
    fn offer(&self) -> bool;
}

/// The most bytes of several calls in one message; a larger call has a message of its own.
pub(crate) const PACK: usize = 32 * 1024;

/// The most calls in one message.
const PACKED: usize = 64;

/// Up to this credit calls are too long for several in a message to pay off.
const FEW: usize = 8;

/// The most bytes of calls that a rank has, unless it is a single call.
const WINDOW: usize = 8 << 20;

#[derive(Debug)]
struct QueuedItem<T> {
    item: T,
    /// The number of ranks that have died over it.
    deaths: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RankLife {
    Starting,
    Ready,
    Lost,
}

#[derive(Debug)]
struct Rank<T> {
    life: RankLife,
    /// Sent and not answered, in order.
    sent: VecDeque<QueuedItem<T>>,
    bytes: usize,
    credit: AdaptiveCredit,
}

impl<T: Item> Rank<T> {
    /// The number of further calls that it may have. With a backlog of short calls, fewer and larger messages:
    /// not before it has answered half of its calls. If not `ahead`, because another rank is about to be ready,
    /// it has one call at most.
    fn room(&self, credit: Credit, backlog: usize, ahead: bool) -> usize {
        if self.life != RankLife::Ready {
            return 0;
        }
        if !ahead {
            return usize::from(self.sent.is_empty());
        }
        let credit = self.credit.credit(credit);
        let room = credit.saturating_sub(self.sent.len());
        if credit > FEW && backlog > 1 && room < self.sent.len() { 0 } else { room }
    }
}

/// The consequences of the death of a rank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loss<T> {
    /// The call that it ran, if that must not run again.
    pub(crate) failed: Option<T>,
    /// Whether a rank is left.
    pub(crate) goes_on: bool,
}

#[derive(Debug)]
pub(crate) struct Dispatcher<T> {
    queue: VecDeque<QueuedItem<T>>,
    ranks: Vec<Rank<T>>,
    credit: Credit,
    retries: u32,
    stopped: bool,
}

impl<T: Item> Dispatcher<T> {
    /// For `ranks` ranks, none of which is ready.
    pub(crate) fn new(ranks: usize, credit: Credit, retries: u32) -> Self {
        let rank = |_| Rank {
            life: RankLife::Starting,
            sent: VecDeque::new(),
            bytes: 0,
            credit: AdaptiveCredit::default(),
        };
        let ranks = (0..ranks).map(rank).collect();
        Self { queue: VecDeque::new(), ranks, credit, retries, stopped: false }
    }

    /// Whether the credit of ranks depends on how long calls take.
    pub(crate) fn is_adaptive(&self) -> bool {
        self.credit == Credit::Adaptive
    }

    pub(crate) fn push(&mut self, item: T) {
        self.queue.push_back(QueuedItem { item, deaths: 0 });
    }

    /// The rank takes calls from now on.
    pub(crate) fn ready(&mut self, rank: usize) {
        if self.ranks[rank].life == RankLife::Starting {
            self.ranks[rank].life = RankLife::Ready;
        }
    }

    /// Puts the calls of the next message into `batch`; returns the rank that it goes to.
    pub(crate) fn next_batch(&mut self, batch: &mut Vec<T>) -> Option<usize>
    where
        T: Clone,
    {
        batch.clear();
        while !self.queue.is_empty() && !self.stopped {
            let backlog = self.queue.len();
            let ready =
                self.ranks.iter().filter(|rank| rank.life == RankLife::Ready).count().max(1);
            let ahead = self.all_ready();
            let candidates = self.ranks.iter().enumerate().filter_map(|(index, rank)| {
                let room = rank.room(self.credit, backlog, ahead);
                (room > 0).then_some((rank.sent.len(), index, room))
            });
            let (_, index, room) = candidates.min()?;
            let many = self.ranks[index].credit.credit(self.credit) > FEW;
            let most = if many { PACKED } else { 1 }; // the ranks take turns
            let share = room.min(backlog.div_ceil(ready)).min(most);
            if !self.fill(index, share, batch) {
                return None;
            }
            if !batch.is_empty() {
                return Some(index);
            }
        }
        None
    }

    /// Moves up to `share` calls to a rank; false if it has no room for the first of them.
    fn fill(&mut self, index: usize, share: usize, batch: &mut Vec<T>) -> bool
    where
        T: Clone,
    {
        let rank = &mut self.ranks[index];
        let mut packed = 0;
        while batch.len() < share {
            let Some(entry) = self.queue.front() else { break };
            let weight = entry.item.weight();
            if !batch.is_empty() && packed + weight > PACK {
                break;
            }
            if !rank.sent.is_empty() && rank.bytes + weight > WINDOW {
                return !batch.is_empty();
            }
            let Some(entry) = self.queue.pop_front() else { break };
            if !entry.item.offer() {
                continue; // cancelled
            }
            packed += weight;
            rank.bytes += weight;
            batch.push(entry.item.clone());
            rank.sent.push_back(entry);
        }
        true
    }

    /// The rank has answered a call, which took `took`; `None` if it does not have it.
    pub(crate) fn answered(&mut self, rank: usize, id: u64, took: Duration) -> Option<T> {
        let rank = self.ranks.get_mut(rank)?;
        let position = rank.sent.iter().position(|entry| entry.item.id() == id)?;
        let entry = rank.sent.remove(position)?;
        rank.bytes -= entry.item.weight();
        rank.credit.answered(took);
        Some(entry.item)
    }

    /// The rank has died; `None` if that is known already.
    pub(crate) fn lost(&mut self, index: usize) -> Option<Loss<T>> {
        let rank = self.ranks.get_mut(index)?;
        if std::mem::replace(&mut rank.life, RankLife::Lost) == RankLife::Lost {
            return None;
        }
        rank.bytes = 0;
        let mut back = std::mem::take(&mut rank.sent);
        let mut failed = None;
        if let Some(mut first) = back.pop_front() {
            first.deaths += 1;
            if first.deaths > self.retries {
                failed = Some(first.item);
            } else {
                back.push_front(first);
            }
        }
        back.append(&mut self.queue);
        self.queue = back;
        Some(Loss { failed, goes_on: self.alive() > 0 })
    }

    /// The call that the rank runs, if it has any.
    #[cfg(test)]
    pub(crate) fn first_of(&self, rank: usize) -> Option<&T> {
        self.ranks.get(rank)?.sent.front().map(|entry| &entry.item)
    }

    /// Takes the calls that were not sent and are pending; the others stay.
    pub(crate) fn take_pending(&mut self, is_pending: impl Fn(&T) -> bool) -> Vec<T> {
        let all = std::mem::take(&mut self.queue);
        let (pending, rest): (VecDeque<_>, _) =
            all.into_iter().partition(|entry| is_pending(&entry.item));
        self.queue = rest;
        pending.into_iter().map(|entry| entry.item).collect()
    }

    /// Takes the calls that were not sent.
    pub(crate) fn take_queue(&mut self) -> Vec<T> {
        self.queue.drain(..).map(|entry| entry.item).collect()
    }

    /// Takes the calls that were sent and not answered; answers that still come belong to no call.
    pub(crate) fn take_sent(&mut self) -> Vec<T> {
        let mut items = Vec::new();
        for rank in &mut self.ranks {
            rank.bytes = 0;
            items.extend(rank.sent.drain(..).map(|entry| entry.item));
        }
        items
    }

    /// Sends no more calls.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether no rank is about to be ready.
    pub(crate) fn all_ready(&self) -> bool {
        self.ranks.iter().all(|rank| rank.life != RankLife::Starting)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.sent() == 0
    }

    pub(crate) fn queued(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().map(|entry| &entry.item)
    }

    /// Calls that were sent and not answered.
    pub(crate) fn sent(&self) -> usize {
        self.ranks.iter().map(|rank| rank.sent.len()).sum()
    }

    /// Ranks that have not died.
    pub(crate) fn alive(&self) -> usize {
        self.ranks.iter().filter(|rank| rank.life != RankLife::Lost).count()
    }

    /// Ranks that have died.
    pub(crate) fn dead(&self) -> usize {
        self.ranks.len() - self.alive()
    }

    pub(crate) fn is_lost(&self, rank: usize) -> bool {
        self.ranks.get(rank).is_none_or(|rank| rank.life == RankLife::Lost)
    }
}

#[cfg(test)]
mod tests;
