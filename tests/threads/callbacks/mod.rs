//! `add_done_callback`.

mod panicking;
mod running;
mod waiting;

use std::sync::mpsc;

use concurrent::futures::Future;

/// Adds a callback that sends what `look` sees.
pub(super) fn report<R: Send + 'static>(
    future: &Future<i32>,
    look: impl FnOnce(&Future<i32>) -> R + Send + 'static,
) -> mpsc::Receiver<R> {
    let (sender, receiver) = mpsc::channel();
    future.add_done_callback(move |future| sender.send(look(future)).unwrap());
    receiver
}
