//! [`ProcessDelivery`]: how a call is delivered to a worker process.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::futures::process::channel::message::Message;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::remote::request::{Delivery, RequestRef};
use crate::sync::Mutex;

/// A call as the pool sees it.
pub(crate) type ProcessCallRef = RequestRef<ProcessDelivery>;

/// The pool of a call, as far as the call needs it.
pub(crate) trait DeliveryOwner: Send + Sync {
    /// Takes back a message that is not sent any more.
    fn release(&self, message: Message);

    /// Makes the message of a call ready to be sent, which may be slow, and sends it.
    fn make_ready(self: Arc<Self>, call: ProcessCallRef);

    /// Kills the worker that runs the call; false if none does.
    fn kill(self: Arc<Self>, call: &ProcessDelivery) -> bool;

    /// Spends a moment to receive the answer to the call.
    fn assist(
        self: Arc<Self>,
        call: &ProcessDelivery,
        done: &dyn Fn() -> bool,
        deadline: Option<Instant>,
    );
}

/// Where a call is.
enum Whereabouts {
    /// In the queue, or taken back to it.
    Queued,
    /// Sent to the worker of this page under this number.
    Sent(Arc<SharedPage>, u64),
}

/// The message of a call, and where it is.
pub(crate) struct ProcessDelivery {
    /// `None` when the call has ended.
    pub(crate) message: Mutex<Option<Message>>,
    /// LOCK: taken under the pool's lock, never the other way round.
    place: Mutex<Whereabouts>,
    owner: Weak<dyn DeliveryOwner>,
    /// How many workers have died over it.
    deaths: AtomicU32,
    /// Set while a thread makes the message ready; it then looks for a worker. Under the pool's lock.
    pub(crate) preparing: AtomicBool,
}

impl ProcessDelivery {
    pub(crate) fn new(message: Message, owner: Weak<dyn DeliveryOwner>) -> Self {
        Self {
            message: Mutex::new(Some(message)),
            place: Mutex::new(Whereabouts::Queued),
            owner,
            deaths: AtomicU32::new(0),
            preparing: AtomicBool::new(false),
        }
    }

    /// The call came back to the queue.
    pub(crate) fn returned(&self) {
        *self.place.lock() = Whereabouts::Queued;
    }

    /// Counts one more death over the call; returns their number.
    pub(crate) fn count_death(&self) -> u32 {
        // ORDERING: Relaxed; one supervisor after the other, ordered by the pool's lock.
        self.deaths.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for ProcessDelivery {
    fn drop(&mut self) {
        self.release();
    }
}

impl Delivery for ProcessDelivery {
    const NAME: &'static str = "a call in another process";

    fn release(&self) {
        let message = self.message.lock().take();
        let Some(message) = message else { return };
        match self.owner.upgrade() {
            Some(owner) => owner.release(message),
            None => drop(message),
        }
    }

    fn cancelling(&self, cancel: &mut dyn FnMut()) {
        let place = self.place.lock();
        let can = match &*place {
            Whereabouts::Queued => true,
            Whereabouts::Sent(page, seq) => page.revoke(*seq),
        };
        if can {
            cancel();
        }
    }

    fn has_begun(&self) -> bool {
        matches!(&*self.place.lock(), Whereabouts::Sent(page, seq) if page.has_begun(*seq))
    }

    fn kill(&self) -> bool {
        self.owner.upgrade().is_some_and(|owner| owner.kill(self))
    }

    fn assist(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        if let Some(owner) = self.owner.upgrade() {
            owner.assist(self, done, deadline);
        }
    }
}

impl ProcessCallRef {
    /// Notes that the call goes to a worker; false if it has ended. No user code runs.
    pub(crate) fn offer(&self, page: &Arc<SharedPage>, seq: u64) -> bool {
        let mut place = self.delivery().place.lock();
        if self.is_done() {
            return false;
        }
        page.offer(seq);
        *place = Whereabouts::Sent(Arc::clone(page), seq);
        true
    }

    /// The worker has answered: makes the call RUNNING, unless it is cancelled, until it ends. No user code
    /// runs.
    ///
    /// Before that the call is PENDING. Only the shared page knows whether the worker has begun it, so there
    /// is nothing to undo when the call comes back.
    pub(crate) fn answered(&self) {
        let _ = self.start(); // an error: it was cancelled
    }

    /// Makes the message ready to be sent, and sends it, if the pool is still there.
    pub(crate) fn make_ready(self) {
        if let Some(owner) = self.delivery().owner.upgrade() {
            owner.make_ready(self);
        }
    }

    /// Whether this is the call that is delivered so.
    pub(crate) fn is(&self, call: &ProcessDelivery) -> bool {
        ptr::eq(self.delivery(), call)
    }
}
