//! [`BufferPool`]: memory for messages that is used again. Touching fresh memory takes longer than copying a
//! large message.

use std::collections::TryReserveError;
use std::sync::Arc;

use crate::sync::Mutex;

/// Buffers for the next messages.
#[derive(Debug, Default)]
pub(crate) struct BufferPool(Mutex<Vec<Vec<u8>>>);

impl BufferPool {
    /// The most buffers, and the most bytes in all, that are kept.
    const KEPT: usize = 16;
    const KEPT_BYTES: usize = 512 << 20;

    /// An empty buffer for at least `capacity` bytes.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        self.take_fitting(capacity).unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// As [`take`](Self::take); an error if there is not enough memory.
    pub(crate) fn try_take(&self, capacity: usize) -> Result<Vec<u8>, TryReserveError> {
        if let Some(fitting) = self.take_fitting(capacity) {
            return Ok(fitting);
        }
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(capacity)?;
        Ok(buffer)
    }

    fn take_fitting(&self, capacity: usize) -> Option<Vec<u8>> {
        let mut kept = self.0.lock();
        let fits = kept.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= capacity);
        let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(index, _)| index);
        best.map(|index| kept.swap_remove(index))
    }

    /// An empty buffer for an unknown number of bytes: the largest one.
    pub(crate) fn take_largest(&self) -> Vec<u8> {
        let mut kept = self.0.lock();
        let largest = kept.iter().enumerate().max_by_key(|(_, buffer)| buffer.capacity());
        let largest = largest.map(|(index, _)| index);
        largest.map(|index| kept.swap_remove(index)).unwrap_or_default()
    }

    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let surplus = {
            let mut kept = self.0.lock();
            let bytes: usize = kept.iter().map(Vec::capacity).sum();
            if kept.len() < Self::KEPT && bytes + buffer.capacity() <= Self::KEPT_BYTES {
                kept.push(buffer);
                None
            } else {
                Some(buffer)
            }
        };
        drop(surplus); // unmapping is slow
    }

    /// Gives a buffer back, unless it has another owner.
    pub(crate) fn give_back_shared(&self, buffer: Arc<Vec<u8>>) {
        if let Some(buffer) = Arc::into_inner(buffer) {
            self.give_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_used_again() {
        let buffers = BufferPool::default();
        for capacity in [100, 10, 1000] {
            buffers.give_back(Vec::with_capacity(capacity));
        }
        assert_eq!(buffers.take(50).capacity(), 100);
        assert_eq!(buffers.take_largest().capacity(), 1000);
        assert!(buffers.take(50).capacity() >= 50);
        assert_eq!(buffers.take(0).capacity(), 10);
        assert_eq!(buffers.take_largest().capacity(), 0);
    }

    #[test]
    fn no_more_than_some_are_kept() {
        let buffers = BufferPool::default();
        (0..100).for_each(|_| buffers.give_back(vec![1; 8]));
        assert_eq!(buffers.0.lock().len(), BufferPool::KEPT);
        assert!(buffers.take(1).is_empty());
        let shared = Arc::new(vec![1; 3]);
        buffers.give_back_shared(Arc::clone(&shared));
        assert_eq!(shared.len(), 3);
    }

    #[test]
    fn what_nobody_has_memory_for_is_an_error() {
        let buffers = BufferPool::default();
        assert!(buffers.try_take(usize::MAX >> 2).is_err());
        assert!(buffers.try_take(100).unwrap().capacity() >= 100);
    }
}
