//! The traits and the size of the public types.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use concurrent::futures::{
    AsCompleted, AsCompletedTimeout, Awaiting, CancelToken, DoneAndNotDone, Future, Map,
    MapOptions, Promise, ReturnWhen, ShutdownOptions, ShutdownReport, ThreadPoolBuilder,
    ThreadPoolExecutor,
};
use concurrent::sched::{Due, Event, Scheduler, SchedulerBuilder, VirtualClock};
use concurrent::{Error, Panic, WorkerDeath};

use crate::support::{finished, pending};

/// Whether a type has a trait, decided where the type is known.
macro_rules! has {
    ($kind:ty: $($bound:path),+) => {{
        #[allow(dead_code, reason = "one of the two is used")]
        trait No {
            const HAS: bool = false;
        }
        impl<T: ?Sized> No for T {}
        struct Asked<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "one of the two is used")]
        impl<T: ?Sized $(+ $bound)+> Asked<T> {
            const HAS: bool = true;
        }
        <Asked<$kind>>::HAS
    }};
}

type Borrowed = &'static Future<i32>;

#[test]
fn handles_and_pools_may_go_to_other_threads() {
    assert!(has!(Future<i32>: Send, Sync, Unpin));
    assert!(has!(Promise<i32>: Send, Sync, Unpin));
    assert!(has!(Awaiting<i32>: Send, Sync, Unpin));
    assert!(has!(ThreadPoolExecutor: Send, Sync, Unpin));
    assert!(has!(ThreadPoolBuilder: Send, Sync, Unpin, Clone));
    assert!(has!(AsCompleted<i32, Borrowed>: Send, Sync, Unpin));
    assert!(has!(AsCompletedTimeout<i32, Borrowed>: Send, Sync, Unpin));
    assert!(has!(Map<'static, i32>: Send, Unpin));
    assert!(has!(Error: Send, Sync, Unpin, Clone));
    assert!(has!(Panic: Send, Sync, Unpin, Clone));
    assert!(has!(ShutdownOptions: Send, Sync, Copy));
    assert!(has!(ShutdownReport: Send, Sync, Copy));
    assert!(has!(MapOptions: Send, Sync, Copy));
    assert!(has!(ReturnWhen: Send, Sync, Copy, Eq));
    assert!(has!(DoneAndNotDone<Borrowed>: Send, Sync, Clone, Eq));
}

// A future hands out `&T`, a promise and a call do not.
#[test]
fn a_result_that_is_not_sync_makes_only_its_future_not_sync() {
    assert!(has!(Future<Cell<i32>>: Send));
    assert!(!has!(Future<Cell<i32>>: Sync));
    assert!(has!(Promise<Cell<i32>>: Send, Sync));
    assert!(has!(Awaiting<Cell<i32>>: Send));
    assert!(!has!(Awaiting<Cell<i32>>: Sync));
    assert!(!has!(&'static Future<Cell<i32>>: Send));
    assert!(!has!(AsCompleted<Cell<i32>, &'static Future<Cell<i32>>>: Send));
}

#[test]
fn a_result_that_is_not_send_stays_in_its_thread() {
    assert!(!has!(Future<Rc<i32>>: Send));
    assert!(!has!(Future<Rc<i32>>: Sync));
    assert!(!has!(Promise<Rc<i32>>: Send));
    assert!(!has!(Promise<Rc<i32>>: Sync));
    assert!(!has!(Awaiting<Rc<i32>>: Send));
    assert!(!has!(Map<'static, Rc<i32>>: Send));
    let guard_like = has!(Future<std::sync::MutexGuard<'static, i32>>: Sync);
    assert!(!guard_like, "a future of a Sync value that is not Send could drop it elsewhere");
}

#[test]
fn ends_of_calls_are_not_cloned() {
    assert!(!has!(Future<i32>: Clone));
    assert!(!has!(Promise<i32>: Clone));
    assert!(!has!(ThreadPoolExecutor: Clone));
}

#[test]
fn everything_may_cross_a_catch_unwind() {
    assert!(has!(Future<Cell<i32>>: UnwindSafe, RefUnwindSafe));
    assert!(has!(Promise<Cell<i32>>: UnwindSafe, RefUnwindSafe));
    assert!(has!(Awaiting<Cell<i32>>: UnwindSafe, RefUnwindSafe));
    assert!(has!(Error: UnwindSafe, RefUnwindSafe));
    assert!(has!(Panic: UnwindSafe, RefUnwindSafe));
    assert!(has!(DoneAndNotDone<Borrowed>: UnwindSafe, RefUnwindSafe));
    assert!(has!(ThreadPoolExecutor: UnwindSafe, RefUnwindSafe));
}

/// The table on the first page of the documentation, row by row.
#[test]
fn the_table_of_what_may_cross_threads_is_true() {
    macro_rules! row {
        ($kind:ty: $send:expr, $sync:expr, $unwind:expr) => {{
            let unwind = has!($kind: UnwindSafe, RefUnwindSafe);
            let found = (has!($kind: Send), has!($kind: Sync), unwind);
            assert_eq!(found, ($send, $sync, $unwind), "{}", stringify!($kind));
        }};
    }
    row!(Future<i32>: true, true, true);
    row!(Future<Cell<i32>>: true, false, true);
    row!(Promise<Cell<i32>>: true, true, true);
    row!(Map<'static, Cell<i32>>: true, false, false);
    row!(AsCompleted<i32, Borrowed>: true, true, false);
    row!(CancelToken: true, true, true);
    row!(ThreadPoolExecutor: true, true, true);
    row!(ThreadPoolBuilder: true, true, false);
    #[cfg(all(feature = "process", target_os = "linux"))]
    {
        row!(concurrent::futures::ProcessPoolExecutor: true, true, true);
        row!(concurrent::futures::process::ProcessPoolBuilder: true, false, false);
        row!(concurrent::futures::process::SharedBytes: true, true, true);
    }
    row!(Scheduler: true, true, true);
    row!(Event<u64>: true, true, true);
    row!(VirtualClock<u64>: true, true, true);
    row!(SchedulerBuilder: true, true, false);
    row!(Due: true, false, false);
    row!(Error: true, true, true);
    row!(Panic: true, true, true);
    row!(WorkerDeath: true, true, true);
}

#[test]
fn handles_are_two_pointers() {
    assert_eq!(size_of::<Future<[u8; 4096]>>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Promise<[u8; 4096]>>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Option<Future<()>>>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<ThreadPoolExecutor>(), size_of::<usize>());
    // A duration, and the text that names the call: 32.
    assert!(size_of::<Error>() <= 32, "{}", size_of::<Error>());
}

// F61: Python's {future: url} idiom works by identity
#[test]
fn futures_are_equal_if_they_are_the_same_call() {
    let ((_a, one), (_b, two)) = (finished(1), finished(1));
    assert!(one == one && one != two);
    let urls = HashMap::from([(&one, "a"), (&two, "b")]);
    assert_eq!((urls[&one], urls[&two]), ("a", "b"));
}

#[test]
fn every_public_type_can_be_printed() {
    let (promise, future) = pending::<Rc<Cell<i32>>>();
    assert!(format!("{promise:?}").starts_with("Promise(<Future at 0x"));
    assert!(format!("{future:?}").ends_with("state=pending>"));
    let pool = ThreadPoolExecutor::builder().max_workers(3).thread_name_prefix("p").build();
    let text = format!("{:?}", pool.unwrap());
    assert!(text.contains("max_workers: 3") && text.contains("pending: 0"), "{text}");
    assert!(!format!("{:?}", ThreadPoolExecutor::builder()).is_empty());
    assert!(!format!("{:?}", std::future::IntoFuture::into_future(future)).is_empty());
}

#[cfg(feature = "process")]
fn takes_any(_: &impl concurrent::futures::Executor) {}

#[cfg(feature = "process")]
#[test]
fn a_pool_is_a_portable_executor() {
    takes_any(&ThreadPoolExecutor::default());
}
