//! The fast path for vectors of numbers.

use std::any::{Any, TypeId};
use std::mem::MaybeUninit;

use super::{OutOfLineBytes, Sink, Storage};
use crate::futures::sys::mapping::advise_huge;

/// The types whose vectors are copied as they lie in memory. Serde would take them one by one, which is
/// several times slower.
macro_rules! for_each_number {
    ($with:ident) => {
        $with! { u8, i8, u16, i16, u32, i32, u64, i64, f32, f64 }
    };
}

/// Whether vectors of `T` are copied as they lie in memory.
pub(crate) fn is_number<T: 'static>() -> bool {
    macro_rules! attempt {
        ($($number:ty),*) => { [$(TypeId::of::<$number>()),*] };
    }
    for_each_number!(attempt).contains(&TypeId::of::<T>())
}

impl<S: Storage> Sink<'_, S> {
    /// Encodes a vector of numbers; `None` if `value` is none.
    pub(crate) fn encode_numbers<T: 'static>(&mut self, value: &T) -> Option<Option<()>> {
        let value: &dyn Any = value;
        macro_rules! attempt {
            ($($number:ty),*) => {$(
                if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                    return Some(self.append(as_bytes(numbers)));
                }
            )*};
        }
        for_each_number!(attempt);
        None
    }
}

/// A type without padding, for which any bytes are a value.
///
/// # Safety
///
/// The type is like that.
pub(crate) unsafe trait Number: Copy {}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        // SAFETY: it has no padding and no invalid values.
        unsafe impl Number for $number {}
    )*};
}
for_each_number!(numbers);

fn as_bytes<N: Number>(numbers: &[N]) -> &[u8] {
    // SAFETY: numbers are bytes, without padding; the slice borrows them.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Bytes that no other process writes to.
impl OutOfLineBytes for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read<'a>(&self, into: &'a mut [MaybeUninit<u8>]) -> std::io::Result<&'a mut [u8]> {
        let count = <[u8]>::len(self).min(into.len());
        let to = into.as_mut_ptr().cast::<u8>();
        // SAFETY: `count` bytes are there on both sides, which are borrowed, one of them mutably.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), to, count) };
        // SAFETY: the copy has initialized them, and `into` is borrowed for as long.
        Ok(unsafe { std::slice::from_raw_parts_mut(to, count) })
    }
}

/// The numbers that lie in these bytes, which are decoded one by one; an error if `T` is none.
pub(crate) fn numbers_in<T: 'static>(bytes: &[u8]) -> Result<impl Iterator<Item = T>, String> {
    if !is_number::<T>() || bytes.len() % size_of::<T>() != 0 {
        return Err("not a whole number of items".into());
    }
    // SAFETY: the part has the size of a `T`, which is one of the types above: any bytes are a value of it.
    let read = |part: &[u8]| unsafe { part.as_ptr().cast::<T>().read_unaligned() };
    Ok(bytes.chunks_exact(size_of::<T>()).map(read))
}

/// An empty vector with room for `count` numbers.
fn room<N>(count: usize) -> Result<Vec<N>, String> {
    let mut numbers = Vec::new();
    let none = |_| format!("no memory for {count} times {} bytes", size_of::<N>());
    numbers.try_reserve_exact(count).map_err(none)?;
    advise_huge(numbers.spare_capacity_mut());
    Ok(numbers)
}

/// Copies bytes into a vector of numbers.
pub(crate) fn copy_numbers<N: Number>(bytes: &dyn OutOfLineBytes) -> Result<Vec<N>, String> {
    let len = usize::try_from(bytes.len()).map_err(|_| "longer than memory")?;
    if len % size_of::<N>() != 0 {
        return Err("not a whole number of items".into());
    }
    let count = len / size_of::<N>();
    let mut numbers = room::<N>(count)?;
    let to = numbers.spare_capacity_mut().as_mut_ptr().cast::<MaybeUninit<u8>>();
    // SAFETY: there is room for `count` numbers, which are `len` bytes; nothing else borrows it.
    let to = unsafe { std::slice::from_raw_parts_mut(to, len) };
    let start = to.as_ptr().addr();
    let filled = bytes.read(to).map_err(|error| format!("could not be read: {error}"))?;
    if (filled.as_ptr().addr(), filled.len()) != (start, len) {
        return Err("could not be read to its end".into());
    }
    // SAFETY: all bytes of `count` numbers were filled, and any bytes are a number.
    unsafe { numbers.set_len(count) };
    Ok(numbers)
}

/// Decodes a vector of numbers; `None` if `T` is none.
pub(crate) fn decode_out_of_line_numbers<T: 'static>(
    bytes: &dyn OutOfLineBytes,
) -> Option<Result<T, String>> {
    let mut decoded: Option<T> = None;
    let target: &mut dyn Any = &mut decoded;
    macro_rules! attempt {
        ($($number:ty),*) => {$(
            if let Some(target) = target.downcast_mut::<Option<Vec<$number>>>() {
                match copy_numbers(bytes) {
                    Ok(numbers) => *target = Some(numbers),
                    Err(error) => return Some(Err(error)),
                }
                return Some(decoded.ok_or_else(String::new));
            }
        )*};
    }
    for_each_number!(attempt);
    None
}

/// As [`decode_out_of_line_numbers`], from bytes of this process.
pub(crate) fn decode_numbers<T: 'static>(bytes: &[u8]) -> Option<Result<T, String>> {
    decode_out_of_line_numbers(&bytes)
}
