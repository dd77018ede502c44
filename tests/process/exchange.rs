//! Sends every kind of message in both directions, and checks the outcome.

use std::fmt::{Debug, Display};
use std::sync::OnceLock;

use concurrent::futures::process::SharedBytes;
use concurrent::futures::{Future, ProcessPoolExecutor};
use concurrent::{Error, Result};

use crate::fault_injection::Bytes;

/// Large enough to travel in a segment of its own.
const LARGE: usize = 100_000;

/// In what circumstances, and which errors say what these are.
#[derive(Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) circumstances: &'a dyn Display,
    pub(crate) is_named: &'a dyn Fn(&str) -> bool,
}

impl<'a> Exchange<'a> {
    /// One in which nothing may go wrong.
    pub(crate) fn flawless(circumstances: &'a dyn Display) -> Self {
        Self { circumstances, is_named: &|_| false }
    }

    /// The right value, or an error that says why there is none.
    pub(crate) fn expect<T: Debug + Send + Sync>(
        self,
        what: &str,
        call: Result<Future<T>>,
        is_right: impl Fn(&T) -> bool,
    ) -> Option<Error> {
        let Self { circumstances, is_named } = self;
        match call.and_then(Future::into_result) {
            Ok(value) => {
                assert!(is_right(&value), "{circumstances}: {what} has a wrong value");
                None
            }
            Err(error) => {
                assert!(is_named(&error.to_string()), "{circumstances}: {what}: {error}");
                Some(error)
            }
        }
    }

    /// Messages of every kind, one by one and at once.
    pub(crate) fn with(self, pool: &ProcessPoolExecutor) {
        self.expect("a small call", pool.submit(double, 4), |n| *n == 8);
        let is_pattern = |bytes: Bytes| bytes.0 == pattern(LARGE);
        let large = pool.submit(is_pattern, Bytes(pattern(LARGE)));
        self.expect("a large argument", large, |is_right| *is_right);
        let large = pool.submit(|len| Bytes(pattern(len)), LARGE);
        self.expect("a large result", large, |bytes| bytes.0 == pattern(LARGE));
        let is_pattern = |bytes: SharedBytes| bytes[..] == pattern(LARGE)[..];
        let shared = SharedBytes::copy_from(&pattern(LARGE));
        let shared = shared.and_then(|shared| pool.submit(is_pattern, shared));
        self.expect("a shared argument", shared, |is_right| *is_right);
        let make = |len| SharedBytes::copy_from(&pattern(len)).map_err(|error| error.to_string());
        self.expect("a shared result", pool.submit(make, LARGE), |made| match made {
            Ok(bytes) => bytes[..] == pattern(LARGE)[..],
            Err(text) => (self.is_named)(text),
        });
        // Piece by piece, so that the memory for it grows.
        let pieces = || vec!["x".repeat(1000); 150];
        let back = pool.submit(|pieces: Vec<String>| pieces, pieces());
        self.expect("a message of pieces", back, |back| *back == pieces());
        let three = (
            pool.submit(double, 5),
            pool.submit(|bytes: Bytes| bytes, Bytes(pattern(2 * LARGE))),
            pool.submit(double, 6),
        );
        self.expect("the first of three", three.0, |n| *n == 10);
        self.expect("the second of three", three.1, |bytes| bytes.0 == pattern(2 * LARGE));
        self.expect("the third of three", three.2, |n| *n == 12);
    }
}

pub(crate) fn double(n: u64) -> u64 {
    n * 2
}

fn pattern(len: usize) -> Vec<u8> {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| (0..251).cycle().take(2 * LARGE).collect())[..len].to_vec()
}
