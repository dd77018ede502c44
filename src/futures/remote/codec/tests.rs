//! There and back.

use proptest::prelude::{any, proptest};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::futures::remote::attachments::Files;
use crate::futures::remote::segments::Arena;

fn round_trip<T: Serialize + DeserializeOwned + 'static>(value: &T, inline_limit: usize) -> T {
    let arena = Arena::new(usize::MAX);
    let mut sink = Sink::new(vec![9; 3], inline_limit, 1 << 20, &arena);
    sink.encode(value).unwrap();
    let files = Files::default();
    match sink.into_parts().0 {
        Payload::Inline(bytes) => Source::new(&bytes[3..], &files).decode().unwrap(),
        Payload::OutOfLine(segment) => Source::new(&segment.to_vec(), &files).decode().unwrap(),
    }
}

proptest! {
    #[test]
    fn values_come_back(text in ".{0,50}", numbers: Vec<f64>, inline_limit in 0usize..64) {
        let numbers: Vec<f64> = numbers.into_iter().filter(|n| !n.is_nan()).collect();
        assert_eq!(round_trip(&numbers, inline_limit), numbers);
        let value = (text, numbers, Some(5u8));
        assert_eq!(round_trip(&value, inline_limit), value);
    }

    #[test]
    fn garbage_is_an_error_or_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = Source::new(&bytes, &Files::default()).decode::<(String, Vec<u32>, Option<bool>)>();
        let _ = Source::new(&bytes, &Files::default()).decode::<Vec<f64>>();
    }
}

#[test]
fn a_message_above_the_limit_is_refused_and_the_sink_goes_on() {
    let arena = Arena::new(usize::MAX);
    let mut sink = Sink::new(Vec::new(), 10, 16, &arena);
    assert!(matches!(sink.encode(&vec![0u8; 17]), Err(EncodeError::TooLarge(16))));
    sink.truncate(0);
    assert!(sink.encode(&"x".repeat(15)).is_ok());
    assert!(matches!(sink.encode(&1u8), Err(EncodeError::TooLarge(16))));
}

#[cfg(not(any(miri, concurrent_tsan)))]
#[derive(serde::Serialize, serde::Deserialize)]
struct Node(Option<Box<Node>>);

#[cfg(not(any(miri, concurrent_tsan)))]
impl Node {
    fn list(length: usize) -> Self {
        (0..length).fold(Self(None), |node, _| Self(Some(Box::new(node))))
    }

    /// Its length; without recursion, as its drop would be.
    fn unwind(mut self) -> usize {
        let mut length = 0;
        while let Some(node) = self.0.take() {
            (self, length) = (*node, length + 1);
        }
        length
    }
}

/// In a thread with a stack of usual size, which is too small.
#[cfg(not(any(miri, concurrent_tsan)))]
fn in_small_stack(work: fn()) {
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
#[cfg(not(any(miri, concurrent_tsan)))]
fn a_deep_value_comes_back_on_a_small_stack() {
    in_small_stack(|| {
        let list = Node::list(20_000);
        let arena = Arena::new(usize::MAX);
        let mut sink = Sink::new(vec![9; 3], 1 << 20, 1 << 20, &arena);
        sink.encode(&list).unwrap();
        assert_eq!((sink.len(), list.unwind()), (20_001, 20_000));
        let Payload::Inline(bytes) = sink.into_parts().0 else { panic!("below the inline limit") };
        let files = Files::default();
        assert_eq!(Source::new(&bytes[3..], &files).decode::<Node>().unwrap().unwind(), 20_000);
    });
}

#[test]
#[cfg(not(any(miri, concurrent_tsan)))]
fn a_value_that_is_too_deep_is_an_error() {
    in_small_stack(|| {
        const DEEP: usize = 3_000_000;
        let list = Node::list(DEEP);
        let arena = Arena::new(usize::MAX);
        let mut sink = Sink::new(Vec::new(), 1 << 30, 1 << 30, &arena);
        let error = sink.encode(&list).unwrap_err();
        assert!(matches!(&error, EncodeError::Failed(text) if text.contains("too deep")));
        assert_eq!(list.unwind(), DEEP);
        let bytes = [vec![1; DEEP], vec![0]].concat();
        let decoded = Source::new(&bytes, &Files::default()).decode::<Node>();
        assert!(decoded.is_err_and(|error| error.contains("too deep")));
    });
}

#[test]
#[cfg(not(miri))] // millions of items
fn a_list_claims_no_more_items_than_its_message_has_bytes_for() {
    type Kinds = (Vec<Vec<()>>, Vec<Option<[u8; 0]>>, std::collections::BTreeMap<u8, ()>);
    let kinds: Kinds = (vec![vec![(); 3]; 1000], vec![Some([]), None], [(1, ()), (2, ())].into());
    assert_eq!(round_trip(&kinds, 1 << 20), kinds);
    let most = vec![(); 1 << 20];
    assert_eq!(round_trip(&most, 100).len(), most.len());
    // As postcard writes the length 2^64 - 1, alone and within another value.
    let claims = [vec![0xff; 9], vec![1]].concat();
    let files = Files::default();
    let error = Source::new(&claims, &files).decode::<Vec<()>>().unwrap_err();
    assert!(error.contains("more items than bytes"), "{error}");
    let within = [vec![1, 7], claims].concat();
    let error = Source::new(&within, &files).decode::<Option<(u8, Vec<()>)>>().unwrap_err();
    assert!(error.contains("more items than bytes"), "{error}");
}

#[test]
fn items_within_a_payload_come_apart_again() {
    let arena = Arena::new(usize::MAX);
    let mut sink = Sink::new(Vec::new(), 12, 1 << 20, &arena);
    for word in ["one", "", "three"] {
        let at = sink.begin_item().unwrap();
        sink.encode(&word.to_string()).unwrap();
        sink.end_item(at, 7);
    }
    let Payload::OutOfLine(segment) = sink.into_parts().0 else { panic!("above the inline limit") };
    let bytes = segment.to_vec();
    let files = Files::default();
    let mut source = Source::new(&bytes, &files);
    for word in ["one", "", "three"] {
        let (tag, item) = source.item().unwrap();
        assert_eq!((tag, item.decode::<String>().unwrap().as_str()), (7, word));
    }
    assert!(source.item().is_err());
}
