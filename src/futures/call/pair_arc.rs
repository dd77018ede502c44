//! [`PairArc`]: a value with several owners, as in an `Arc`, with less to do for calls.
//!
//! Most calls have two owners, a queue and a future, from when they are made until one of them ends
//! it and the other takes the result. So there is [`PairArc::pair`], and an owner that finds that it
//! is alone takes the value down without another atomic operation than the look. It can tell by one
//! look because all counts are in one word.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::process::abort;
use std::ptr::{self, NonNull};

#[cfg(target_has_atomic = "64")]
use super::counting::AtomicU64 as AtomicCounts;
#[cfg(not(target_has_atomic = "64"))]
use super::counting::AtomicUsize as AtomicCounts;
use super::counting::{Ordering, fence};

/// The word of counts: 64 bits also where an address has 32, since a call that is made of others has
/// an owner for each of them.
#[cfg(target_has_atomic = "64")]
type Tally = u64;
#[cfg(not(target_has_atomic = "64"))]
type Tally = usize;

/// A weak owner in the word of counts. The owners proper are counted below it. In a narrow word these
/// get most of the bits: a call has weak owners by the handful.
const WEAK: Tally = 1 << (if Tally::BITS == 64 { 32 } else { 26 });

/// One owner. All owners proper together are one weak one.
const ALONE: Tally = WEAK + 1;

/// Far from what overflows, and far from what happens.
const MOST: Tally = WEAK / 2;

/// As `MOST`, of weak ones.
const MOST_WEAK: Tally = Tally::MAX / WEAK / 2;

// Each owner of a group stands for a member: a call, its place in the group, and what it is to do when
// it has ended, together at least 32 words. So many do not fit into memory.
const _: () = assert!(MOST as usize > usize::MAX / (32 * size_of::<usize>()) || usize::BITS > 32);

/// Owners proper.
fn owners(counts: Tally) -> Tally {
    counts & (WEAK - 1)
}

fn weak(counts: Tally) -> Tally {
    counts / WEAK
}

/// Makes what all the others did before they left come before what follows.
fn acquire(counts: &AtomicCounts) {
    if cfg!(concurrent_tsan) {
        // ORDERING: Acquire, of the same releases as the fence, which ThreadSanitizer does not know.
        counts.load(Ordering::Acquire);
    } else {
        // ORDERING: Acquire; with the Release of those who left.
        fence(Ordering::Acquire);
    }
}

/// What owners share.
///
/// INVARIANT: the value is there as long as there is an owner, the memory as long as there is an
/// owner or a weak one.
pub(crate) struct Block<C: ?Sized> {
    counts: AtomicCounts,
    value: ManuallyDrop<C>,
}

/// An owner of a value.
pub(crate) struct PairArc<C: ?Sized>(NonNull<Block<C>>);

/// What can become an owner as long as there is one.
pub(crate) struct WeakPairArc<C: ?Sized>(NonNull<Block<C>>);

/// The value of the last owner when that [has left](PairArc::leave): nobody else can reach it.
pub(crate) struct LastOwner<C: ?Sized>(NonNull<Block<C>>);

// SAFETY: as for `Arc`: the value is shared by threads, and dropped in the one that has it last.
unsafe impl<C: Send + Sync + ?Sized> Send for PairArc<C> {}
// SAFETY: as above; whoever has a reference can make itself an owner.
unsafe impl<C: Send + Sync + ?Sized> Sync for PairArc<C> {}
// SAFETY: as above.
unsafe impl<C: Send + Sync + ?Sized> Send for WeakPairArc<C> {}
// SAFETY: as above.
unsafe impl<C: Send + Sync + ?Sized> Sync for WeakPairArc<C> {}

impl<C> PairArc<C> {
    /// A value with two owners.
    pub(crate) fn pair(value: C) -> (Self, Self) {
        let counts = AtomicCounts::new(ALONE + 1);
        let block = Box::leak(Box::new(Block { counts, value: ManuallyDrop::new(value) }));
        let block = NonNull::from(block);
        (Self(block), Self(block))
    }
}

impl<C: ?Sized> PairArc<C> {
    fn counts(&self) -> &AtomicCounts {
        // SAFETY: this is an owner.
        unsafe { &(*self.0.as_ptr()).counts }
    }

    /// Gives up the ownership to whoever makes an owner [of it](Self::from_raw).
    pub(crate) fn into_raw(this: Self) -> *mut Block<C> {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// # Safety
    ///
    /// `block` is what [`into_raw`](Self::into_raw) gave, perhaps as a pointer to a trait that the
    /// value has, or to the type that it is of; it is used once.
    pub(crate) unsafe fn from_raw(block: *mut Block<C>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(block) })
    }

    /// Ends this ownership. Whoever was the last owner gets the value, to drop it when it is ready to.
    #[inline]
    pub(crate) fn leave(this: Self) -> Option<LastOwner<C>> {
        let block = this.0;
        let counts = ManuallyDrop::new(this);
        let counts = counts.counts();
        // ORDERING: Acquire; who was an owner before, or a weak one, left with Release.
        if counts.load(Ordering::Acquire) == ALONE {
            return Some(LastOwner(block));
        }
        // ORDERING: Release; what this owner did comes before the drop.
        if owners(counts.fetch_sub(1, Ordering::Release)) == 1 {
            acquire(counts);
            return Some(LastOwner(block));
        }
        None
    }

    pub(crate) fn ptr_eq(this: &Self, other: &Self) -> bool {
        ptr::addr_eq(this.0.as_ptr(), other.0.as_ptr())
    }

    /// Where the value is.
    pub(crate) fn address(this: &Self) -> usize {
        ptr::from_ref(&**this).cast::<()>().addr()
    }

    pub(crate) fn downgrade(this: &Self) -> WeakPairArc<C> {
        // ORDERING: Relaxed; whoever gives the new one to another thread orders that.
        let counts = this.counts().fetch_add(WEAK, Ordering::Relaxed);
        if weak(counts) > MOST_WEAK {
            abort();
        }
        WeakPairArc(this.0)
    }
}

impl<C: ?Sized> Clone for PairArc<C> {
    fn clone(&self) -> Self {
        // ORDERING: Relaxed; whoever gives the new one to another thread orders that.
        let counts = self.counts().fetch_add(1, Ordering::Relaxed);
        if owners(counts) > MOST {
            abort();
        }
        Self(self.0)
    }
}

impl<C: ?Sized> Deref for PairArc<C> {
    type Target = C;

    fn deref(&self) -> &C {
        // SAFETY: this is an owner; there is no other than shared access before the last one's end.
        unsafe { &(*self.0.as_ptr()).value }
    }
}

impl<C: fmt::Debug + ?Sized> fmt::Debug for PairArc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<C: ?Sized> Drop for PairArc<C> {
    #[inline]
    fn drop(&mut self) {
        // It is not used again.
        drop(Self::leave(Self(self.0)));
    }
}

impl<C: ?Sized> Deref for LastOwner<C> {
    type Target = C;

    fn deref(&self) -> &C {
        // SAFETY: the value is there until this drops it, and nobody else can reach it.
        unsafe { &(*self.0.as_ptr()).value }
    }
}

impl<C: ?Sized> Drop for LastOwner<C> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the memory is there.
        let counts = unsafe { &(*self.0.as_ptr()).counts };
        // ORDERING: Acquire; what weak owners did before they left.
        if weak(counts.load(Ordering::Acquire)) == 1 {
            // SAFETY: no other owner is left, and no weak one. The box frees the memory even if the
            // drop of the value unwinds, and does not drop it itself.
            let mut block = unsafe { Box::from_raw(self.0.as_ptr()) };
            // SAFETY: the value is there, and not touched again.
            return unsafe { ManuallyDrop::drop(&mut block.value) };
        }
        let _memory = WeakPairArc(self.0); // that of the owners proper
        // SAFETY: the memory is there, and nobody else looks at the value any more.
        let value = unsafe { &mut (*self.0.as_ptr()).value };
        // SAFETY: no owner is left, and nobody can become one.
        unsafe { ManuallyDrop::drop(value) };
    }
}

impl<C: ?Sized> WeakPairArc<C> {
    fn counts(&self) -> &AtomicCounts {
        // SAFETY: this is a weak owner.
        unsafe { &(*self.0.as_ptr()).counts }
    }

    pub(crate) fn upgrade(&self) -> Option<PairArc<C>> {
        let another = |counts| match owners(counts) {
            0 => None,
            many if many > MOST => abort(),
            _ => Some(counts + 1),
        };
        // ORDERING: Relaxed; what came before this weak one was made is visible already, and nothing
        // is learned from the number.
        let update = self.counts().fetch_update(Ordering::Relaxed, Ordering::Relaxed, another);
        update.ok().map(|_| PairArc(self.0))
    }
}

impl<C: ?Sized> Drop for WeakPairArc<C> {
    fn drop(&mut self) {
        // ORDERING: Release; what this one did, which may have been the drop of the value, comes
        // before the end of the memory.
        if weak(self.counts().fetch_sub(WEAK, Ordering::Release)) == 1 {
            acquire(self.counts());
            // SAFETY: nobody is left. The value has been dropped, and the box does not drop it.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

#[cfg(all(test, not(concurrent_loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    trait Shown: Send + Sync {
        fn shown(&self) -> usize;
    }

    /// Counts its drops, one of which may panic.
    struct Value(Arc<AtomicUsize>, bool);

    impl Shown for Value {
        fn shown(&self) -> usize {
            7
        }
    }

    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(!self.1, "as asked");
        }
    }

    /// Two owners of a value, and how often it was dropped.
    fn pair(panics: bool) -> (PairArc<Value>, PairArc<Value>, impl Fn() -> usize) {
        let drops = Arc::new(AtomicUsize::new(0));
        let (one, other) = PairArc::pair(Value(Arc::clone(&drops), panics));
        (one, other, move || drops.load(Ordering::Relaxed))
    }

    #[test]
    fn the_last_owner_drops_the_value_and_no_one_else() {
        let (one, other, drops) = pair(false);
        assert!(PairArc::ptr_eq(&one, &other));
        let third = PairArc::clone(&other);
        assert!(PairArc::leave(one).is_none() && PairArc::leave(third).is_none());
        let last = PairArc::leave(other).expect("there is no other");
        assert_eq!((last.shown(), drops()), (7, 0));
        drop(last);
        assert_eq!(drops(), 1);
    }

    #[test]
    fn a_weak_one_keeps_the_memory_and_not_the_value() {
        let (one, other, drops) = pair(false);
        let weak = PairArc::downgrade(&one);
        drop(other);
        let again = weak.upgrade().expect("there is an owner");
        assert_eq!(again.shown(), 7);
        drop((one, again));
        assert_eq!(drops(), 1);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_weak_one_that_ends_first_leaves_nothing() {
        let (one, other, drops) = pair(false);
        drop(PairArc::downgrade(&one));
        drop((one, other));
        assert_eq!(drops(), 1);
    }

    #[test]
    fn as_a_trait_and_back_it_is_the_same() {
        let (one, other, drops) = pair(false);
        let block = PairArc::into_raw(one) as *mut Block<dyn Shown>;
        // SAFETY: it was made from an owner just now.
        let shown = unsafe { PairArc::from_raw(block) };
        assert_eq!((shown.shown(), PairArc::address(&shown)), (7, PairArc::address(&other)));
        let block = PairArc::into_raw(shown).cast::<Block<Value>>();
        // SAFETY: as above.
        drop((unsafe { PairArc::from_raw(block) }, other));
        assert_eq!(drops(), 1);
    }

    /// As many as a group of calls has that is large, and no weak one is taken for one of them.
    #[test]
    fn a_value_may_have_a_million_owners() {
        let (one, other, drops) = pair(false);
        let count = if cfg!(miri) { 40_000 } else { 1_000_000 };
        let weak = PairArc::downgrade(&one);
        let more: Vec<_> = (0..count).map(|_| PairArc::clone(&one)).collect();
        drop((one, other));
        assert_eq!(owners(weak.counts().load(Ordering::Relaxed)), count);
        drop(weak.upgrade().expect("there are owners"));
        drop(more);
        assert_eq!(drops(), 1);
        assert!(weak.upgrade().is_none());
    }

    /// Under Miri: the memory is freed all the same.
    #[test]
    fn a_value_whose_drop_panics_is_gone() {
        for keeps_weak in [false, true] {
            let (one, other, drops) = pair(true);
            let weak = keeps_weak.then(|| PairArc::downgrade(&one));
            drop(one);
            assert!(catch_unwind(AssertUnwindSafe(|| drop(other))).is_err());
            assert_eq!(drops(), 1);
            assert!(weak.is_none_or(|weak| weak.upgrade().is_none()));
        }
    }
}
