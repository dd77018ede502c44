//! [`join_all`] and [`first_ok`]: one call made of many.
//!
//! A call that was made of others has a [`Group`] for a body. Each member reports its end to it; the
//! group ends when it has what it needs, and then cancels the members that are left.

use std::sync::Arc;

use crate::error::Error;
use crate::futures::Future;
use crate::futures::call::continuation::{Continuations, try_end, when_settled};
use crate::futures::call::dependency::{
    DependencyRef, DependsOn, OnChange, request_cancel, source_of, upstream,
};
use crate::futures::call::pair_arc::PairArc;
use crate::futures::call::shared_state::CallResult;
use crate::futures::call::{AnyCall, Call, CallKind, Ending};
use crate::futures::deadlock::{Recheck, recheck_blocked};
use crate::sync::Mutex;
use crate::user_code::contain;

/// Makes a call whose value is that of all `futures`, in the order given.
///
/// It fails as soon as one of them fails, with that failure, and is cancelled if somebody cancels
/// one of them. In both cases the others are cancelled; those that run are [asked to
/// stop](crate::futures::is_cancel_requested) and go on, and their results are dropped. Cancelling
/// the new call cancels all of them in the same way, and succeeds until the last is done: the new
/// call counts as pending until then. With no futures it is done at once.
///
/// To wait for calls whatever becomes of each, see [`wait`](crate::futures::wait()) and
/// [`as_completed`](crate::futures::as_completed()).
///
/// # Blocking
///
/// Never: no thread waits for the calls.
///
/// # Threads
///
/// The new call ends, and its callbacks run, in the thread that ends the last of the calls.
///
/// # Python
///
/// None; `asyncio.gather` does this for coroutines.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ThreadPoolExecutor, join_all};
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let lengths = ["one", "three"].map(|word| pool.submit(str::len, word));
/// let lengths = join_all(lengths.into_iter().collect::<Result<Vec<_>, _>>()?);
/// assert_eq!(lengths.into_result()?, [3, 5]);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[doc(alias = "gather")]
pub fn join_all<T: Send + 'static>(futures: impl IntoIterator<Item = Future<T>>) -> Future<Vec<T>> {
    let futures = into_calls(futures);
    if futures.is_empty() {
        return Future::ready(Vec::new());
    }
    let values = futures.iter().map(|_| None).collect();
    gather("join_all", futures, All { values })
}

/// Makes a call that ends with the first success among `futures`, and cancels the others.
///
/// Calls that run then are [asked to stop](crate::futures::is_cancel_requested) and go on, and
/// their results are dropped. If none succeeds, the new call fails like the last one that failed;
/// if all are cancelled, it is cancelled. Cancelling the new call cancels all of them, and succeeds
/// until it is done: it counts as pending until then.
///
/// # Blocking
///
/// Never: no thread waits for the calls.
///
/// # Threads
///
/// The new call ends, and its callbacks run, in the thread that ends the deciding call. The
/// captures of the cancelled calls are dropped there.
///
/// # Errors
///
/// With no futures, the call fails with [`Error::InvalidArgument`].
///
/// # Python
///
/// None; it is Java's `invokeAny`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::{ThreadPoolExecutor, first_ok};
///
/// let pool = ThreadPoolExecutor::new(2)?;
/// let mirrors = ["down", "42"].map(|answer| pool.submit(str::parse::<u8>, answer));
/// let mirrors = mirrors.into_iter().collect::<Result<Vec<_>, _>>()?;
/// let answer = first_ok(mirrors.into_iter().map(|call| call.flatten()));
/// assert_eq!(answer.into_result()?, 42);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[doc(alias = "invokeAny")]
pub fn first_ok<T: Send + 'static>(futures: impl IntoIterator<Item = Future<T>>) -> Future<T> {
    let futures = into_calls(futures);
    if futures.is_empty() {
        let text = "first_ok needs at least one future";
        return Future::ended(Err(Error::InvalidArgument(text.into())));
    }
    gather("first_ok", futures, First { failure: None })
}

fn into_calls<T>(futures: impl IntoIterator<Item = Future<T>>) -> Vec<AnyCall<T>> {
    futures.into_iter().map(Future::into_call).collect()
}

/// What a group has of its members so far. Called under the group's lock: it drops nothing.
trait JoinPolicy<T>: Send + 'static {
    type Value: Send + 'static;

    /// Takes in how a member ended. `left` is how many have not.
    fn add(&mut self, index: usize, ending: Ending<T>, left: usize) -> JoinStep<T, Self::Value>;
}

enum JoinStep<T, U> {
    /// More ends are needed. What is not needed any more is dropped by the caller.
    Wait(Option<CallResult<T>>),
    /// The group ends like this.
    End(Ending<U>),
}

struct All<T> {
    values: Vec<Option<T>>,
}

impl<T: Send + 'static> JoinPolicy<T> for All<T> {
    type Value = Vec<T>;

    fn add(&mut self, index: usize, ending: Ending<T>, left: usize) -> JoinStep<T, Vec<T>> {
        match ending {
            Ending::Finished(Ok(value)) => {
                self.values[index] = Some(value);
                if left > 0 {
                    return JoinStep::Wait(None);
                }
                let values = std::mem::take(&mut self.values);
                JoinStep::End(Ending::Finished(Ok(values.into_iter().flatten().collect())))
            }
            Ending::Finished(Err(error)) => JoinStep::End(Ending::Finished(Err(error))),
            Ending::Cancelled => JoinStep::End(Ending::Cancelled),
        }
    }
}

struct First {
    /// The latest.
    failure: Option<Box<Error>>,
}

impl<T: Send + 'static> JoinPolicy<T> for First {
    type Value = T;

    fn add(&mut self, _index: usize, ending: Ending<T>, left: usize) -> JoinStep<T, T> {
        let before = match ending {
            Ending::Finished(Ok(value)) => return JoinStep::End(Ending::Finished(Ok(value))),
            Ending::Finished(Err(error)) => self.failure.replace(error),
            Ending::Cancelled => None,
        };
        if left > 0 {
            return JoinStep::Wait(before.map(Err));
        }
        // The one before, if any, is kept to be dropped with the group's remains.
        let last = std::mem::replace(&mut self.failure, before);
        JoinStep::End(last.map_or(Ending::Cancelled, |error| Ending::Finished(Err(error))))
    }
}

/// The body of a call made of others.
struct Group<G> {
    name: &'static str,
    /// `None` once the call ended or is about to.
    open: Mutex<Option<Open<G>>>,
}

struct Open<G> {
    gathered: G,
    left: usize,
    /// `None` for those that have ended.
    members: Vec<Option<DependencyRef>>,
    /// Blocked threads looked at the members with such an index, or a higher one: they count on one
    /// of them, which may end in a way that does not end the group.
    watched_from: usize,
}

impl<T, G: Send + 'static> CallKind<T> for Group<G> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn follows(&self, _watch: OnChange) -> DependsOn {
        DependsOn::Group
    }

    fn members(&self) -> Vec<DependencyRef> {
        let open = self.open.lock();
        open.as_ref().map_or_else(Vec::new, |open| open.members.iter().flatten().cloned().collect())
    }

    fn member_before(&self, end: usize) -> Option<(usize, DependencyRef)> {
        let mut open = self.open.lock();
        let open = open.as_mut()?;
        let members = open.members[..end.min(open.members.len())].iter().enumerate().rev();
        let (index, member) =
            members.filter_map(|(index, member)| Some((index, member.as_ref()?))).next()?;
        open.watched_from = open.watched_from.min(index);
        Some((index, Arc::clone(member)))
    }

    fn cancelled(&self, chain: &mut Continuations) {
        let open = self.open.lock().take();
        if let Some(open) = open {
            leave(chain, open, |chain, member| {
                source_of(member).cancel(chain);
            });
        }
    }
}

/// Ends the group's interest in its members, and drops what it has of them.
fn leave<G: Send + 'static>(
    chain: &mut Continuations,
    open: Open<G>,
    cancel: impl Fn(&mut Continuations, DependencyRef) + Send + 'static,
) {
    // On the list, for a group in a group in a group ...
    chain.push(Box::new(move |chain| {
        chain.user_code(move |_| {
            contain("dropping results that nobody needs", || drop(open.gathered));
        });
        for member in open.members.into_iter().flatten() {
            cancel(chain, member);
        }
    }));
}

fn gather<T, G>(name: &'static str, calls: Vec<AnyCall<T>>, gathered: G) -> Future<G::Value>
where
    T: Send + 'static,
    G: JoinPolicy<T>,
{
    let members = calls.iter().map(|call| Some(upstream(call))).collect();
    let open = Open { gathered, left: calls.len(), members, watched_from: usize::MAX };
    let (group, own) = Call::pair(Group { name, open: Mutex::new(Some(open)) });
    Continuations::with(|chain| {
        for (index, member) in calls.into_iter().enumerate() {
            let rest = {
                let (group, member) = (PairArc::clone(&group), PairArc::clone(&member));
                Box::new(move |chain: &mut Continuations| {
                    member_ended(chain, &group, index, member.take_ending());
                })
            };
            // Its future was the only one, so the group owns the outcome.
            when_settled(chain, &member, rest);
        }
    });
    Future::from_call(own)
}

fn member_ended<T, G: JoinPolicy<T>>(
    chain: &mut Continuations,
    group: &PairArc<Call<G::Value, Group<G>>>,
    index: usize,
    ending: Ending<T>,
) {
    let (ending, open) = {
        let mut slot = group.body().open.lock();
        let Some(open) = slot.as_mut() else {
            drop(slot);
            contain("dropping a result that nobody needs", || drop(ending));
            return;
        };
        open.left -= 1;
        open.members[index] = None;
        while open.members.last().is_some_and(Option::is_none) {
            open.members.pop();
        }
        match open.gathered.add(index, ending, open.left) {
            JoinStep::Wait(unneeded) => {
                let watched = index >= open.watched_from;
                if watched {
                    open.watched_from = usize::MAX;
                }
                drop(slot);
                if watched {
                    recheck_blocked(Recheck::Composed); // the group depends on fewer calls now
                }
                contain("dropping a failure that nobody needs", || drop(unneeded));
                return;
            }
            JoinStep::End(ending) => (ending, slot.take()),
        }
    };
    let call = PairArc::clone(group).erase();
    match ending {
        Ending::Cancelled => {
            let _ = call.try_cancel(chain); // or it has ended
        }
        Ending::Finished(outcome) => {
            if let Err(late) = try_end(chain, &call, outcome) {
                contain("dropping a result that nobody needs", || drop(late));
            }
        }
    }
    if let Some(open) = open {
        leave(chain, open, |chain, member| {
            request_cancel(chain, &*member);
        });
    }
}
