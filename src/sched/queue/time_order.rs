//! The order of times, where a lock is held.
//!
//! A time type may be the user's, and so is its comparison then. It is the one thing of theirs that is
//! called under a lock, so it must not get the better of what the lock protects: if it panics, two
//! times count as equal, and if it lies, the order of the events is wrong and nothing else.

use crate::user_code;

/// Whether `a` is before `b`.
#[inline]
pub(crate) fn earlier<T: Ord>(a: &T, b: &T) -> bool {
    user_code::compare(|| a < b).unwrap_or(false)
}

#[inline]
pub(crate) fn same<T: Ord>(a: &T, b: &T) -> bool {
    user_code::compare(|| a == b).unwrap_or(true)
}

/// Puts things in order as far as their comparison allows it: the standard library's functions panic
/// if they find that it contradicts itself.
pub(crate) fn arrange(sort: impl FnOnce()) {
    user_code::compare(sort);
}
