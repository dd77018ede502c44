//! [`ThreadPoolExecutor::scope`]: calls that borrow from the caller's stack.
//!
//! ```text
//!   scope(body) ── spawn ─► Call<()> ── ScopeTask ─┬─ a box: the user's closure    ('scope)
//!      │                       ▲                   │         and ValueSlot<T> ◄──┐ ('scope)
//!      │                       │ waits,            └─ LiveTask ─┐                │
//!      │                       │ cancels                        │                │
//!      │            ScopedFuture<'scope, T> ────────────────────┼────────────────┘
//!      └── returns only when no live task is left ◄─────────────┘
//! ```
//!
//! To the pool a scoped call is an ordinary one that returns nothing. All user values that may
//! borrow are in its function, the [`ScopeTask`], and leave with it: in whatever way the call ends,
//! the closure is called or dropped, its value goes to the slot, and the [`LiveTask`] is dropped
//! last. A call may outlive the scope, in a queue, in a worker or in a leaked handle; but it
//! contains no user values then.
//!
//! Only this file extends the lifetime of what a user's closure borrows; see [`Scope::spawn`].

mod scoped_future;
mod state;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use scoped_future::ValueSlot;
use state::{Known, LiveTask, ScopeState, WaitsOnDrop};

pub use scoped_future::ScopedFuture;

use super::pool::ThreadPoolExecutor;
use super::shared::PoolShared;
use crate::error::{Error, Result};
use crate::futures::Future;
use crate::futures::call::pair_arc::PairArc;

impl ThreadPoolExecutor {
    /// Calls `body` with a [`Scope`], whose calls may borrow anything that lives longer than the
    /// scope.
    ///
    /// It returns the value of `body` when all calls of the scope have ended.
    ///
    /// # Blocking
    ///
    /// After `body`, until all calls of the scope have ended. In one of the pool's own workers,
    /// calls for which no other worker is free are [run in
    /// place](crate::futures#waiting-inside-of-calls): a scope in a call, in a scope, in a call
    /// ends on a pool of one worker too.
    ///
    /// A scope never ends early. If its calls would never end, because they wait in a circle with
    /// the call that the scope is in, one of their waits fails with [`Error::Deadlock`].
    ///
    /// # Panics
    ///
    /// If `body` panics, the pending calls are cancelled, the running ones are waited for, and the
    /// panic goes on. Otherwise, as with [`std::thread::scope`], it panics if a call panicked and
    /// nobody looked at its result: with the panic of the first such call, in the order of
    /// [`spawn`](Scope::spawn). If that call failed in another way (the pool broke), it panics with
    /// the error's text; likewise after a deadlock of scopes only, for which calls had to be
    /// cancelled.
    ///
    /// # Python
    ///
    /// None: there, closures may borrow without a proof. It is [`std::thread::scope`] on a pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let words = vec!["calls", "that", "borrow"];
    /// let mut longest = 0;
    /// let total = pool.scope(|s| {
    ///     s.spawn(|| longest = words.iter().map(|word| word.len()).max().unwrap_or(0))?;
    ///     let total = s.spawn(|| words.iter().map(|word| word.len()).sum::<usize>())?;
    ///     total.into_result()
    /// })?;
    /// assert_eq!((longest, total), (6, 15));
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    ///
    /// A call cannot borrow from variables of `body`, nor can its handle or the scope itself leave
    /// `body`:
    ///
    /// ```compile_fail,E0373
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1).unwrap();
    /// pool.scope(|s| {
    ///     let local = 1;
    ///     s.spawn(|| println!("{local}")).unwrap(); // `local` is gone before the scope ends
    /// });
    /// ```
    ///
    /// ```compile_fail
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1).unwrap();
    /// let escaped = pool.scope(|s| s.spawn(|| 1).unwrap());
    /// ```
    ///
    /// ```compile_fail,E0521
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1).unwrap();
    /// let mut escaped = None;
    /// pool.scope(|s| escaped = Some(s));
    /// ```
    ///
    /// Nor can a value that borrows from `body` leave it:
    ///
    /// ```compile_fail,E0597
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1).unwrap();
    /// let mut escaped = "";
    /// {
    ///     let text = String::from("gone");
    ///     pool.scope(|s| escaped = s.spawn(|| text.as_str()).unwrap().into_result().unwrap());
    /// }
    /// println!("{escaped}");
    /// ```
    ///
    /// Two calls cannot change the same variable, nor share a value that threads may not share:
    ///
    /// ```compile_fail,E0499
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1).unwrap();
    /// let mut count = 0;
    /// pool.scope(|s| {
    ///     s.spawn(|| count += 1).unwrap();
    ///     s.spawn(|| count += 1).unwrap();
    /// });
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use concurrent::futures::ThreadPoolExecutor;
    /// let pool = ThreadPoolExecutor::new(1).unwrap();
    /// let shared = std::rc::Rc::new(1);
    /// pool.scope(|s| s.spawn(|| println!("{shared}")).map(drop));
    /// ```
    pub fn scope<'env, R>(
        &self,
        body: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    ) -> R {
        let scope = Scope {
            pool: Arc::clone(self.shared()),
            calls: ScopeState::new(),
            scope: PhantomData,
            env: PhantomData,
        };
        let calls = Arc::clone(&scope.calls);
        let _until_all_are_gone = WaitsOnDrop(&calls);
        let returned = catch_unwind(AssertUnwindSafe(|| body(&scope)));
        if returned.is_err() {
            scope.calls.cancel_pending();
        }
        let failed = scope.calls.wait();
        match returned {
            Ok(returned) => {
                match failed {
                    Ok(None) => {}
                    Ok(Some(call)) => raise(call),
                    Err(deadlock) => panic!("{deadlock}"),
                }
                returned
            }
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Resumes the lost failure of a call.
fn raise(call: Known) {
    match Future::from_call(call).result() {
        Ok(()) => {}
        Err(Error::Panicked(panic)) => match panic.take_payload() {
            Some(payload) => resume_unwind(payload),
            None => panic!("{panic}"),
        },
        Err(error) => panic!("{error}"),
    }
}

/// A scope for calls that borrow; [`ThreadPoolExecutor::scope`] makes it.
///
/// `'scope` is the time until the scope has waited for its calls, `'env` that of the variables that
/// they borrow. Calls may spawn into the scope that they are in.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{Scope, ThreadPoolExecutor};
///
/// fn double_all<'scope>(s: &'scope Scope<'scope, '_>, numbers: &'scope mut [u32]) {
///     for number in numbers {
///         s.spawn(move || *number *= 2).expect("the pool takes calls");
///     }
/// }
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let mut numbers = [1, 2, 3];
/// pool.scope(|s| double_all(s, &mut numbers));
/// assert_eq!(numbers, [2, 4, 6]);
/// # Ok::<(), concurrent::Error>(())
/// ```
///
/// Both lifetimes are exact: if one `'scope` could stand for a shorter one, calls could borrow for
/// that only.
///
/// ```compile_fail
/// # use concurrent::futures::Scope;
/// fn shorter<'a, 'scope: 'a, 'env>(s: &'a Scope<'scope, 'env>) -> &'a Scope<'a, 'env> {
///     s
/// }
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    pool: Arc<PoolShared>,
    calls: Arc<ScopeState>,
    /// Invariant: a `Scope` of a shorter `'scope` would let calls borrow for that only.
    scope: PhantomData<&'scope mut &'scope ()>,
    /// Invariant, for the same reason.
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope> Scope<'scope, '_> {
    /// Schedules a closure that may borrow.
    ///
    /// The handle may be dropped: the scope waits all the same. [`wait`](crate::futures::wait())
    /// and [`as_completed`](crate::futures::as_completed()) take it, together with handles of calls
    /// of other types.
    ///
    /// # Threads
    ///
    /// `function` runs in a worker. If the scope, or the call that waits for the result, is in a
    /// worker of the pool itself, it may run there.
    ///
    /// # Errors
    ///
    /// As [`ThreadPoolExecutor::spawn`]; `function` is dropped in this thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use concurrent::futures::{ThreadPoolExecutor, as_completed};
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let mut numbers = [4, 1, 3, 2];
    /// let (low, high) = numbers.split_at_mut(2);
    /// pool.scope(|s| {
    ///     let halves = [s.spawn(|| low.sort())?, s.spawn(|| high.sort())?];
    ///     assert_eq!(as_completed(halves).count(), 2);
    ///     Ok::<(), concurrent::Error>(())
    /// })?;
    /// assert_eq!(numbers, [1, 4, 2, 3]);
    /// # Ok::<(), concurrent::Error>(())
    /// ```
    pub fn spawn<T, F>(&'scope self, function: F) -> Result<ScopedFuture<'scope, T>>
    where
        T: Send + 'scope,
        F: FnOnce() -> T + Send + 'scope,
    {
        let slot = ValueSlot::new();
        let ticket = LiveTask::of(&self.calls);
        let function: Box<dyn FnOnce() + Send + 'scope> = {
            let slot = Arc::clone(&slot);
            Box::new(move || {
                let value = function();
                // SAFETY: only this call writes, once, and no thread reads before the call is finished.
                unsafe { slot.put(value) };
                // The last share of the slot drops the value; that is this one if the handle was
                // dropped.
            })
        };
        // SAFETY: the two types differ in a lifetime only. The claim is that the box is gone,
        // called or dropped, before 'scope ends, and that nothing in it is touched after that.
        //
        // - The `LiveTask` is counted in `self.calls` since before this line. It is beside the box in a
        //   `ScopeTask`, and is always dropped last: `ScopeTask::run` takes the box out of the task, which
        //   is dropped after the box was called, whether that returned or unwound; the destructor of a
        //   task that is not called drops the box, and its fields follow.
        //   So when it is not counted any more, the closure, its captures and its share of the slot are
        //   gone, and so is every stack frame that had them as arguments.
        // - 'scope ends when `ThreadPoolExecutor::scope` returns or unwinds, at the earliest: the
        //   `Scope` that this method borrows for 'scope is a local of it. Either way it drops its
        //   `WaitsOnDrop` first, which returns only when no live task is left, in whatever way the
        //   calls ended: run by a worker, in place, or by the thread that spawned it; cancelled by
        //   any thread (the state says so before the captures are dropped, the `LiveTask` after),
        //   failed because the pool broke, or refused by the queue. A wait that is found to be a
        //   deadlock does not end that. While a `LiveTask` is counted, and thus while any call or
        //   destructor might spawn another, the count does not reach zero.
        // - What a pool puts around the function (its place in a bounded queue, what `propagate`
        //   captured) owns the task or is owned beside it: a hook is lent a `&mut dyn FnMut()`,
        //   which it cannot keep, and if it unwinds, the task goes with the frame that lent it.
        // - If a box is leaked (a pool that is forgotten with calls in its queue), so is its
        //   `LiveTask`, and the scope waits for ever, which is sound.
        // - `Scope` cannot be forgotten or moved away by the body: it gets a reference only.
        // - The value goes to the slot before the `LiveTask` goes. The call outlives the scope in the
        //   queue (if cancelled), in the worker (on its way back from it), or in a handle that was
        //   forgotten; its outcome is `()` or an `Error`, which is 'static, and its function is
        //   gone. The other owner of the slot is the `ScopedFuture`, which carries 'scope: dropped,
        //   it is dropped in time, in the body or with the captures or the value of another call;
        //   forgotten, no thread can reach it, and the value is never dropped.
        // - The vtable of the box, and the drop glue that it names, have no lifetime.
        let function = unsafe {
            std::mem::transmute::<
                Box<dyn FnOnce() + Send + 'scope>,
                Box<dyn FnOnce() + Send + 'static>,
            >(function)
        };
        let task = ScopeTask { function: Some(function), ticket };
        let future = self.pool.enqueue_named(move || task.run(), type_name::<F>())?;
        // After the queue has accepted it, because the scope must not run a refused call. It may
        // have ended.
        self.calls.add(PairArc::clone(future.call()));
        Ok(ScopedFuture::new(future, slot))
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unfinished = self.calls.unfinished();
        f.debug_struct("Scope").field("unfinished", &unfinished).finish_non_exhaustive()
    }
}

/// The function of a scoped call, with the ticket that says that it may be alive.
struct ScopeTask {
    /// `None` once it is called or dropped.
    function: Option<Box<dyn FnOnce() + Send>>,
    /// Dropped last, as a field.
    ticket: LiveTask,
}

impl ScopeTask {
    fn run(mut self) {
        if let Some(function) = self.function.take() {
            function();
        }
    }
}

impl Drop for ScopeTask {
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            self.ticket.while_dropping(|| drop(function));
        }
    }
}
