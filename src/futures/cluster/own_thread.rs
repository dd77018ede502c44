//! The thread of a pool on root: turn by turn, until the pool has ended.
//!
//! User code runs between two turns. If it waits for a call, the turns go on meanwhile, below it on
//! the same stack: otherwise nobody could end that call.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::manager::{Look, Manager, WORKING};
use super::patience::Patience;
use super::shared::{End, Shared};
use super::transport::{Fault, Transport};

/// How often to look at a pool that has nothing to do, for the deaths of ranks.
const IDLE: Duration = Duration::from_millis(50);

thread_local! {
    /// In the thread of a pool: what it does.
    static OWN: RefCell<Option<Rc<dyn Own>>> = const { RefCell::new(None) };
}

/// Spends a wait in the thread of a pool with the pool's turns; elsewhere does nothing.
pub(super) fn attend(done: &dyn Fn() -> bool, deadline: Option<Instant>) {
    let own = OWN.try_with(|own| own.borrow().clone()).ok().flatten();
    if let Some(own) = own {
        own.attend(done, deadline);
    }
}

trait Own {
    fn attend(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>);
}

struct OwnThread<T> {
    shared: Arc<Shared>,
    manager: RefCell<Manager<T>>,
}

/// Until the pool was shut down and all calls are done.
pub(crate) fn run<T: Transport + 'static>(manager: Manager<T>) -> End {
    let shared = Arc::clone(manager.shared());
    shared.adopt_thread();
    let own = Rc::new(OwnThread { shared, manager: RefCell::new(manager) });
    OWN.set(Some(Rc::clone(&own) as Rc<dyn Own>));
    let driven = own.drive(&|look| look.over).and_then(|()| own.manager.borrow_mut().stop());
    OWN.set(None);
    match driven {
        Ok(()) => End::Stopped,
        Err(fault) => {
            own.tell(); // what came before that
            own.shared.break_off(fault.clone().into_error());
            End::Faulty(fault)
        }
    }
}

impl<T: Transport> OwnThread<T> {
    /// Turns until one is the last and brings nothing to be told.
    fn drive(&self, is_last: &dyn Fn(&Look) -> bool) -> Result<(), Fault> {
        let mut patience = Patience::new(WORKING);
        loop {
            let look = self.manager.borrow_mut().turn()?;
            let told = self.tell();
            if told || look.busy {
                patience.reset();
            }
            if !told && is_last(&look) {
                return Ok(());
            }
            if told || look.busy {
                continue;
            }
            if let Some(pause) = patience.next_pause() {
                self.shared.sleep(if look.idle { IDLE } else { pause }, look.seen);
            }
        }
    }

    /// Runs user code; whether there was any.
    fn tell(&self) -> bool {
        let mut told = false;
        loop {
            let later = self.manager.borrow_mut().next_later();
            let Some(later) = later else { return told };
            later.run(&self.shared);
            told = true;
        }
    }
}

impl<T: Transport> Own for OwnThread<T> {
    fn attend(&self, done: &dyn Fn() -> bool, deadline: Option<Instant>) {
        if self.manager.try_borrow_mut().is_err() {
            return; // a logger that waits
        }
        let late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        while !done() && !late() {
            self.tell();
            if done() {
                return;
            }
            if let Err(fault) = self.drive(&|_| true) {
                self.shared.break_off(fault.into_error()); // the awaited call too
                return;
            }
            let seen = self.shared.version();
            if !done() {
                self.shared.sleep(Duration::from_micros(50), seen);
            }
        }
    }
}
