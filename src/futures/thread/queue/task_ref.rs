//! [`TaskRef`]: what stands in the queue of a pool, in two words whatever it is.
//!
//! A call that others know of is a [`PairArc`], which is a word; the other is the table of what can be
//! done with it. A function that nobody else knows ([`execute`]) is that word itself if it is no
//! larger, so that nothing is allocated for it, and a `Box` otherwise.
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

/// Room for any value that is no larger and no more aligned than a pointer; it keeps pointers intact.
type Word = MaybeUninit<*const ()>;

/// An [`QueuedTask`] of any type.
pub(crate) struct TaskRef {
    /// INVARIANT: holds the value of the type that `table` is for, and is its only owner.
    word: Word,
    table: &'static TaskVtable,
}

// SAFETY: what is in it is Send, by the bound on `QueuedTask`.
unsafe impl Send for TaskRef {}

/// What can be done with a word that holds a certain type. Those that take a word by value take the
/// value out.
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
/// Of all: the word holds an `E`; of those that take the value out: nobody uses the word afterwards.
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

    unsafe fn run(word: Word, stage: &dyn RunObserver) {
        // SAFETY: the caller's promise.
        unsafe { Self::take(word) }.run(stage);
    }

    unsafe fn start(word: &Word) -> bool {
        // SAFETY: the caller's promise.
        unsafe { &*word.as_ptr().cast::<E>() }.start()
    }

    unsafe fn run_started(word: Word, stage: &dyn RunObserver) {
        // SAFETY: the caller's promise.
        unsafe { Self::take(word) }.run_started(stage);
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
    /// An entry in place if it fits into a word, and else in a block of its own.
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

    pub(crate) fn run(self, stage: &dyn RunObserver) {
        let job = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (job.table.run)(job.word, stage) }
    }

    pub(crate) fn start(&self) -> bool {
        // SAFETY: the invariant.
        unsafe { (self.table.start)(&self.word) }
    }

    pub(crate) fn run_started(self, stage: &dyn RunObserver) {
        let job = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (job.table.run_started)(job.word, stage) }
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
        let job = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (job.table.cancel)(job.word) }
    }

    pub(crate) fn fail(self, error: Error) -> Phase {
        let job = ManuallyDrop::new(self);
        // SAFETY: the invariant; the word is not used again.
        unsafe { (job.table.fail)(job.word, error) }
    }
}

/// Drops what was taken out of a queue. What is over may hold a value that nobody took.
pub(crate) fn discard(jobs: impl IntoIterator<Item = TaskRef>) {
    for job in jobs {
        contain("dropping a call that left the queue", || drop(job));
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: the invariant; it is over.
        unsafe { (self.table.drop)(self.word) }
    }
}

impl std::fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("phase", &self.phase()).finish_non_exhaustive()
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
        let job = || TaskRef::new(Ends(Arc::clone(&ends), more));
        assert!(job().is_pending() && !job().is_cancelled());
        job().run(&NoObserver);
        let started = job();
        assert!(started.start());
        started.run_started(&NoObserver);
        assert_eq!(job().cancel(), Phase::Pending);
        assert_eq!(job().fail(Error::Shutdown), Phase::Running);
        drop(job());
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
            fn run_started(self, stage: &dyn RunObserver) {
                self.run(stage);
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
            fn run_started(self, stage: &dyn RunObserver) {
                self.run(stage);
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
