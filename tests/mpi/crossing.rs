//! Values that cross, and those that do not: their encoding, its failures, their size.

use std::time::Duration;

use concurrent::Error;
use concurrent::futures::process::SharedBytes;
use concurrent::futures::{MapOptions, MpiPoolExecutor};
use libtest_mimic::Trial;

use crate::common::fussy::{Fussy, fuss};
use crate::common::process_gate::ProcessGate;
use crate::support::{acts, passes, trial};

acts![
    what_cannot_be_encoded_or_decoded_fails_one_call,
    a_message_above_the_limit_is_refused,
    sixty_four_mebibytes_go_there_and_back,
    many_large_values_are_under_way_at_once,
    shared_bytes_are_copied,
    an_answer_comes_while_the_next_call_runs,
    more_than_two_gibibytes,
    deep_values_cross_in_both_directions,
];

pub(crate) fn trials() -> Vec<Trial> {
    let names = acts().into_iter().map(|(name, _)| name);
    let small = names.filter(|name| !name.ends_with("gibibytes"));
    let large = trial("crossing::more_than_two_gibibytes", || {
        if std::env::var_os("CONCURRENT_MPI_LARGE").is_none() {
            println!("skipped: CONCURRENT_MPI_LARGE is not set");
            return;
        }
        crate::support::run(2, "mpi::crossing::more_than_two_gibibytes").passed();
    });
    let ranks = |name: &str| if name.contains("next_call") { 2 } else { 3 };
    small.map(|name| passes(name, ranks(name))).chain([large]).collect()
}

fn what_cannot_be_encoded_or_decoded_fails_one_call() {
    let pool = MpiPoolExecutor::new().unwrap();
    for bad in [Fussy::Encode, Fussy::PanicEncode] {
        let error = pool.submit(fuss, bad).unwrap_err();
        assert!(matches!(&error, Error::Encode(text) if text.contains("Fussy")), "{error}");
    }
    for bad in [Fussy::Decode, Fussy::PanicDecode] {
        let error = pool.submit(fuss, bad).unwrap().into_result().unwrap_err();
        assert!(matches!(&error, Error::Decode(text) if text.contains("the argument")), "{error}");
    }
    let error = pool.submit(fuss, Fussy::Result).unwrap().into_result().unwrap_err();
    assert!(matches!(&error, Error::Encode(text) if text.contains("the result")), "{error}");
    let error = pool.submit(|()| Fussy::Bad, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(&error, Error::Decode(text) if text.contains("the result")), "{error}");
    // In one chunk.
    let options = MapOptions::new().chunk_size(8);
    let items = [Fussy::Fine, Fussy::Encode, Fussy::Decode, Fussy::Fine, Fussy::Result];
    let got: Vec<_> = pool.map_with(options, fuss, items).unwrap().collect();
    assert!(matches!(got[0], Ok(Fussy::Fine)) && matches!(got[3], Ok(Fussy::Fine)));
    assert!(matches!(got[1], Err(Error::Encode(_))), "{:?}", got[1]);
    assert!(matches!(got[2], Err(Error::Decode(_))), "{:?}", got[2]);
    assert!(matches!(got[4], Err(Error::Encode(_))), "{:?}", got[4]);
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

fn a_message_above_the_limit_is_refused() {
    let pool = MpiPoolExecutor::builder().max_message_size(1000).build().unwrap();
    let echo = |bytes: Vec<u8>| bytes;
    let refused = |error: &Error| matches!(error, Error::MessageTooLarge { limit: 1000 });
    assert!(refused(&pool.submit(echo, vec![0; 1001]).unwrap_err()));
    assert_eq!(pool.submit(echo, vec![0; 1000]).unwrap().into_result().unwrap().len(), 1000);
    let long = pool.submit(|len: usize| vec![1_u8; len], 1001).unwrap();
    assert!(refused(&long.into_result().unwrap_err()));
    // In a chunk it is the chunk that is too large.
    let options = MapOptions::new().chunk_size(2);
    let got: Vec<_> =
        pool.map_with(options, echo, [vec![0; 600], vec![0; 600], vec![1]]).unwrap().collect();
    assert!(got[..2].iter().all(|result| result.as_ref().is_err_and(refused)) && got[2].is_ok());
}

fn sixty_four_mebibytes_go_there_and_back() {
    let pool = MpiPoolExecutor::new().unwrap();
    let bytes: Vec<u8> = (0..64_u32 << 20).map(|n| (n >> 8) as u8 ^ n as u8).collect();
    for _ in 0..2 {
        let add = |mut bytes: Vec<u8>| {
            bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            bytes
        };
        let back = pool.submit(add, bytes.clone()).unwrap().into_result().unwrap();
        assert!(back.iter().zip(&bytes).all(|(back, there)| *back == there.wrapping_add(1)));
        assert_eq!(back.len(), bytes.len());
    }
}

/// Several for each rank, both ways at the same time: nobody waits for the other to receive.
fn many_large_values_are_under_way_at_once() {
    let pool = MpiPoolExecutor::builder().credit(8).build().unwrap();
    let bytes: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 3 << 20]).collect();
    let back = pool.map(|bytes: Vec<u8>| bytes, bytes);
    assert!(back.map(Result::unwrap).enumerate().all(|(n, back)| back == vec![n as u8; 3 << 20]));
}

/// There is no shared memory between ranks that need not be on one machine.
fn shared_bytes_are_copied() {
    let pool = MpiPoolExecutor::new().unwrap();
    let bytes = SharedBytes::new(100_000, |bytes| bytes.fill(7)).unwrap();
    let back = pool.submit(|bytes: SharedBytes| (bytes.len(), bytes), bytes.clone()).unwrap();
    assert_eq!(back.into_result().unwrap(), (100_000, bytes));
}

fn more_than_two_gibibytes() {
    let pool = MpiPoolExecutor::builder().max_message_size(4 << 30).build().unwrap();
    let len = (2_usize << 30) + 12_345;
    let mut bytes = vec![1_u8; len];
    bytes[len - 1] = 9;
    let back = pool.submit(|bytes: Vec<u8>| bytes, bytes).unwrap().into_result().unwrap();
    assert_eq!((back.len(), back[0], back[len - 1]), (len, 1, 9));
}

fn an_answer_comes_while_the_next_call_runs() {
    let (start, end) = (ProcessGate::new(), ProcessGate::new());
    let waits = |gate: String| ProcessGate::pass(&gate);
    let pool = MpiPoolExecutor::builder().credit(16).initializer(waits, start.name());
    let pool = pool.build().unwrap();
    let pass = |gate: Option<String>| gate.iter().for_each(|gate| ProcessGate::pass(gate));
    // In one message, since the rank cannot be sent any before.
    let short = pool.submit(pass, None).unwrap();
    let long = pool.submit(pass, Some(end.name())).unwrap();
    start.wait_begun();
    start.open();
    end.wait_begun();
    short.result_timeout(Duration::from_secs(20)).unwrap();
    assert!(long.running());
    end.open();
    long.into_result().unwrap();
}

/// As deep as it is long; it is taken apart before it is dropped.
#[derive(serde::Serialize, serde::Deserialize)]
struct Node(Option<Box<Node>>);

impl Node {
    fn list(length: u64) -> Self {
        (0..length).fold(Self(None), |node, _| Self(Some(Box::new(node))))
    }

    fn length(mut self) -> u64 {
        let mut length = 0;
        while let Some(next) = self.0.take() {
            (self, length) = (*next, length + 1);
        }
        length
    }
}

fn deep_values_cross_in_both_directions() {
    let pool = MpiPoolExecutor::new().unwrap();
    let there = pool.submit(Node::length, Node::list(20_000)).unwrap();
    assert_eq!(there.into_result().unwrap(), 20_000);
    let back = pool.submit(Node::list, 20_000).unwrap().into_result().unwrap();
    assert_eq!(back.length(), 20_000);
}
