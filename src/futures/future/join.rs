//! [`join_all`] and [`first_ok`]: one call made of many.
//!
//! A call that is made of others has a [`Group`] for its kind. Each member reports its end to the
//! group, which ends when it has what it needs, and then cancels the members that are left.

use std::sync::Arc;

use crate::error::Error;
use crate::futures::Future;
use crate::futures::call::continuation::{Continuations, try_end, when_settled};
use crate::futures::call::dependency::{
    DependencyRef, DependsOn, OnChange, dependency_on, request_cancel, source_of,
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
    join("join_all", futures, All { values })
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
    join("first_ok", futures, First { failure: None })
}

fn into_calls<T>(futures: impl IntoIterator<Item = Future<T>>) -> Vec<AnyCall<T>> {
    futures.into_iter().map(Future::into_call).collect()
}

/// How the ends of the members decide that of the group. Called under the group's lock, so it drops
/// nothing.
trait JoinPolicy<T>: Send + 'static {
    type Value: Send + 'static;

    /// Adds the end of a member. `left` is how many have not ended.
    fn add(&mut self, index: usize, ending: Ending<T>, left: usize) -> JoinStep<T, Self::Value>;
}

enum JoinStep<T, U> {
    /// More ends are needed. The caller drops the outcome that is not needed any more.
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
        // The failure before, if any, is kept, to be dropped with the policy.
        let last = std::mem::replace(&mut self.failure, before);
        JoinStep::End(last.map_or(Ending::Cancelled, |error| Ending::Finished(Err(error))))
    }
}

/// The kind of a call made of others.
struct Group<G> {
    name: &'static str,
    /// `None` once the call ended or is about to.
    open: Mutex<Option<Open<G>>>,
}

struct Open<G> {
    policy: G,
    left: usize,
    /// `None` for those that have ended.
    members: Vec<Option<DependencyRef>>,
    /// Blocked threads have checked the members with this index, or a higher one. They rely on one
    /// of them, which may end without ending the group.
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

    fn cancelled(&self, continuations: &mut Continuations) {
        let open = self.open.lock().take();
        if let Some(open) = open {
            leave(continuations, open, |continuations, member| {
                source_of(member).cancel(continuations);
            });
        }
    }
}

/// Cancels the members that are left, and drops the policy with the outcomes that it has.
fn leave<G: Send + 'static>(
    continuations: &mut Continuations,
    open: Open<G>,
    cancel: impl Fn(&mut Continuations, DependencyRef) + Send + 'static,
) {
    // As a continuation, since groups may be nested deeply.
    continuations.push(Box::new(move |continuations| {
        continuations.user_code(move |_| {
            contain("dropping results that are not needed", || drop(open.policy));
        });
        for member in open.members.into_iter().flatten() {
            cancel(continuations, member);
        }
    }));
}

fn join<T, G>(name: &'static str, calls: Vec<AnyCall<T>>, policy: G) -> Future<G::Value>
where
    T: Send + 'static,
    G: JoinPolicy<T>,
{
    let members = calls.iter().map(|call| Some(dependency_on(call))).collect();
    let open = Open { policy, left: calls.len(), members, watched_from: usize::MAX };
    let (group, own) = Call::pair(Group { name, open: Mutex::new(Some(open)) });
    Continuations::with(|continuations| {
        for (index, member) in calls.into_iter().enumerate() {
            let continuation = {
                let (group, member) = (PairArc::clone(&group), PairArc::clone(&member));
                Box::new(move |continuations: &mut Continuations| {
                    member_ended(continuations, &group, index, member.take_ending());
                })
            };
            // The only future of the member is gone, so the group owns the outcome.
            when_settled(continuations, &member, continuation);
        }
    });
    Future::from_call(own)
}

fn member_ended<T, G: JoinPolicy<T>>(
    continuations: &mut Continuations,
    group: &PairArc<Call<G::Value, Group<G>>>,
    index: usize,
    ending: Ending<T>,
) {
    let (ending, open) = {
        let mut slot = group.kind().open.lock();
        let Some(open) = slot.as_mut() else {
            drop(slot);
            contain("dropping a result that is not needed", || drop(ending));
            return;
        };
        open.left -= 1;
        open.members[index] = None;
        while open.members.last().is_some_and(Option::is_none) {
            open.members.pop();
        }
        match open.policy.add(index, ending, open.left) {
            JoinStep::Wait(unneeded) => {
                let watched = index >= open.watched_from;
                if watched {
                    open.watched_from = usize::MAX;
                }
                drop(slot);
                if watched {
                    recheck_blocked(Recheck::Composed); // the group depends on fewer calls now
                }
                contain("dropping a failure that is not needed", || drop(unneeded));
                return;
            }
            JoinStep::End(ending) => (ending, slot.take()),
        }
    };
    let call = PairArc::clone(group).erase();
    match ending {
        Ending::Cancelled => {
            let _ = call.try_cancel(continuations); // or it has ended
        }
        Ending::Finished(outcome) => {
            if let Err(late) = try_end(continuations, &call, outcome) {
                contain("dropping a result that is not needed", || drop(late));
            }
        }
    }
    if let Some(open) = open {
        leave(continuations, open, |continuations, member| {
            request_cancel(continuations, &*member);
        });
    }
}
