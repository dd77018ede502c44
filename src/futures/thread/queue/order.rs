//! [`WaitList`]: queued tasks, in the order in which they leave.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use super::task_ref::TaskRef;
use crate::futures::call::state::Phase;

/// An empty buffer with room for more tasks than this is returned to the allocator.
const KEPT_CAPACITY: usize = 1024;

/// The most tasks of calls begun in place that a short queue by priority keeps.
const KEPT_BEGUN: usize = 64;

/// The order in which workers take waiting calls: the setting of [`ThreadPoolBuilder::discipline`].
///
/// # Examples
///
/// ```
/// use concurrent::futures::{Discipline, ThreadPoolExecutor};
/// use std::sync::mpsc;
///
/// let pool = ThreadPoolExecutor::builder().max_workers(1).discipline(Discipline::Lifo).build()?;
/// let (open, gate) = mpsc::channel::<()>();
/// let (note, notes) = mpsc::channel();
/// let busy = pool.spawn(move || gate.recv())?; // while the others are submitted
/// while !busy.running() {
///     std::thread::yield_now();
/// }
/// for n in 1..=3 {
///     let note = note.clone();
///     pool.execute(move || note.send(n).unwrap())?;
/// }
/// drop((open, note));
/// assert!(notes.iter().eq([3, 2, 1]));
/// # drop(busy);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// [`ThreadPoolBuilder::discipline`]: crate::futures::ThreadPoolBuilder::discipline
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discipline {
    /// The one that was submitted first, as in Python.
    #[default]
    Fifo,
    /// The one that was submitted last.
    Lifo,
    /// The one with the lowest priority number, and of these the one that was submitted first.
    Priority,
}

pub(crate) enum WaitList {
    Fifo(VecDeque<TaskRef>),
    Lifo(Vec<TaskRef>),
    Priority {
        heap: BinaryHeap<Ranked>,
        pushed: u64,
        /// How many of the calls were begun in place since ended ones were last taken out.
        begun: usize,
    },
}

pub(crate) struct Ranked {
    priority: i32,
    /// How many calls were pushed before.
    sequence: u64,
    task: TaskRef,
}

impl WaitList {
    pub(crate) fn new(discipline: Discipline) -> Self {
        match discipline {
            Discipline::Fifo => Self::Fifo(VecDeque::new()),
            Discipline::Lifo => Self::Lifo(Vec::new()),
            Discipline::Priority => Self::Priority { heap: BinaryHeap::new(), pushed: 0, begun: 0 },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fifo(tasks) => tasks.len(),
            Self::Lifo(tasks) => tasks.len(),
            Self::Priority { heap, .. } => heap.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Only [`Discipline::Priority`] looks at the priority.
    #[inline(always)] // of what every call costs, a sixteenth
    pub(crate) fn push(&mut self, task: TaskRef, priority: i32) {
        match self {
            Self::Fifo(tasks) => tasks.push_back(task),
            Self::Lifo(tasks) => tasks.push(task),
            Self::Priority { heap, pushed, .. } => {
                push_ranked(heap, Ranked { priority, sequence: *pushed, task });
                *pushed += 1;
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<TaskRef> {
        match self {
            Self::Fifo(tasks) => tasks.pop_front(),
            Self::Lifo(tasks) => tasks.pop(),
            Self::Priority { heap, .. } => heap.pop().map(|ranked| ranked.task),
        }
    }

    /// Takes the call out that was pushed last, unless it is pending. In a queue by priority it may be
    /// anywhere: see [`note_begun`](Self::note_begun).
    pub(crate) fn pop_over(&mut self) -> Option<(TaskRef, Phase)> {
        let last = match self {
            Self::Fifo(tasks) => tasks.back()?,
            Self::Lifo(tasks) => tasks.last()?,
            Self::Priority { .. } => return None,
        };
        let phase = last.phase();
        if phase == Phase::Pending {
            return None;
        }
        let task = match self {
            Self::Fifo(tasks) => tasks.pop_back()?,
            Self::Lifo(tasks) => tasks.pop()?,
            Self::Priority { .. } => return None,
        };
        Some((task, phase))
    }

    /// Notes that a call was begun in place; returns whether there may be so many such calls in a
    /// queue by priority that it is time to [take them out](Self::take_dead). Never so often that more
    /// tasks are looked at than calls begin.
    #[inline]
    pub(crate) fn note_begun(&mut self) -> bool {
        let Self::Priority { heap, begun, .. } = self else { return false };
        *begun += 1;
        let many = *begun >= KEPT_BEGUN.max(heap.len() / 2);
        if many {
            *begun = 0;
        }
        many
    }

    /// Moves all calls to `empty`, at once if they are in the order in which they came.
    pub(crate) fn move_to(&mut self, empty: &mut VecDeque<TaskRef>) {
        if empty.capacity() > KEPT_CAPACITY {
            *empty = VecDeque::new();
        }
        match self {
            Self::Fifo(tasks) => std::mem::swap(tasks, empty),
            Self::Lifo(_) | Self::Priority { .. } => empty.extend(self.take_all()),
        }
    }

    /// Takes all calls out, the next one first.
    pub(crate) fn take_all(&mut self) -> Vec<TaskRef> {
        match self {
            Self::Fifo(tasks) => std::mem::take(tasks).into(),
            Self::Lifo(tasks) => std::mem::take(tasks).into_iter().rev().collect(),
            Self::Priority { heap, .. } => {
                let ascending = std::mem::take(heap).into_sorted_vec();
                ascending.into_iter().rev().map(|ranked| ranked.task).collect()
            }
        }
    }

    /// Removes the tasks that no worker will run, to be dropped outside of all locks.
    pub(crate) fn take_dead(&mut self) -> Vec<TaskRef> {
        let mut dead = Vec::new();
        let mut keep = |task: TaskRef| {
            let pending = task.is_pending();
            if pending {
                return Some(task);
            }
            dead.push(task);
            None
        };
        match self {
            Self::Fifo(tasks) => {
                *tasks = std::mem::take(tasks).into_iter().filter_map(keep).collect()
            }
            Self::Lifo(tasks) => {
                *tasks = std::mem::take(tasks).into_iter().filter_map(keep).collect()
            }
            Self::Priority { heap, .. } => {
                let kept = std::mem::take(heap).into_vec().into_iter().filter_map(|ranked| {
                    let Ranked { priority, sequence, task } = ranked;
                    keep(task).map(|task| Ranked { priority, sequence, task })
                });
                *heap = kept.collect();
            }
        }
        dead
    }

    pub(crate) fn for_each(&self, visit: impl FnMut(&TaskRef)) {
        match self {
            Self::Fifo(tasks) => tasks.iter().for_each(visit),
            Self::Lifo(tasks) => tasks.iter().for_each(visit),
            Self::Priority { heap, .. } => heap.iter().map(|ranked| &ranked.task).for_each(visit),
        }
    }
}

/// Apart, so that it costs the usual queue nothing.
#[inline(never)]
fn push_ranked(heap: &mut BinaryHeap<Ranked>, call: Ranked) {
    heap.push(call);
}

/// The greatest leaves the heap first.
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |ranked: &Self| (ranked.priority, ranked.sequence);
        key(other).cmp(&key(self))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

impl std::fmt::Debug for WaitList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} calls", self.len())
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::futures::call::run::QueuedTask;
    use crate::futures::call::run::RunObserver;

    /// A call in this phase.
    struct In(Phase);

    impl QueuedTask for In {
        fn run(self, _: &dyn RunObserver) {}
        fn start(&self) -> bool {
            true
        }
        fn run_started(self, _: &dyn RunObserver) {}
        fn phase(&self) -> Phase {
            self.0
        }
        fn cancel(self) -> Phase {
            self.0
        }
        fn fail(self, _: Error) -> Phase {
            self.0
        }
    }

    #[test]
    fn what_is_dead_is_taken_out_of_every_kind_of_queue() {
        for discipline in [Discipline::Fifo, Discipline::Lifo, Discipline::Priority] {
            let mut store = WaitList::new(discipline);
            for phase in [Phase::Cancelled, Phase::Pending, Phase::Running, Phase::Pending] {
                store.push(TaskRef::new(In(phase)), 0);
            }
            let dead: Vec<_> = store.take_dead().iter().map(TaskRef::phase).collect();
            assert!(dead.len() == 2 && !dead.contains(&Phase::Pending), "{discipline:?}: {dead:?}");
            let kept: Vec<_> = store.take_all().iter().map(TaskRef::phase).collect();
            assert_eq!(kept, [Phase::Pending; 2], "{discipline:?}");
        }
    }

    #[test]
    fn an_empty_buffer_is_kept_unless_it_is_large() {
        for (room, kept) in [(KEPT_CAPACITY / 2, true), (2 * KEPT_CAPACITY, false)] {
            let mut store = WaitList::new(Discipline::Fifo);
            let mut empty = VecDeque::with_capacity(room);
            store.push(TaskRef::new(In(Phase::Pending)), 0);
            store.move_to(&mut empty);
            assert_eq!((empty.len(), store.len()), (1, 0));
            let WaitList::Fifo(buffer) = store else { panic!("it is one still") };
            assert_eq!(buffer.capacity() >= room, kept);
        }
    }
}
