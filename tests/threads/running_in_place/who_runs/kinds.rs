//! Every kind of wait, for calls that record who runs them.

use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use concurrent::Result;
use concurrent::futures::ReturnWhen::{AllCompleted, FirstCompleted, FirstException};
use concurrent::futures::{
    Future, MapOptions, ReturnWhen, as_completed, as_completed_timeout, first_ok, join_all, wait,
};

use crate::support::Pool;

/// Longer than any test takes.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// When a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// When all that it waits for has ended, and not before.
    WithAll,
    /// Perhaps before: with some of several calls, or by a deadline of what it waits for.
    Early,
    /// As [`Early`](Self::Early), until it comes down to one call that has to end.
    EarlyAtFirst,
    /// At its own time limit, if not before.
    InTime,
}

#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) ends: Ends,
    /// With so many free workers, each of its calls finds one.
    pub(super) calls: usize,
    /// How many have run when the wait ends, if they run one after the other.
    pub(super) needed: usize,
    /// What comes of it is the same however many have run.
    pub(super) wait: fn(&Calls) -> Result<u64>,
}

/// Makes calls that give their number and record their thread.
#[derive(Clone)]
pub(super) struct Calls {
    pool: Pool,
    /// The limit of a wait that has one.
    limit: Duration,
    ran: Arc<Mutex<Vec<ThreadId>>>,
}

impl Calls {
    pub(super) fn new(pool: &Pool, limit: Duration) -> Self {
        Self { pool: Arc::clone(pool), limit, ran: Arc::default() }
    }

    /// In which threads calls have run until now.
    pub(super) fn ran(&self) -> Vec<ThreadId> {
        self.ran.lock().unwrap().clone()
    }

    fn run(&self, number: u64) -> u64 {
        self.ran.lock().unwrap().push(thread::current().id());
        number
    }

    fn call(&self, number: u64) -> Future<u64> {
        let own = self.clone();
        self.pool.spawn(move || own.run(number)).unwrap()
    }

    fn fails(&self) -> Future<u64> {
        let own = self.clone();
        self.pool
            .spawn(move || Err::<u64, _>(format!("as asked: {}", own.run(0))))
            .unwrap()
            .flatten()
    }

    /// A call that comes up when `first` has ended.
    fn and_then(&self, first: Future<u64>) -> Future<u64> {
        let own = self.clone();
        first.and_then(move |number| own.call(number + 1))
    }

    fn both(&self) -> Future<u64> {
        join_all([self.call(1), self.call(2)]).map(|both| both.iter().sum())
    }

    fn one_of_two(&self) -> Future<u64> {
        first_ok([self.fails(), self.call(3)])
    }

    /// How many are done; of those that may be more, if it is enough.
    fn wait(&self, limit: Option<Duration>, mode: ReturnWhen) -> Result<u64> {
        let done = wait([self.call(1), self.call(2)], limit, mode).done.len() as u64;
        Ok(if mode == FirstCompleted { done.min(1) } else { done })
    }

    /// Whether the one that fails has ended.
    fn wait_for_a_failure(&self, limit: Option<Duration>) -> Result<u64> {
        let outcome = wait([self.fails(), self.call(1)], limit, FirstException);
        Ok(outcome.done.iter().filter(|call| call.exception().is_ok_and(|e| e.is_some())).count()
            as u64)
    }

    fn map(&self, options: MapOptions) -> Result<u64> {
        let own = self.clone();
        self.pool.map_with(options, move |number| own.run(number), [1, 2])?.sum()
    }
}

const fn kind(
    ends: Ends,
    (calls, needed): (usize, usize),
    name: &'static str,
    wait: fn(&Calls) -> Result<u64>,
) -> Kind {
    Kind { name, ends, calls, needed, wait }
}

pub(super) fn kinds() -> Vec<Kind> {
    use Ends::{Early, EarlyAtFirst, InTime, WithAll};
    vec![
        kind(WithAll, (1, 1), "result", |own| own.call(1).result().copied()),
        kind(WithAll, (1, 1), "into_result", |own| own.call(1).into_result()),
        kind(WithAll, (1, 1), "exception", |own| {
            own.call(1).exception().map(|e| u64::from(e.is_some()))
        }),
        kind(WithAll, (2, 2), "wait for all", |own| own.wait(None, AllCompleted)),
        kind(WithAll, (2, 2), "map", |own| own.map(MapOptions::new())),
        kind(WithAll, (1, 2), "map in chunks", |own| own.map(MapOptions::new().chunk_size(2))),
        kind(WithAll, (1, 1), "map of a call", |own| own.call(1).map(|n| n + 1).into_result()),
        kind(WithAll, (1, 1), "flatten", |own| Ok(u64::from(own.fails().into_result().is_err()))),
        kind(WithAll, (2, 2), "and_then", |own| own.and_then(own.call(1)).into_result()),
        kind(WithAll, (2, 3), "and_then twice", |own| {
            own.and_then(own.and_then(own.call(1))).into_result()
        }),
        kind(WithAll, (2, 2), "or_else", |own| {
            let again = own.clone();
            own.fails().or_else(move |_| again.call(2)).into_result()
        }),
        kind(WithAll, (2, 2), "the end of a scope", |own| {
            own.pool.scope(|s| {
                drop(s.spawn(|| own.run(1)));
                drop(s.spawn(|| own.run(2)));
            });
            Ok(own.ran().len() as u64)
        }),
        kind(WithAll, (1, 1), "a call of a scope", |own| {
            own.pool.scope(|s| s.spawn(|| own.run(1)).unwrap().into_result())
        }),
        kind(Early, (2, 1), "wait for the first", |own| own.wait(None, FirstCompleted)),
        kind(Early, (2, 2), "wait for a failure in vain", |own| own.wait(None, FirstException)),
        kind(Early, (2, 1), "wait for a failure", |own| own.wait_for_a_failure(None)),
        kind(Early, (2, 2), "as_completed", |own| {
            as_completed([own.call(1), own.call(2)]).map(Future::into_result).sum()
        }),
        kind(Early, (2, 1), "as_completed, the first", |own| {
            as_completed([own.call(1), own.call(1)]).next().unwrap().into_result()
        }),
        kind(Early, (2, 2), "unordered map", |own| own.map(MapOptions::new().unordered(true))),
        kind(Early, (2, 2), "first_ok", |own| own.one_of_two().into_result()),
        kind(Early, (2, 2), "join_all", |own| own.both().into_result()),
        kind(Early, (2, 1), "join_all of a failure", |own| {
            let both = join_all([own.fails(), own.call(1)]);
            Ok(u64::from(both.into_result().is_err()))
        }),
        kind(EarlyAtFirst, (3, 3), "and_then of join_all", |own| {
            own.and_then(own.both()).into_result()
        }),
        kind(EarlyAtFirst, (3, 3), "and_then of first_ok", |own| {
            own.and_then(own.one_of_two()).into_result()
        }),
        kind(Early, (1, 1), "with_timeout", |own| own.call(1).with_timeout(HOUR).into_result()),
        kind(Early, (1, 2), "with_timeout of and_then", |own| {
            own.and_then(own.call(1)).with_timeout(HOUR).into_result()
        }),
        kind(EarlyAtFirst, (2, 2), "and_then of with_timeout", |own| {
            own.and_then(own.call(1).with_timeout(HOUR)).into_result()
        }),
        kind(Early, (2, 2), "join_all of with_timeout", |own| {
            let both = [own.call(1), own.call(2)].map(|call| call.with_timeout(HOUR));
            join_all(both).into_result().map(|both| both.iter().sum())
        }),
        kind(Early, (2, 2), "with_timeout of join_all", |own| {
            own.both().with_timeout(HOUR).into_result()
        }),
        kind(InTime, (1, 1), "result_timeout", |own| {
            own.call(1).result_timeout(own.limit).copied()
        }),
        kind(InTime, (1, 2), "result_timeout of and_then", |own| {
            own.and_then(own.call(1)).result_timeout(own.limit).copied()
        }),
        kind(InTime, (2, 2), "result_timeout of join_all", |own| {
            own.both().result_timeout(own.limit).copied()
        }),
        kind(InTime, (2, 2), "wait for all in time", |own| own.wait(Some(own.limit), AllCompleted)),
        kind(InTime, (2, 1), "wait for the first in time", |own| {
            own.wait(Some(own.limit), FirstCompleted)
        }),
        kind(InTime, (2, 1), "wait for a failure in time", |own| {
            own.wait_for_a_failure(Some(own.limit))
        }),
        kind(InTime, (2, 2), "as_completed_timeout", |own| {
            let calls = as_completed_timeout([own.call(1), own.call(2)], own.limit);
            calls.map(|call| call?.into_result()).sum()
        }),
        kind(InTime, (2, 2), "map in time", |own| own.map(MapOptions::new().timeout(own.limit))),
        kind(InTime, (2, 2), "unordered map in time", |own| {
            own.map(MapOptions::new().unordered(true).timeout(own.limit))
        }),
    ]
}
