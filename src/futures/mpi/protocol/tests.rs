use proptest::prelude::{any, proptest};

use super::*;
use crate::futures::remote::protocol::CodePlace;

fn token(number: u32) -> FunctionToken {
    let place = CodePlace { image: number.into(), offset: !number };
    FunctionToken { trampoline: place, function: place }
}

proptest! {
    #[test]
    fn calls_come_apart_again(calls: Vec<(u64, u32, Vec<u8>)>) {
        let mut out = Vec::new();
        for (id, number, argument) in &calls {
            let at = out.len();
            begin_call(&mut out, *id, token(*number));
            out.extend_from_slice(argument);
            end_call(&mut out, at);
        }
        let mut rest = &out[..];
        for (id, number, argument) in &calls {
            let read = next_call(&mut rest).unwrap().unwrap();
            assert_eq!(read, CallFrame { id: *id, token: token(*number), argument });
        }
        assert_eq!(next_call(&mut rest), Ok(None));
    }

    #[test]
    fn results_come_apart_again(results: Vec<(u64, u32, Vec<u8>)>) {
        let mut out = Vec::new();
        for (id, micros, bytes) in &results {
            let at = out.len();
            begin_result(&mut out, *id);
            out.extend_from_slice(bytes);
            end_result(&mut out, at, FrameKind::Done, *micros);
        }
        let mut rest = &out[..];
        for (id, micros, bytes) in results {
            let answer = Answer { id, micros, kind: FrameKind::Done, bytes: &bytes };
            assert_eq!(next_result(&mut rest), Ok(Some(answer)));
        }
        assert_eq!(next_result(&mut rest), Ok(None));
    }

    #[test]
    fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let (mut calls, mut results) = (&bytes[..], &bytes[..]);
        while let Ok(Some(_)) = next_call(&mut calls) {}
        while let Ok(Some(_)) = next_result(&mut results) {}
        let _ = RankHello::from_bytes(&bytes);
        let _ = RankSettings::from_bytes(&bytes);
        let _ = read_ready(&bytes);
    }

    #[test]
    fn hellos_and_settings_come_back(build: u64, host in "[a-z.]{0,30}", call: Vec<u8>) {
        let hello = RankHello::new(build, host);
        assert_eq!(RankHello::from_bytes(&hello.to_bytes()), Ok(hello));
        for initializer in [None, Some(&call[..])] {
            let start = RankSettings { limit: build >> 1, packs: build % 2 == 0, initializer };
            assert_eq!(RankSettings::from_bytes(&start.to_bytes()), Ok(start));
        }
    }
}

#[test]
fn a_length_beyond_the_message_is_refused_before_it_is_used() {
    let mut out = Vec::new();
    begin_call(&mut out, 1, token(1));
    out[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let refused = next_call(&mut &out[..]);
    assert_eq!(refused, Err(Malformed("frame longer than its message")));
}

#[test]
fn another_build_and_another_version_are_refused_in_words() {
    let own = RankHello::new(1, "here".into());
    assert_eq!(own.refusal(&RankHello::new(1, "there".into())), None);
    let other = RankHello::new(2, "here".into());
    assert!(own.refusal(&other).unwrap().contains("another build"));
    let old = RankHello { protocol: 0, ..own.clone() };
    assert!(own.refusal(&old).unwrap().contains("another version"));
}

#[test]
fn the_end_of_an_initializer_comes_back() {
    assert_eq!(read_ready(&ready(None)), Ok(None));
    let text = Text { message: "no".into(), location: None };
    let bytes = ready(Some((FrameKind::Raised, text.clone())));
    let (kind, rest) = read_ready(&bytes).unwrap().unwrap();
    assert_eq!((kind, Text::from_bytes(rest)), (FrameKind::Raised, Ok(text)));
    assert!(read_ready(&[]).is_err() && read_ready(&[99]).is_err());
}
