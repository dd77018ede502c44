//! Sends and receives descriptors: one message of the socket for each frame that has some.
//!
//! A process that is short of descriptors receives as many as it has room for, and the kernel says that the
//! rest was cut off. So a frame says how many it has, and the receiver compares. A failure affects a single
//! frame: each message of the socket names its frame, and the receiver drops messages of earlier frames.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::futures::remote::attachments::MOST_DESCRIPTORS;
use crate::futures::remote::protocol::Malformed;
use crate::futures::sys::descriptors::above_standard;

/// The most descriptors of a message: attachments, and a segment.
pub(crate) const FILES: usize = MOST_DESCRIPTORS + 1;

/// The most messages of earlier frames that are dropped at a time. There is one for each frame whose
/// descriptors could not be received, and a socket holds no more.
const LEFT_BEHIND: u32 = 10_000;

/// How many times a worker retries a system call for which the kernel has no memory.
pub(crate) const TRIES: u32 = 20;

/// Sends one message with descriptors. With `block` it waits until there is room for it.
pub(crate) fn send_with_files(
    socket: BorrowedFd<'_>,
    text: &[u8],
    files: &[BorrowedFd<'_>],
    block: bool,
) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Errno::INVAL);
    }
    let mut flags = SendFlags::NOSIGNAL;
    if !block {
        flags |= SendFlags::DONTWAIT;
    }
    let send = || rustix::net::sendmsg(socket, &[IoSlice::new(text)], &mut control, flags);
    rustix::io::retry_on_intr(send).map(drop)
}

/// A message that was received.
#[derive(Debug)]
pub(crate) struct ReceivedFds {
    /// Bytes of its text; 0 at the end of the stream.
    pub(crate) len: usize,
    pub(crate) files: Vec<OwnedFd>,
    /// Some of its descriptors are missing: there was no room for them.
    pub(crate) cut_off: bool,
}

/// Receives one message with descriptors.
pub(crate) fn receive_with_files(
    socket: BorrowedFd<'_>,
    text: &mut [u8],
    block: bool,
) -> Result<ReceivedFds> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if !block {
        flags |= RecvFlags::DONTWAIT;
    }
    let mut receive = || {
        let mut parts = [IoSliceMut::new(&mut *text)];
        rustix::net::recvmsg(socket, &mut parts, &mut control, flags)
    };
    let received = match rustix::io::retry_on_intr(&mut receive) {
        // The other side has ended with unread messages. Those that it sent come after this error.
        Err(Errno::CONNRESET) => rustix::io::retry_on_intr(receive)?,
        received => received?,
    };
    let mut files: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            files.extend(rights);
        }
    }
    let count = files.len();
    let files: Vec<_> = files.into_iter().map_while(|file| above_standard(file).ok()).collect();
    let cut_off = received.flags.contains(ReturnFlags::CTRUNC) || files.len() < count;
    Ok(ReceivedFds { len: received.bytes, files, cut_off })
}

/// Sends the descriptors of frame `seq`.
pub(crate) fn send_files(
    socket: BorrowedFd<'_>,
    seq: u64,
    files: &[BorrowedFd<'_>],
    block: bool,
) -> Result<()> {
    send_with_files(socket, &seq.to_ne_bytes(), files, block)
}

/// Receives the `count` descriptors of frame `seq`, which were sent before the frame. The inner error, a
/// text, affects that frame only.
pub(crate) fn receive_files(
    socket: BorrowedFd<'_>,
    seq: u64,
    count: usize,
    block: bool,
) -> std::result::Result<std::result::Result<Vec<OwnedFd>, String>, Malformed> {
    let (mut tries, mut left_behind) = (0, 0);
    loop {
        let mut text = [0; 8];
        let received = match receive_with_files(socket, &mut text, block) {
            Ok(received) => received,
            Err(error @ (Errno::NOMEM | Errno::NOBUFS)) => {
                tries += 1;
                if !block || tries >= TRIES {
                    return Ok(Err(format!("the system has no memory for it: {error}")));
                }
                std::thread::park_timeout(Duration::from_millis(5));
                continue;
            }
            Err(Errno::AGAIN) => return Err(Malformed("descriptors are missing")),
            Err(_) => return Err(Malformed("descriptors could not be received")),
        };
        if received.len != text.len() {
            return Err(Malformed("descriptors without the number of a frame"));
        }
        match u64::from_ne_bytes(text) {
            own if own == seq => {}
            // Of an earlier frame, for which they could not be received.
            before if before < seq && left_behind < LEFT_BEHIND => {
                left_behind += 1;
                continue;
            }
            _ => return Err(Malformed("descriptors of another message")),
        }
        let came = received.files.len();
        return Ok(match came == count && !received.cut_off {
            true => Ok(received.files),
            false if received.cut_off => {
                Err(format!("too many open files: {came} of its {count} descriptors were received"))
            }
            false => return Err(Malformed("another number of descriptors than the frame says")),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::os::fd::AsFd;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn descriptors_cross_a_socket_with_their_message() {
        let (a, b) = pair();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        send_with_files(a.as_fd(), b"two", &[writer.as_fd(), writer.as_fd()], true).unwrap();
        let mut text = [0; 16];
        let received = receive_with_files(b.as_fd(), &mut text, true).unwrap();
        assert_eq!((&text[..received.len], received.files.len()), (&b"two"[..], 2));
        rustix::io::write(&received.files[1], b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut text).unwrap(), 1);
        assert!(receive_with_files(b.as_fd(), &mut text, false).is_err(), "nothing there");
        drop(a);
        assert_eq!(receive_with_files(b.as_fd(), &mut text, true).unwrap().len, 0);
    }

    #[test]
    fn what_was_sent_before_an_end_with_something_unread_is_received() {
        let (a, b) = pair();
        send_with_files(a.as_fd(), b"unread", &[a.as_fd()], true).unwrap();
        send_with_files(b.as_fd(), b"last", &[b.as_fd()], true).unwrap();
        drop(b);
        let mut text = [0; 16];
        let received = receive_with_files(a.as_fd(), &mut text, false).unwrap();
        assert_eq!((&text[..received.len], received.files.len()), (&b"last"[..], 1));
    }

    #[test]
    fn descriptors_belong_to_the_frame_that_says_how_many_there_are() {
        let (a, b) = pair();
        let file = a.as_fd();
        send_files(file, 1, &[file], true).unwrap();
        send_files(file, 2, &[file, file], true).unwrap();
        send_files(file, 3, &[file], true).unwrap();
        // The first was left behind, and the third has another number.
        assert_eq!(receive_files(b.as_fd(), 2, 2, false).unwrap().unwrap().len(), 2);
        assert!(receive_files(b.as_fd(), 3, 2, false).is_err());
        send_files(file, 9, &[file], true).unwrap();
        assert!(receive_files(b.as_fd(), 4, 1, false).is_err(), "of a later frame");
        assert!(receive_files(b.as_fd(), 5, 1, false).is_err(), "nothing there");
    }

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (a, b) = pair();
        let mut sent = 0;
        let error = loop {
            match send_files(a.as_fd(), sent, &[b.as_fd()], false) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error, sent > 0), (Errno::AGAIN, true));
    }
}
