//! Values and panics whose drop panics harm no more than their own call.

use std::fmt;
use std::panic::panic_any;
use std::sync::mpsc;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::process::OnWorkerDeath;
use concurrent::futures::{Future, MapOptions, ProcessPoolExecutor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::{replacing, trials};

trials![
    a_panic_that_panics_as_it_is_dropped_fails_its_call,
    an_initializer_with_such_a_panic_is_told,
    an_initializer_whose_error_cannot_be_shown_is_told,
    items_that_panic_as_they_are_dropped,
    a_deep_value_is_dropped_where_there_is_stack_for_it,
];

/// How long to wait for what must come.
const LONG: Duration = Duration::from_secs(30);

/// The payload of a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload is dropped, on purpose");
    }
}

/// Where it panics.
const WRITTEN: u8 = 1;
const READ: u8 = 2;

#[derive(Debug)]
struct Rough(u8);

impl Serialize for Rough {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 == WRITTEN {
            panic_any(Bomb);
        }
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Rough {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u8::deserialize(from)? {
            READ => panic_any(Bomb),
            kind => Ok(Self(kind)),
        }
    }
}

fn is_refused<T>(call: &Future<T>) -> bool {
    !matches!(call.exception_timeout(LONG), Ok(None) | Err(_))
}

fn a_panic_that_panics_as_it_is_dropped_fails_its_call() {
    let pool = replacing(1);
    let runs = pool.submit(|()| -> u8 { panic_any(Bomb) }, ()).unwrap();
    assert!(is_refused(&runs));
    for kind in [WRITTEN, READ] {
        let result = pool.submit(Rough, kind).unwrap();
        assert!(is_refused(&result), "waited for {kind}");
        let result = pool.submit(Rough, kind).unwrap();
        let (tells, told) = mpsc::channel();
        result.add_done_callback(move |call| tells.send(is_refused(call)).unwrap());
        assert_eq!(told.recv_timeout(LONG), Ok(true), "with a callback {kind}");
        let argument = pool.submit(|rough: Rough| rough.0, Rough(kind));
        assert!(argument.is_err() || argument.is_ok_and(|call| is_refused(&call)), "sent {kind}");
        let options = MapOptions::new().chunk_size(3);
        let results = pool.map_with(options, Rough, [0, kind, 7]).unwrap();
        let results: Vec<_> = results.map(|result| result.ok().map(|rough| rough.0)).collect();
        assert_eq!(results, [Some(0), None, Some(7)]);
        let items = [0, kind, 7].map(Rough);
        let results = pool.map_with(options, |rough: Rough| rough.0, items).unwrap();
        assert!(results.map(Result::ok).eq([Some(0), None, Some(7)]));
    }
    assert_eq!(pool.stats().died, 0);
}

fn first_error(builder: concurrent::futures::process::ProcessPoolBuilder) -> String {
    let builder = builder.max_workers(1).on_worker_death(OnWorkerDeath::FailCall);
    let call = builder.build().unwrap().submit(|n: u8| n, 1).unwrap();
    call.into_result().unwrap_err().to_string()
}

fn an_initializer_with_such_a_panic_is_told() {
    let builder = ProcessPoolExecutor::builder();
    let error = first_error(builder.initializer(|()| -> () { panic_any(Bomb) }, ()));
    assert!(error.contains("panicked at") && !error.contains("exit code"), "{error}");
}

/// An error that nobody can read.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("it cannot be shown, on purpose");
    }
}

impl std::error::Error for Unspeakable {}

fn an_initializer_whose_error_cannot_be_shown_is_told() {
    let builder = ProcessPoolExecutor::builder();
    let builder = builder.initializer(|()| Err::<(), _>(Unspeakable), ());
    let error = first_error(builder);
    assert!(
        error.contains("it cannot be shown, on purpose") && !error.contains("exit code"),
        "{error}"
    );
}

/// Panics as it is dropped, in the parent.
#[derive(Serialize, Deserialize)]
struct Loud(String);

impl Drop for Loud {
    fn drop(&mut self) {
        let worker = std::env::args().nth(1).is_some_and(|mark| mark.starts_with("--concurrent-"));
        assert!(worker, "an item is dropped, on purpose");
    }
}

fn items_that_panic_as_they_are_dropped() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).max_message_size(100);
    let pool = builder.build().unwrap();
    for len in [1, 90] {
        let items = (0..4).map(|_| Loud("x".repeat(len)));
        let options = MapOptions::new().chunk_size(4);
        let results = pool.map_with(options, |loud: Loud| loud.0.len(), items).unwrap();
        for result in results {
            match result {
                Ok(found) => assert_eq!((found, len), (len, 1)),
                Err(error) => assert!(matches!(error, Error::MessageTooLarge { .. }) && len == 90),
            }
        }
    }
}

/// Dropped level by level, as the compiler does it.
#[derive(Serialize, Deserialize)]
struct Deep(Option<Box<Self>>);

impl Deep {
    fn new(levels: u64) -> Self {
        (0..levels).fold(Self(None), |deep, _| Self(Some(Box::new(deep))))
    }

    /// Takes it apart without going down.
    fn levels(mut self) -> u64 {
        let mut levels = 0;
        while let Some(next) = self.0 {
            (self, levels) = (*next, levels + 1);
        }
        levels
    }
}

/// Too deep to be dropped on two MiB of stack, or on eight.
const LEVELS: u64 = if cfg!(debug_assertions) { 60_000 } else { 200_000 };

fn a_deep_value_is_dropped_where_there_is_stack_for_it() {
    let pool = replacing(1);
    for _ in 0..3 {
        drop(pool.submit(Deep::new, LEVELS).unwrap()); // in a thread of the pool
        let there = pool.submit(Deep::levels, Deep::new(LEVELS)).unwrap(); // in this thread
        assert_eq!(there.into_result().unwrap(), LEVELS);
        let back = pool.submit(Deep::new, LEVELS).unwrap().into_result().unwrap();
        assert_eq!(back.levels(), LEVELS); // it was dropped in the worker
    }
    assert_eq!(pool.stats().died, 0);
}
