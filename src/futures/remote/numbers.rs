//! The short cut for long vectors of numbers.

use std::any::{Any, TypeId};

use super::codec::Sink;
use crate::futures::process::shm::memory::advise_huge;

/// The types whose vectors are copied as they lie in memory. Serde would go through them one by
/// one, several times slower.
macro_rules! for_each_number {
    ($with:ident) => {
        $with!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64)
    };
}

/// Whether vectors of `T` are copied so.
pub(crate) fn is_number<T: 'static>() -> bool {
    macro_rules! attempt {
        ($($number:ty),*) => { [$(TypeId::of::<$number>()),*] };
    }
    for_each_number!(attempt).contains(&TypeId::of::<T>())
}

impl Sink<'_> {
    /// `None` if `value` is no vector of numbers.
    pub(crate) fn encode_numbers<T: 'static>(&mut self, value: &T) -> Option<Option<()>> {
        let value: &dyn Any = value;
        macro_rules! attempt {
            ($($number:ty),*) => {$(
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    const SIZE: usize = size_of::<$number>();
                    let Some(out) = self.extend(numbers.len() * SIZE) else { return Some(None) };
                    for (to, from) in out.chunks_exact_mut(SIZE).zip(numbers) {
                        to.copy_from_slice(&from.to_ne_bytes());
                    }
                    return Some(Some(()));
                }
            )*};
        }
        for_each_number!(attempt);
        None
    }
}

/// `None` if `T` is no vector of numbers.
pub(crate) fn decode_numbers<T: 'static>(bytes: &[u8]) -> Option<Result<T, String>> {
    let mut decoded: Option<T> = None;
    let slot: &mut dyn Any = &mut decoded;
    macro_rules! attempt {
        ($($number:ty),*) => {$(
            if let Some(slot) = slot.downcast_mut::<Option<Vec<$number>>>() {
                const SIZE: usize = size_of::<$number>();
                if bytes.chunks_exact(SIZE).remainder().is_empty() {
                    let read = |part: &[u8]| {
                        <$number>::from_ne_bytes(part.try_into().expect("exact chunks"))
                    };
                    let mut numbers = Vec::with_capacity(bytes.len() / SIZE);
                    advise_huge(numbers.spare_capacity_mut());
                    numbers.extend(bytes.chunks_exact(SIZE).map(read));
                    *slot = Some(numbers);
                }
                return Some(decoded.ok_or_else(|| "not a whole number of items".into()));
            }
        )*};
    }
    for_each_number!(attempt);
    None
}
