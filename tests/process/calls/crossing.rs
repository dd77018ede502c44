//! Values that cross, and those that do not: their encoding, its failures.

use concurrent::Error;
use concurrent::futures::{MapOptions, ProcessPoolExecutor};
use serde::{Deserialize, Serialize};

use crate::common::fussy::{Fussy, fuss};
use crate::support::{replacing, trials};

trials![
    deep_values_cross_in_both_directions,
    a_value_that_is_too_deep_fails_its_call,
    one_bad_element_leaves_the_others_of_its_chunk,
    py_error_at_task_pickle,
    py_error_at_task_unpickle,
    py_error_during_result_pickle_on_worker,
    py_error_during_result_unpickle_in_result_handler,
    a_message_above_the_limit_is_refused,
    arguments_and_results_of_any_shape,
];

fn one_bad_element_leaves_the_others_of_its_chunk() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let options = MapOptions::new().chunk_size(4);
    let even = |n: u32| if n == 2 { panic!("odd one out, on purpose") } else { n };
    let numbers: Vec<_> = pool.map_with(options, even, 0..6).unwrap().collect();
    // Anything but plain numbers is encoded in another way.
    let even =
        |n: Option<u32>| if n == Some(2) { panic!("odd one out, on purpose") } else { n.unwrap() };
    let got = pool.map_with(options, even, (0..6).map(Some)).unwrap();
    for (n, result) in got.zip(numbers).enumerate().flat_map(|(n, (a, b))| [(n, a), (n, b)]) {
        match result {
            Ok(value) => assert_eq!(value as usize, n),
            Err(Error::Panicked(panic)) => {
                assert_eq!((n, panic.message()), (2, "odd one out, on purpose"));
                assert!(panic.location().unwrap().contains("crossing.rs"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    // An element that cannot be encoded, or decoded, or whose result cannot be encoded.
    let options = MapOptions::new().chunk_size(8);
    let items = [Fussy::Fine, Fussy::Encode, Fussy::Decode, Fussy::Fine, Fussy::Result];
    let got: Vec<_> = pool.map_with(options, fuss, items).unwrap().collect();
    assert!(matches!(got[0], Ok(Fussy::Fine)) && matches!(got[3], Ok(Fussy::Fine)));
    assert!(matches!(got[1], Err(Error::Encode(_))), "{:?}", got[1]);
    assert!(matches!(got[2], Err(Error::Decode(_))), "{:?}", got[2]);
    assert!(matches!(got[4], Err(Error::Encode(_))), "{:?}", got[4]);
    // Without chunks as well.
    let got: Vec<_> = pool.map(fuss, [Fussy::Fine, Fussy::Encode, Fussy::Fine]).collect();
    assert!(got[0].is_ok() && got[1].is_err() && got[2].is_ok());
}

// case 98, F95, F96
fn py_error_at_task_pickle() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    for bad in [Fussy::Encode, Fussy::PanicEncode] {
        let error = pool.submit(fuss, bad).unwrap_err();
        assert!(matches!(&error, Error::Encode(text) if text.contains("Fussy")), "{error}");
    }
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

// case 99, case 100, case 101, F98
fn py_error_at_task_unpickle() {
    let pool = replacing(1);
    for bad in [Fussy::Decode, Fussy::PanicDecode] {
        let error = pool.submit(fuss, bad).unwrap().into_result().unwrap_err();
        assert!(matches!(&error, Error::Decode(text) if text.contains("Fussy")), "{error}");
    }
    assert_eq!(pool.stats().started, 1, "a refused argument is no death");
    let exits = pool.submit(fuss, Fussy::ExitDecode).unwrap().into_result().unwrap_err();
    assert_eq!(exits.worker_death().unwrap().exit_code, Some(11));
    let crashes = pool.submit(fuss, Fussy::AbortDecode).unwrap().into_result().unwrap_err();
    assert_eq!(crashes.worker_death().unwrap().signal, Some(6));
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

// case 105, case 107, F97
fn py_error_during_result_pickle_on_worker() {
    let pool = replacing(1);
    let error = pool.submit(fuss, Fussy::Result).unwrap().into_result().unwrap_err();
    assert!(matches!(&error, Error::Encode(text) if text.contains("the result")), "{error}");
    let panics = pool.submit(|()| Fussy::PanicEncode, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(panics, Error::Encode(_)));
    let aborts = pool.submit(|()| Fussy::AbortEncode, ()).unwrap().into_result().unwrap_err();
    assert_eq!(aborts.worker_death().unwrap().signal, Some(6));
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

// case 108
fn py_error_during_result_unpickle_in_result_handler() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let error = pool.submit(|()| Fussy::Bad, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(&error, Error::Decode(text) if text.contains("the result")), "{error}");
    let panics = pool.submit(|()| Fussy::PanicDecode, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(panics, Error::Decode(_)));
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

fn a_message_above_the_limit_is_refused() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(1000).build();
    let pool = pool.unwrap();
    let length = |bytes: Vec<u8>| bytes.len();
    assert_eq!(pool.submit(length, vec![0; 1000]).unwrap().into_result().unwrap(), 1000);
    let error = pool.submit(length, vec![0; 1001]).unwrap_err();
    assert!(matches!(error, Error::MessageTooLarge { limit: 1000 }), "{error}");
    let result = pool.submit(|n: usize| "x".repeat(n), 1001).unwrap().into_result();
    assert!(matches!(result, Err(Error::MessageTooLarge { limit: 1000 })));
    assert!(pool.submit(|n: usize| "x".repeat(n), 900).unwrap().into_result().is_ok());
}

fn arguments_and_results_of_any_shape() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf { name: String, weight: f64 },
        Node(Vec<Tree>, Option<char>),
    }
    let leaf = Tree::Leaf { name: "ä".into(), weight: f64::MIN };
    let tree = Tree::Node(vec![leaf.clone(), Tree::Node(vec![], Some('x'))], None);
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let back = pool.submit(|t: Tree| t, tree.clone()).unwrap().into_result().unwrap();
    assert_eq!(back, tree);
}

/// As deep as it is long.
#[derive(Serialize, Deserialize)]
struct Node {
    next: Option<Box<Node>>,
    value: u64,
}

impl Node {
    fn list(length: u64) -> Self {
        let end = Self { next: None, value: 0 };
        (0..length).fold(end, |node, value| Self { next: Some(Box::new(node)), value })
    }

    /// The sum of a list, of which nothing is left then.
    fn sum(mut self) -> u64 {
        let mut sum = self.value;
        while let Some(next) = self.next.take() {
            self = *next;
            sum += self.value;
        }
        sum
    }
}

fn deep_values_cross_in_both_directions() {
    let pool = crate::support::replacing(2);
    let depth = 20_000;
    let sum = Node::list(depth).sum();
    for _ in 0..4 {
        let there = pool.submit(Node::sum, Node::list(depth)).unwrap();
        let back = pool.submit(Node::list, depth).unwrap();
        assert_eq!(back.into_result().unwrap().sum(), sum); // waited for, and decoded in this thread
        assert_eq!(there.into_result().unwrap(), sum);
    }
    let back = pool.submit(Node::list, depth).unwrap();
    let (tells, told) = std::sync::mpsc::channel();
    back.add_done_callback(move |_| tells.send(()).unwrap());
    told.recv().unwrap(); // decoded in a thread of the pool
    assert_eq!(back.into_result().unwrap().sum(), sum);
}

fn a_value_that_is_too_deep_fails_its_call() {
    let pool = crate::support::replacing(1);
    let error = pool.submit(Deep, 4_000_000).unwrap().into_result().map(drop).unwrap_err();
    assert!(matches!(&error, Error::Encode(_)) && error.to_string().contains("deep"), "{error}");
    let back = pool.submit(Node::list, 100).unwrap().into_result().unwrap();
    assert_eq!(back.sum(), Node::list(100).sum());
}

/// Is so deep when it is written, and nowhere else.
struct Deep(u64);

impl Serialize for Deep {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.checked_sub(1) {
            Some(less) => to.serialize_some(&Self(less)),
            None => to.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Deep {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::<Box<Self>>::deserialize(from)
            .map(|inner| Self(inner.map_or(0, |inner| inner.0 + 1)))
    }
}
