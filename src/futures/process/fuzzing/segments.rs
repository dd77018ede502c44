//! Segments of shared memory: announced, used, changed and forgotten in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::{file, resize};
use crate::futures::process::SharedBytes;
use crate::futures::remote::attachments::Files;
use crate::futures::remote::codec::{OutOfLinePayload, Source};
use crate::futures::remote::foreign::ForeignSegments;
use crate::futures::remote::protocol::OutOfLine;
use crate::futures::remote::segments::{Announced, Arena, Segment};

/// The segments of the other side, as this side keeps them and as they should be.
#[derive(Default)]
struct Theirs {
    segments: ForeignSegments,
    /// The announced files, with the contents of those that cannot change.
    files: BTreeMap<u64, (OwnedFd, Option<Vec<u8>>)>,
}

impl Theirs {
    fn announce(&mut self, id: u64, kind: u8, content: &[u8]) -> bool {
        let made = file(kind, content).ok();
        let own = made.as_ref().and_then(|file| file.try_clone().ok());
        let announced = self.segments.announced(id, made);
        let Some(own) = own else { return true };
        match announced {
            Ok(Err(_)) => true, // the system refuses it
            Ok(Ok(())) => {
                let constant = (kind % 8 < 2).then(|| content.to_vec());
                self.files.insert(id, (own, constant));
                true
            }
            Err(_) => false, // that ends the other side
        }
    }

    /// Decodes `len` bytes of a segment; may resize the file between the check and the read.
    fn read(&mut self, id: u64, len: u64, resized: Option<u64>) -> bool {
        let known = self.files.get(&id);
        let Ok(window) = self.segments.window(OutOfLine { segment: id, len }) else {
            if let Some((_, Some(content))) = known {
                assert!(len > content.len() as u64, "what was announced is there");
            }
            return false;
        };
        let (file, content) = known.expect("only what was announced is there");
        if let Some(len) = resized {
            resize(file, len);
        }
        let files = Files::default();
        let payload = OutOfLinePayload::new(&window);
        let read = Source::out_of_line(&payload, &files).decode::<Vec<u8>>();
        let _ = Source::out_of_line(&payload, &files).decode::<Vec<u16>>();
        let _ = Source::out_of_line(&payload, &files).decode::<Vec<String>>();
        match (content, read) {
            (Some(content), read) => {
                assert_eq!(read.as_ref().map(Vec::as_slice), Ok(&content[..len as usize]));
            }
            (None, Ok(read)) => assert_eq!(read.len() as u64, len),
            (None, Err(_)) => {}
        }
        true
    }

    fn forget(&mut self, id: u64) {
        self.segments.forgotten(id);
        self.files.remove(&id);
        assert!(self.segments.window(OutOfLine { segment: id, len: 0 }).is_err());
    }
}

/// The segments of this side, and those that the other side knows.
struct Own {
    arena: Arena,
    announced: Announced,
    taken: Vec<Segment>,
    /// Those that the other side has a descriptor of.
    there: BTreeSet<u64>,
}

impl Own {
    fn order(&mut self, what: u8, content: &[u8]) {
        let index = content.first().map_or(0, |byte| usize::from(*byte)) % self.taken.len().max(1);
        match what % 6 {
            0 if self.taken.len() < 8 => {
                let Ok(mut segment) = self.arena.take(content.len()) else { return };
                if let Ok(room) = segment.extend(content.len()) {
                    room.copy_from_slice(content);
                    assert_eq!(segment.len(), content.len());
                }
                self.taken.push(segment);
            }
            1 if !self.taken.is_empty() => self.arena.give_back(self.taken.swap_remove(index)),
            2 => {
                let Some(segment) = self.taken.get_mut(index) else { return };
                let knows = self.announced.has(segment);
                assert_eq!(knows, self.there.contains(&segment.id()));
                if !knows {
                    self.announced.add(segment);
                    self.there.insert(segment.id());
                }
                segment.protect();
                segment.unprotect().expect("it is mapped");
            }
            3 => {
                while let Some(id) = self.announced.surplus() {
                    assert!(self.there.remove(&id), "it was told so already");
                }
            }
            4 => {
                if let Some(segment) = self.taken.get(index) {
                    self.announced.remove(segment.id());
                    self.there.remove(&segment.id());
                }
            }
            _ => drop(self.arena.trim(Instant::now() + Duration::from_secs(9))),
        }
    }
}

/// Segments of both sides.
pub fn segments(input: &[u8]) {
    let mut theirs = Theirs::default();
    let (announced, taken, there) = (Announced::default(), Vec::new(), BTreeSet::new());
    let mut own = Own { arena: Arena::new(4), announced, taken, there };
    let mut rest = input;
    while let [what, id, a, b, len, behind @ ..] = rest {
        let (content, behind) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = behind;
        let (id, count) = (u64::from(*id), u64::from(*a) << 4 | u64::from(*b));
        let goes_on = match what % 8 {
            0 | 1 => theirs.announce(id, what >> 3, content),
            2 => theirs.read(id, count, None),
            3 => theirs.read(id, count, Some(u64::from(*len) * 9)),
            4 => {
                theirs.forget(id);
                true
            }
            5 => {
                shared(*a, content, [id, count]);
                true
            }
            6 => theirs.announce(id, 0, &content.repeat(usize::from(*b))),
            _ => {
                own.order(*a, content);
                true
            }
        };
        if !goes_on && what >> 7 == 0 {
            break;
        }
    }
}

/// Shared bytes over a file of any kind: files that can still be changed are refused.
fn shared(kind: u8, content: &[u8], [number, len]: [u64; 2]) {
    let Ok(made) = file(kind, content) else { return };
    let own = made.try_clone();
    let files = Files::new(vec![Some(made)]);
    let Ok(bytes) = postcard::to_stdvec(&(number % 3, len, &[] as &[u8])) else { return };
    let decoded = Source::new(&bytes, &files).decode::<SharedBytes>();
    if let (Ok(shared), Ok(own)) = (decoded, own) {
        assert!(kind % 8 < 2, "somebody can change it");
        resize(&own, 0);
        let _ = rustix::io::pwrite(&own, b"changed", 0);
        assert!(content.starts_with(&shared) && shared.len() as u64 == len);
    }
}
