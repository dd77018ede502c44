//! Calls that a full or closed pool hands back.

use std::error::Error as _;
use std::sync::Arc;

use concurrent::Error;
use concurrent::futures::FullQueue;

use crate::support::{Busy, bounded, builder, timely, until};

#[test]
fn a_full_queue_refuses_and_takes_calls_again_when_there_is_room() {
    timely(|| {
        let pool = bounded(2).when_full(FullQueue::Refuse).build().unwrap();
        let busy = Busy::on(&pool);
        let calls = [pool.spawn(|| 1).unwrap(), pool.spawn(|| 2).unwrap()];
        let error = pool.spawn(|| 3).unwrap_err();
        assert!(matches!(error, Error::QueueFull));
        assert_eq!(error.to_string(), "the queue of the executor is full, the call was not taken");
        busy.finish();
        assert_eq!(calls.map(|call| call.into_result().unwrap()), [1, 2]);
        assert_eq!(pool.spawn(|| 4).unwrap().into_result().unwrap(), 4);
    });
}

#[test]
fn a_refused_call_drops_what_it_captured_in_the_submitter() {
    timely(|| {
        let pool = bounded(1).when_full(FullQueue::Refuse).build().unwrap();
        let busy = Busy::on(&pool);
        let _waits = pool.spawn(|| ()).unwrap();
        let captured = Arc::new(());
        let clone = Arc::clone(&captured);
        assert!(pool.spawn(move || drop(clone)).is_err());
        assert_eq!(Arc::strong_count(&captured), 1);
        busy.finish();
    });
}

#[test]
fn try_submit_on_a_full_queue_hands_function_and_argument_back() {
    timely(|| {
        for full in [FullQueue::Block, FullQueue::Refuse, FullQueue::RunInCaller] {
            let pool = bounded(1).when_full(full).build().unwrap();
            let busy = Busy::on(&pool);
            let waits = pool.try_submit(|n: u32| n + 1, 1).unwrap();
            let argument = Box::new(5);
            let refused = pool.try_submit(|n: Box<u32>| *n + 1, argument).unwrap_err();
            assert!(matches!(refused.error(), Error::QueueFull));
            assert_eq!(refused.to_string(), Error::QueueFull.to_string());
            assert_eq!(format!("{refused:?}"), "TrySubmitError { error: QueueFull, .. }");
            let (function, argument) = refused.into_call();
            assert_eq!(function(argument), 6);
            busy.finish();
            assert_eq!(waits.into_result().unwrap(), 2);
        }
    });
}

#[test]
fn try_spawn_hands_the_closure_back_after_a_shutdown() {
    let pool = builder(1).build().unwrap();
    pool.shutdown();
    let text = String::from("kept");
    let (error, call) = pool.try_spawn(move || text).unwrap_err().into_parts();
    assert!(matches!(error, Error::Shutdown));
    assert_eq!(call(), "kept");
    let question_mark = || -> concurrent::Result<()> {
        drop(pool.try_spawn(|| ())?);
        Ok(())
    };
    assert!(matches!(question_mark(), Err(Error::Shutdown)));
}

#[test]
fn try_submit_on_a_pool_without_a_limit_never_refuses() {
    let pool = builder(1).build().unwrap();
    let calls: Vec<_> = (0..1000).map(|n| pool.try_submit(|n: u32| n, n).unwrap()).collect();
    assert!(calls.into_iter().map(|call| call.into_result().unwrap()).eq(0..1000));
}

#[test]
fn the_error_of_a_refused_call_has_the_source_of_its_reason() {
    timely(|| {
        let pool = builder(1).initializer(|| Err::<(), _>("no")).build().unwrap();
        assert!(pool.spawn(|| ()).unwrap().into_result().is_err());
        until(|| pool.spawn(|| ()).is_err());
        let refused = pool.try_spawn(|| ()).unwrap_err();
        let source = refused.source().expect("what the initializer returned").to_string();
        assert!(source.contains("no"), "{source}");
    });
}
