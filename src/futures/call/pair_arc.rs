//! [`PairArc`]: a value with several owners, like an `Arc`, with less to do for calls.
//!
//! Most calls have two owners, a queue and a future, from when they are made until one of them ends
//! the call and the other takes the result. [`PairArc::pair`] makes both owners at once, and the
//! last owner drops the value after one load instead of a decrement: it sees that it is alone,
//! because both counts are in one word.
//!
//! The alternative that lost is `std::sync::Arc`: for such a call it needs four atomic
//! read-modify-writes where this needs one, and 8 bytes more. When this took its place, a call took
//! 67 ns instead of 83, and 39 instead of 49 with mimalloc (`benches/peers`, two workers, batches;
//! commit d489c44). The number of instructions is no reason: 931 with this and 918 with `Arc` for a
//! call and its result.

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

/// The word of counts. It has 64 bits even where an address has 32, since a call made of others has
/// an owner for each of them.
#[cfg(target_has_atomic = "64")]
type Tally = u64;
#[cfg(not(target_has_atomic = "64"))]
type Tally = usize;

/// One weak owner in the word of counts. The strong owners are counted in the bits below; in a
/// narrow word these get most of the bits, because a call has only a few weak owners.
const WEAK: Tally = 1 << (if Tally::BITS == 64 { 32 } else { 26 });

/// One strong owner. All strong owners together count as one weak one.
const ALONE: Tally = WEAK + 1;

/// The most strong owners: well below overflow, well above any realistic count.
const MOST: Tally = WEAK / 2;

/// The most weak owners, likewise.
const MOST_WEAK: Tally = Tally::MAX / WEAK / 2;

// A group has an owner for each member: a call, its place in the group and its continuation,
// together at least 32 words. So memory ends before `MOST` owners exist.
const _: () = assert!(MOST as usize > usize::MAX / (32 * size_of::<usize>()) || usize::BITS > 32);

/// The number of strong owners.
fn owners(counts: Tally) -> Tally {
    counts & (WEAK - 1)
}

/// The number of weak owners.
fn weak(counts: Tally) -> Tally {
    counts / WEAK
}

/// Orders everything that other owners did before they left before what follows.
fn acquire(counts: &AtomicCounts) {
    if cfg!(concurrent_tsan) {
        // ORDERING: Acquire, with the same releases as the fence, which ThreadSanitizer does not
        // know.
        counts.load(Ordering::Acquire);
    } else {
        // ORDERING: Acquire; pairs with the Release of the owners that left.
        fence(Ordering::Acquire);
    }
}

/// The shared block of memory.
///
/// INVARIANT: the value is alive as long as there is a strong owner, the memory as long as there is
/// any owner.
pub(crate) struct Block<C: ?Sized> {
    counts: AtomicCounts,
    value: ManuallyDrop<C>,
}

/// A strong owner of a value.
pub(crate) struct PairArc<C: ?Sized>(NonNull<Block<C>>);

/// A weak owner.
pub(crate) struct WeakPairArc<C: ?Sized>(NonNull<Block<C>>);

/// The value after its last strong owner [has left](PairArc::leave): no other thread can reach it.
pub(crate) struct LastOwner<C: ?Sized>(NonNull<Block<C>>);

// SAFETY: as for `Arc`: the value is shared by threads, and dropped in the one that has it last.
unsafe impl<C: Send + Sync + ?Sized> Send for PairArc<C> {}
// SAFETY: as above; a thread that has a reference can make itself an owner.
unsafe impl<C: Send + Sync + ?Sized> Sync for PairArc<C> {}
// SAFETY: as above.
unsafe impl<C: Send + Sync + ?Sized> Send for WeakPairArc<C> {}
// SAFETY: as above.
unsafe impl<C: Send + Sync + ?Sized> Sync for WeakPairArc<C> {}

impl<C> PairArc<C> {
    /// Makes a value with two owners.
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

    /// Gives the ownership up, to be taken again by [`from_raw`](Self::from_raw).
    pub(crate) fn into_raw(this: Self) -> *mut Block<C> {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// # Safety
    ///
    /// `block` was returned by [`into_raw`](Self::into_raw), perhaps cast to a trait object of the
    /// value, or back to its type; it is used once.
    pub(crate) unsafe fn from_raw(block: *mut Block<C>) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { NonNull::new_unchecked(block) })
    }

    /// Ends this ownership. The last owner gets the value, to drop it when it is ready to.
    #[inline]
    pub(crate) fn leave(this: Self) -> Option<LastOwner<C>> {
        let block = this.0;
        let counts = ManuallyDrop::new(this);
        let counts = counts.counts();
        // ORDERING: Acquire; earlier owners, weak ones too, left with Release.
        if counts.load(Ordering::Acquire) == ALONE {
            return Some(LastOwner(block));
        }
        // ORDERING: Release; everything that this owner did comes before the drop.
        if owners(counts.fetch_sub(1, Ordering::Release)) == 1 {
            acquire(counts);
            return Some(LastOwner(block));
        }
        None
    }

    pub(crate) fn ptr_eq(this: &Self, other: &Self) -> bool {
        ptr::addr_eq(this.0.as_ptr(), other.0.as_ptr())
    }

    /// The address of the value.
    pub(crate) fn address(this: &Self) -> usize {
        ptr::from_ref(&**this).cast::<()>().addr()
    }

    pub(crate) fn downgrade(this: &Self) -> WeakPairArc<C> {
        // ORDERING: Relaxed; handing the new owner to another thread orders this.
        let counts = this.counts().fetch_add(WEAK, Ordering::Relaxed);
        if weak(counts) > MOST_WEAK {
            abort();
        }
        WeakPairArc(this.0)
    }
}

impl<C: ?Sized> Clone for PairArc<C> {
    fn clone(&self) -> Self {
        // ORDERING: Relaxed; handing the new owner to another thread orders this.
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
        // SAFETY: this is an owner; until the last one has left, all access is shared.
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
        // `self` is not used again.
        drop(Self::leave(Self(self.0)));
    }
}

impl<C: ?Sized> Deref for LastOwner<C> {
    type Target = C;

    fn deref(&self) -> &C {
        // SAFETY: the value is alive until this drops it, and no other thread can reach it.
        unsafe { &(*self.0.as_ptr()).value }
    }
}

impl<C: ?Sized> Drop for LastOwner<C> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the memory is alive.
        let counts = unsafe { &(*self.0.as_ptr()).counts };
        // ORDERING: Acquire; pairs with the Release of the weak owners that left.
        if weak(counts.load(Ordering::Acquire)) == 1 {
            // SAFETY: no other owner is left, strong or weak. The box frees the memory even if the
            // drop of the value unwinds, and does not drop the value itself.
            let mut block = unsafe { Box::from_raw(self.0.as_ptr()) };
            // SAFETY: the value is alive, and not used again.
            return unsafe { ManuallyDrop::drop(&mut block.value) };
        }
        let _memory = WeakPairArc(self.0); // the weak owner that all strong ones were
        // SAFETY: the memory is alive, and no other thread accesses the value any more.
        let value = unsafe { &mut (*self.0.as_ptr()).value };
        // SAFETY: no strong owner is left, and none can come into being.
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
        // ORDERING: Relaxed; everything before this weak owner was made is visible already, and
        // nothing depends on the number.
        let update = self.counts().fetch_update(Ordering::Relaxed, Ordering::Relaxed, another);
        update.ok().map(|_| PairArc(self.0))
    }
}

impl<C: ?Sized> Drop for WeakPairArc<C> {
    fn drop(&mut self) {
        // ORDERING: Release; everything that this owner did, perhaps the drop of the value, comes
        // before the memory is freed.
        if weak(self.counts().fetch_sub(WEAK, Ordering::Release)) == 1 {
            acquire(self.counts());
            // SAFETY: no owner is left. The value has been dropped, and the box does not drop it.
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
