//! Comparisons of times, which may run under a lock.
//!
//! A time type may be the user's, and with it the comparison. It is the only user code that runs
//! under a lock, so it must not damage what the lock protects: if it panics, the two times count as
//! equal; if it contradicts itself, the order of the events is wrong and nothing else.

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

/// Runs `sort`, and contains its panic: the standard library's sorts may panic if the comparison
/// contradicts itself.
pub(crate) fn arrange(sort: impl FnOnce()) {
    user_code::compare(sort);
}
