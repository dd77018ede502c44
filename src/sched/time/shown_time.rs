//! The time that a virtual clock shows: a cell that several threads read and set.
//!
//! A time that is a number of the machine's size is one atomic. Any other type of the user's may
//! have padding, or be a pointer, so that no atomic can hold it: it is behind a lock, and new
//! values are computed outside of the lock.

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clock::TimePoint;
use super::float::Float;
use crate::sync::Mutex;

pub(crate) struct ShownTime<T> {
    /// The time, if it is a number.
    number: AtomicUsize,
    /// If it is not: the time, and how often it was set.
    other: Mutex<(T, u64)>,
}

impl<T: TimePoint> ShownTime<T> {
    pub(crate) fn new(time: T) -> Self {
        let number = AtomicUsize::new(to_number(time).unwrap_or_default());
        Self { number, other: Mutex::new((time, 0)) }
    }

    #[inline]
    pub(crate) fn get(&self) -> T {
        // ORDERING: Acquire, with `update`: a thread that reads a time sees everything before it
        // was set.
        let number = self.number.load(Ordering::Acquire);
        from_number(number).unwrap_or_else(|| self.other.lock().0)
    }

    /// Sets what `next` makes of the time, unless that is `None`; returns what is shown then. `next`
    /// is called again if another thread was faster.
    #[inline]
    pub(crate) fn update(&self, next: impl Fn(T) -> Option<T>) -> T {
        let mut number = self.number.load(Ordering::Acquire); // ORDERING: as in `get`
        let Some(mut now) = from_number(number) else { return self.update_other(next) };
        loop {
            let Some((time, new)) = next(now).and_then(|time| Some((time, to_number(time)?)))
            else {
                return now;
            };
            // ORDERING: AcqRel, for `get` and as in it.
            let set =
                self.number.compare_exchange_weak(number, new, Ordering::AcqRel, Ordering::Acquire);
            match set {
                Ok(_) => return time,
                Err(current) => number = current,
            }
            now = from_number(number).unwrap_or(now);
        }
    }

    fn update_other(&self, next: impl Fn(T) -> Option<T>) -> T {
        loop {
            let (now, version) = *self.other.lock();
            let Some(time) = next(now) else { return now };
            let mut shown = self.other.lock();
            if shown.1 == version {
                *shown = (time, version + 1);
                return time;
            }
        }
    }
}

/// Which of the two is decided when it is compiled: what is compared are types.
macro_rules! numbers {
    ($($number:ty)*) => {
        #[inline]
        fn to_number<T: TimePoint>(time: T) -> Option<usize> {
            let time: &dyn Any = &time;
            if let Some(time) = time.downcast_ref::<Float>() {
                return usize::try_from(time.get().to_bits()).ok().filter(|_| WIDE);
            }
            $(if size_of::<$number>() <= size_of::<usize>() {
                if let Some(number) = time.downcast_ref::<$number>() {
                    return Some(*number as usize);
                }
            })*
            None
        }

        #[inline]
        fn from_number<T: TimePoint>(number: usize) -> Option<T> {
            let time = |time: &dyn Any| time.downcast_ref::<T>().copied();
            let float = WIDE.then(|| Float::new(f64::from_bits(number as u64)).ok()).flatten();
            if let Some(float) = float.and_then(|float| time(&float)) {
                return Some(float);
            }
            $(if size_of::<$number>() <= size_of::<usize>() {
                if let Some(time) = time(&(number as $number)) {
                    return Some(time);
                }
            })*
            None
        }
    };
}

/// Whether a number of the machine's size holds a [`Float`].
const WIDE: bool = size_of::<usize>() == size_of::<u64>();

numbers!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn survives<T: TimePoint>(times: &[T]) {
        for time in times {
            let number = to_number(*time).expect("it is a number");
            assert_eq!(from_number::<T>(number), Some(*time));
        }
    }

    #[test]
    fn a_number_is_the_same_afterwards() {
        survives(&[i8::MIN, -1, 0, i8::MAX]);
        survives(&[i32::MIN, -1, 0, i32::MAX]);
        survives(&[u16::MIN, 1, u16::MAX]);
        survives(&[isize::MIN, -1, 0, isize::MAX]);
        survives(&[usize::MIN, usize::MAX]);
        #[cfg(target_pointer_width = "64")]
        survives(
            &[f64::NEG_INFINITY, -0.5, 0.0, f64::MAX].map(|n| Float::new(n).expect("a number")),
        );
        assert_eq!(to_number(Duration::ZERO), None);
        assert_eq!(from_number::<Duration>(0), None);
    }
}
