//! [`TaskRef`]: a queued task of any type, in two words.
//!
//! A call with a future is a [`PairArc`], which is one word; the other word is a table of functions. A
//! call without a future ([`execute`]) is stored in the first word if it fits, so that nothing is allocated
//! for it, and in a box otherwise.
//!
//! The price is a hand-made table of functions. The alternative was `SmallBox<dyn QueuedTask, usize>`, as
//! `sched/run/action.rs` has it: three words, and a task can only be called by reference, so that it
//! has to be an `Option`, which no longer fits. By instruction counts (`.ci/instructions`, rustc 1.95)
//! `execute` then costs 670 instead of 240 instructions, because it allocates; `submit` and `result` 981
//! instead of 931, a nested call 2075 instead of 1931.
//!
//! [`execute`]: crate::futures::ThreadPoolExecutor::execute
//! [`PairArc`]: crate::futures::call::pair_arc::PairArc

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};

use crate::error::Error;
use crate::futures::call::run::QueuedTask;
use crate::futures::call::run::RunObserver;
use crate::futures::call::state::Phase;
use crate::user_code::contain;

/// Room for any value that is no larger and no more aligned than a pointer; it keeps pointers
/// intact.
type Word = MaybeUninit<*const ()>;

/// A [`QueuedTask`] of any type.
pub(crate) struct TaskRef {
    /// INVARIANT: holds a value of the type that `table` is for, and is its only owner.
    word: Word,
    table: &'static TaskVtable,
}

// SAFETY: the value in it is Send, by the bound on `QueuedTask`.
unsafe impl Send for TaskRef {}

/// The methods of the type that a word holds. Those that take the word by value take the value out
/// of it.
struct TaskVtable {
    run: unsafe fn(Word, &dyn RunObserver),
    start: unsafe fn(&Word) -> bool,
    run_started: unsafe fn(Word, &dyn RunObserver),
    phase: unsafe fn(&Word) -> Phase,
    cancel: unsafe fn(Word) -> Phase,
    fail: unsafe fn(Word, Error) -> Phase,
    drop: unsafe fn(Word),
}

/// The functions of the table for `E`.
///
/// # Safety
///
/// Of all functions: the word holds an `E`. Of those that take the value out: the word is not used
/// afterwards.
struct Typed<E>(PhantomData<E>);

impl<E: QueuedTask> Typed<E> {
    const FITS: bool = size_of::<E>() <= size_of::<Word>() && align_of::<E>() <= align_of::<Word>();
    const TABLE: TaskVtable = TaskVtable {
        run: Self::run,
        start: Self::start,
        run_started: Self::run_started,
        phase: Self::phase,
        cancel: Self::cancel,
        fail: Self::fail,
        drop: Self::drop,
    };

    unsafe fn take(word: Word) -> E {
        // SAFETY: the caller's promise; it fits, as `TaskRef::new` has checked.
        unsafe { word.as_ptr().cast::<E>().read() }
    }

    unsafe fn run(word: Word, observer: &dyn RunObserver) {
        // SAFETY: the caller's promise.
        unsafe { Self::take(word) }.run(observer);
    }

    unsafe fn start(word: &Word) -> bool {
        // SAFETY: the caller's promise.
        unsafe { &*word.as_ptr().cast::<E>() }.start()
    }

    unsafe fn run_started(word: Word, observer: &dyn RunObserver) {
        // SAFETY: the caller's promise.
        unsafe { Self::take(word) }.run_started(observer);
    }

    unsafe fn phase(word: &Word) -> Phase {
        // SAFETY: the caller's promise.
        unsafe { &*word.as_ptr().cast::<E>() }.phase()
    }

    unsafe fn cancel(word: Word) -> Phase {
        // SAFETY: the caller's promise.
        unsafe { Self::take(word) }.cancel()
    }

    unsafe fn fail(word: Word, error: Error) -> Phase {
        // SAFETY: the caller's promise.
        unsafe { Self::take(word) }.fail(error)
    }

    unsafe fn drop(word: Word) {
        // SAFETY: the caller's promise.
        drop(unsafe { Self::take(word) });
    }
}

impl TaskRef {
    /// Stores `entry` in place if it fits into a word, and in a box otherwise.
    pub(crate) fn new<E: QueuedTask>(entry: E) -> Self {
        if Typed::<E>::FITS { Self::in_place(entry) } else { Self::in_place(Box::new(entry)) }
    }

    fn in_place<E: QueuedTask>(entry: E) -> Self {
        assert!(Typed::<E>::FITS, "larger ones are boxed");
        let mut word = Word::uninit();
        // SAFETY: it fits.
        unsafe { word.as_mut_ptr().cast::<E>().write(entry) };
        Self { word, table: &Typed::<E>::TABLE }
    }

    pub(crate) fn run(self, observer: &dyn RunObserver) {
        let task = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (task.table.run)(task.word, observer) }
    }

    pub(crate) fn start(&self) -> bool {
        // SAFETY: the invariant.
        unsafe { (self.table.start)(&self.word) }
    }

    pub(crate) fn run_started(self, observer: &dyn RunObserver) {
        let task = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (task.table.run_started)(task.word, observer) }
    }

    pub(crate) fn phase(&self) -> Phase {
        // SAFETY: the invariant.
        unsafe { (self.table.phase)(&self.word) }
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.phase() == Phase::Pending
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.phase() == Phase::Cancelled
    }

    pub(crate) fn cancel(self) -> Phase {
        let task = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (task.table.cancel)(task.word) }
    }

    pub(crate) fn fail(self, error: Error) -> Phase {
        let task = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (task.table.fail)(task.word, error) }
    }
}

/// Drops tasks that were removed from a queue. Ended ones may hold a value that was not taken.
pub(crate) fn discard(tasks: impl IntoIterator<Item = TaskRef>) {
    for task in tasks {
        contain("dropping a call that left the queue", || drop(task));
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: the invariant; the word is not used again.
        unsafe { (self.table.drop)(self.word) }
    }
}

impl std::fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskRef").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::futures::call::run::NoObserver;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts how it ends, on top of whatever size `T` has.
    struct Ends<T>(Arc<[AtomicUsize; 5]>, T);

    impl<T: Send + 'static> QueuedTask for Ends<T> {
        fn run(self, _: &dyn RunObserver) {
            self.0[0].fetch_add(1, Ordering::Relaxed);
        }
        fn start(&self) -> bool {
            true
        }
        fn run_started(self, _: &dyn RunObserver) {
            self.0[1].fetch_add(1, Ordering::Relaxed);
        }
        fn phase(&self) -> Phase {
            Phase::Pending
        }
        fn cancel(self) -> Phase {
            self.0[2].fetch_add(1, Ordering::Relaxed);
            Phase::Pending
        }
        fn fail(self, _: Error) -> Phase {
            self.0[3].fetch_add(1, Ordering::Relaxed);
            Phase::Running
        }
    }

    impl<T> Drop for Ends<T> {
        fn drop(&mut self) {
            self.0[4].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn each_end<T: Copy + Send + 'static>(more: T) {
        let ends = Arc::new([const { AtomicUsize::new(0) }; 5]);
        let task = || TaskRef::new(Ends(Arc::clone(&ends), more));
        assert!(task().is_pending() && !task().is_cancelled());
        task().run(&NoObserver);
        let started = task();
        assert!(started.start());
        started.run_started(&NoObserver);
        assert_eq!(task().cancel(), Phase::Pending);
        assert_eq!(task().fail(Error::Shutdown), Phase::Running);
        drop(task());
        let ends =
            Arc::into_inner(ends).expect("each was dropped once").map(AtomicUsize::into_inner);
        assert_eq!(ends, [1, 1, 1, 1, 7]);
    }

    #[test]
    fn each_value_ends_once_in_place_or_boxed() {
        assert_eq!(size_of::<TaskRef>(), 2 * size_of::<usize>());
        const { assert!(Typed::<Ends<()>>::FITS && !Typed::<Ends<u8>>::FITS) };
        each_end(());
        each_end(1u8);
        each_end([1u64; 9]);
    }

    /// Says whether it can be started, on top of whatever size `T` has.
    struct Starts<T>(bool, T);

    impl<T: Send + 'static> QueuedTask for Starts<T> {
        fn run(self, _: &dyn RunObserver) {}
        fn start(&self) -> bool {
            self.0
        }
        fn run_started(self, _: &dyn RunObserver) {}
        fn phase(&self) -> Phase {
            Phase::Pending
        }
        fn cancel(self) -> Phase {
            Phase::Pending
        }
        fn fail(self, _: Error) -> Phase {
            Phase::Pending
        }
    }

    #[test]
    fn a_value_says_in_place_or_boxed_whether_it_can_be_started() {
        for starts in [false, true] {
            assert_eq!(TaskRef::new(Starts(starts, ())).start(), starts);
            assert_eq!(TaskRef::new(Starts(starts, [1u64; 9])).start(), starts);
        }
    }

    #[test]
    fn a_value_without_size_and_one_that_is_aligned_to_more_than_a_word() {
        #[repr(align(64))]
        struct Aligned(u8);
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        impl QueuedTask for Aligned {
            fn run(self, _: &dyn RunObserver) {
                assert_eq!(std::ptr::from_ref(&self).addr() % 64, 0);
                SEEN.fetch_add(usize::from(self.0), Ordering::Relaxed);
            }
            fn start(&self) -> bool {
                true
            }
            fn run_started(self, observer: &dyn RunObserver) {
                self.run(observer);
            }
            fn phase(&self) -> Phase {
                Phase::Pending
            }
            fn cancel(self) -> Phase {
                self.phase()
            }
            fn fail(self, _: Error) -> Phase {
                self.phase()
            }
        }
        struct Nothing;
        impl QueuedTask for Nothing {
            fn run(self, _: &dyn RunObserver) {
                SEEN.fetch_add(1, Ordering::Relaxed);
            }
            fn start(&self) -> bool {
                true
            }
            fn run_started(self, observer: &dyn RunObserver) {
                self.run(observer);
            }
            fn phase(&self) -> Phase {
                Phase::Cancelled
            }
            fn cancel(self) -> Phase {
                self.phase()
            }
            fn fail(self, _: Error) -> Phase {
                self.phase()
            }
        }
        TaskRef::new(Aligned(40)).run(&NoObserver);
        let nothing = TaskRef::new(Nothing);
        assert!(nothing.is_cancelled());
        nothing.run(&NoObserver);
        assert_eq!(SEEN.load(Ordering::Relaxed), 41);
    }
}
