//! The recorded inputs as ordinary tests, and the recorder.

use std::collections::BTreeMap;
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::SealFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::Serialize;

use super::parent::Parent;
use super::script::{AS_IT_IS, ScriptOrder, steps};
use super::values::AnyValue;
use super::worker::number_token;
use super::{LIMIT, codec, page, parent, segments, worker};
use crate::futures::process::SharedBytes;
use crate::futures::process::channel::fds::FILES;
use crate::futures::process::channel::frame::{Header, REQUEST_LIMIT, put_with_files};
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::ring::RingBuffer;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::child::main_loop::MainLoop;
use crate::futures::process::handshake::Mark;
use crate::futures::remote::codec::{Payload, Sink};
use crate::futures::remote::protocol::FrameKind;
use crate::futures::remote::segments::Arena;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 5] = [
    ("codec", codec),
    ("page", page),
    ("parent", parent),
    ("segments", segments),
    ("worker", worker),
];

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

/// Runs each input, and its first half.
#[test]
fn seeds_run_to_an_end() {
    for (name, target) in TARGETS {
        // The published package does not contain them.
        let Ok(files) = fs::read_dir(seeds(name)) else { continue };
        for file in files {
            let input = fs::read(file.unwrap().path()).unwrap();
            target(&input);
            target(&input[..input.len() / 2]);
        }
    }
}

/// A pool and a worker, with a recording of their traffic.
struct Recorder {
    parent: Parent,
    worker: MainLoop,
    frame_reader: FrameReader,
    /// Reads both streams in addition to their readers.
    tap: SharedPage,
    to_worker: Vec<u8>,
    to_parent: Vec<u8>,
    calls: u64,
    _bells: [OwnedFd; 2],
}

impl Recorder {
    fn new() -> Self {
        let mut parent = Parent::new(0).unwrap();
        let tap = SharedPage::open(parent.page_file.as_fd()).unwrap();
        let (their_bell, bell) = rustix::pipe::pipe().unwrap();
        let (own_bell, from_parent) = rustix::pipe::pipe().unwrap();
        let (socket, page) = (parent.socket.try_clone().unwrap(), Arc::clone(&parent.page));
        let worker = MainLoop::new(socket, bell, own_bell, page, LIMIT);
        parent.send_hello();
        assert!(!read(&tap, SharedPage::answers).is_empty(), "which is no part of an input");
        Self {
            parent,
            worker,
            frame_reader: FrameReader::new(REQUEST_LIMIT),
            tap,
            to_worker: vec![0],
            to_parent: vec![0],
            calls: 0,
            _bells: [their_bell, from_parent],
        }
    }

    fn call(&mut self, which: u64, argument: &[u8]) {
        put_order(&mut self.to_parent, ScriptOrder::Submit, 0, which, argument);
        self.calls += 1;
        self.parent.submit(which, argument).unwrap();
        let requests = read(&self.tap, SharedPage::requests);
        note(&requests, &self.parent.socket, &mut self.to_worker);
        let read_by_worker = self.parent.page.requests().read(self.frame_reader.room()).unwrap();
        assert_eq!(read_by_worker, requests.len());
        self.frame_reader.fill(read_by_worker);
        assert!(self.worker.handle(&mut self.frame_reader).unwrap());
        note(&read(&self.tap, SharedPage::answers), &self.parent.own_socket, &mut self.to_parent);
        self.parent.receive();
    }
}

fn read(page: &SharedPage, stream: fn(&SharedPage) -> RingBuffer<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let count = stream(page).read(&mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

fn put_order(out: &mut Vec<u8>, order: ScriptOrder, flags: u8, seq: u64, body: &[u8]) {
    let start = out.len();
    put_with_files(out, Header { len: 0, kind: FrameKind::Done, flags, files: 0, seq }, &[body]);
    out[start + 4] = order as u8;
}

/// Appends a part of a stream to an input, with orders that make its descriptors.
fn note(stream: &[u8], socket: &OwnedFd, out: &mut Vec<u8>) {
    let input = [&[AS_IT_IS], stream].concat();
    for mut step in steps(&input).1 {
        assert!(step.is_sealed() && step.order.is_none());
        if step.files() > 0 {
            for file in peek(socket) {
                let mut content = vec![0; LIMIT as usize];
                let count = rustix::io::pread(&file, &mut content, 0).unwrap();
                // Segments grow in steps; the bytes behind the payload are zero.
                let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
                let is_segment = !seals.contains(SealFlags::WRITE);
                let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                content.truncate(if is_segment { used } else { count });
                if content.iter().all(|byte| *byte == content[0]) {
                    content.truncate(1);
                }
                let (kind, content) = (if is_segment { 2 } else { 0 }, &content[..]);
                put_order(out, ScriptOrder::File, kind, count as u64, content);
            }
        }
        number_token(&mut step);
        out.extend_from_slice(&step.bytes);
    }
}

/// The descriptors of the next message, which stays in the socket.
fn peek(socket: &OwnedFd) -> Vec<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut text = [0; 8];
    recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags).unwrap();
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    rights.flatten().collect()
}

/// The number of the function, and its argument.
type Submitted<'a> = (u64, &'a [u8]);

fn encoded<T: Serialize + 'static>(which: u8, count: u8, value: &T) -> (u8, Vec<u8>) {
    let arena = Arena::new(0);
    let mut sink = Sink::new(vec![which, count], usize::MAX, LIMIT, &arena);
    sink.encode(value).unwrap();
    let (Payload::Inline(bytes), _) = sink.into_parts() else { panic!("there is no other memory") };
    (which, bytes)
}

#[test]
fn encoded_values_are_inputs() {
    let table = BTreeMap::from([(1_u16, 'a'), (2, 'é')]);
    let shared = SharedBytes::copy_from(b"shared").unwrap();
    let rest = vec![
        AnyValue::Nothing,
        AnyValue::Text("text".into()),
        AnyValue::Pair(-5, Some(Box::new(AnyValue::Pair(i64::MAX, None)))),
        AnyValue::Numbers(vec![1, u32::MAX], [i128::MIN, 1], vec![(); 3]),
        AnyValue::Beside(shared.clone()),
    ];
    let names = vec!["one".to_owned(), String::new()];
    let shape = AnyValue::Many { names: names.clone(), table, rest };
    let chunk = |item: &str| {
        let (_, mut bytes) = encoded(0, 0, &item.to_owned());
        let head = (bytes.len() as u64 - 2) << 8 | FrameKind::Done as u64;
        bytes.splice(..2, head.to_ne_bytes());
        bytes
    };
    let numbers = [&2_u64.to_ne_bytes()[..], &[1, 0, 0, 0, 2, 0, 0, 0]].concat();
    let all = [
        encoded(0, 1, &shape),
        encoded(1, 0, &vec![names.clone(), names]),
        encoded(2, 0, &(1_u8, vec![2_u8, 3], Some(vec![0.5_f32, f32::NAN]))),
        encoded(3, 1, &shared),
        encoded(5, 0, &vec![1_u64, u64::MAX]),
        encoded(6, 0, &BTreeMap::from([("key".to_owned(), vec![-1_i8])])),
        encoded(7, 0, &(i128::MIN, 0.5_f64, 'ß', true, Some(3_u16), [1_i64, -1, 0])),
        encoded(8, 0, &vec![(); 300]),
        encoded(11, 2, &vec![shared.clone(), shared]),
        (13, [&[13, 2][..], &chunk("one"), &chunk("two")].concat()),
        (14, [&[14, 2][..], &numbers].concat()),
        (16, [&[16, 0][..], Mark::own(2).to_argument().as_bytes()].concat()),
    ];
    for (which, bytes) in all {
        codec(&bytes);
        if std::env::var_os("CONCURRENT_FUZZ_RECORD").is_some() {
            fs::write(seeds("codec").join(format!("encoded_{which:02}")), bytes).unwrap();
        }
    }
}

/// Calls of every kind, whose arguments and results cross in all possible ways. With the variable
/// `CONCURRENT_FUZZ_RECORD` their traffic becomes the seeds.
#[test]
fn real_traffic_is_an_input_that_ends_all_calls() {
    let long = b"a longer text ".repeat(300);
    let calls: [(&str, &[Submitted<'_>]); 5] = [
        ("small", &[(0, b"text"), (1, &[1]), (2, &[1, 2, 3]), (3, b"abcdefg")]),
        ("large", &[(0, &long), (0, b"x")]),
        ("large_results", &[(1, &[90]), (1, &[100]), (0, b"x"), (1, &[91])]),
        ("shared_bytes", &[(4, b"shared"), (5, b"of several parts, each alone")]),
        ("failures", &[(3, &[0xff; 9]), (5, &[1; 9]), (2, &[])]),
    ];
    for (name, calls) in calls {
        let mut recorder = Recorder::new();
        calls.iter().for_each(|(which, argument)| recorder.call(*which, argument));
        let Recorder { parent, to_worker, to_parent, calls, .. } = recorder;
        assert_eq!(parent.end(), calls, "{name}");
        // The same without a worker.
        let mut parent = Parent::new(0).unwrap();
        parent.send_hello();
        steps(&to_parent).1.iter().for_each(|step| parent.step(step, false).unwrap());
        assert_eq!(parent.end(), calls, "{name}");
        worker(&to_worker);
        if std::env::var_os("CONCURRENT_FUZZ_RECORD").is_some() {
            fs::write(seeds("parent").join(name), to_parent).unwrap();
            fs::write(seeds("worker").join(name), to_worker).unwrap();
        }
    }
}
