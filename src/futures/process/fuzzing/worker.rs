//! The worker's side: it copes with anything that its parent may send.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::script::{IN_PARTS, ScriptFiles, ScriptOrder, ScriptStep, steps};
use super::values::{AnyValue, bytes, echo, initialize, len, number, shape, shared};
use super::{LIMIT, sockets};
use crate::futures::process::SharedBytes;
use crate::futures::process::channel::fds::receive_with_files;
use crate::futures::process::channel::frame::{REPLY_LIMIT, REQUEST_LIMIT};
use crate::futures::process::channel::frame_reader::FrameReader;
use crate::futures::process::channel::shared_page::SharedPage;
use crate::futures::process::child::main_loop::MainLoop;
use crate::futures::remote::chunk::call_chunk;
use crate::futures::remote::function_id::token;
use crate::futures::remote::invoke::{call_initializer, call_one};
use crate::futures::remote::number_chunk::call_number_chunk;
use crate::futures::remote::protocol::{FrameKind, FunctionToken};
use crate::futures::remote::segments::Arena;

/// The functions that inputs call, by number.
fn tokens() -> &'static [FunctionToken] {
    static TOKENS: OnceLock<Vec<FunctionToken>> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let all = [
            token(call_one::<String, String, Arena>, echo),
            token(call_one::<AnyValue, u64, Arena>, shape),
            token(call_number_chunk::<u32, u32, Arena>, number),
            token(call_chunk::<String, String, Arena>, echo),
            token(call_one::<SharedBytes, u64, Arena>, len),
            token(call_one::<u32, Vec<u8>, Arena>, bytes),
            token(call_one::<Vec<SharedBytes>, Vec<SharedBytes>, Arena>, shared),
            token(call_initializer::<String, (), Arena>, initialize),
        ];
        all.into_iter().map(|token| token.expect("these are functions of the program")).collect()
    })
}

/// Replaces the token of a call by its number and zeros, as in inputs, since each build has other tokens.
#[cfg(test)]
pub(super) fn number_token(step: &mut ScriptStep) {
    if step.kind() == FrameKind::Call as u8 {
        if let Ok((token, _)) = FunctionToken::split(step.body()) {
            let number = tokens().iter().position(|known| *known == token);
            let number = number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX);
            let place = &mut step.body_mut()[..FunctionToken::BYTES];
            place.fill(0);
            place[0] = number;
            step.seal();
        }
    }
}

/// Replaces the number of a call by its token. A parent never names other code than functions, so any other
/// number names no code.
fn name_function(step: &mut ScriptStep) {
    if step.kind() == FrameKind::Call as u8 && step.order.is_none() {
        let sealed = step.is_sealed();
        if let Some(place) = step.body_mut().get_mut(..FunctionToken::BYTES) {
            match tokens().get(usize::from(place[0])) {
                Some(token) => place.copy_from_slice(&token.to_bytes()),
                None => place.fill(0),
            }
        }
        if sealed {
            step.seal();
        }
    }
}

/// One worker, and its parent's end of the channel.
struct Channel {
    worker: MainLoop,
    /// The worker's.
    own_page: Arc<SharedPage>,
    frame_reader: FrameReader,
    page: SharedPage,
    _bells: [OwnedFd; 2],
    socket: OwnedFd,
    files: ScriptFiles,
    /// The worker's answers.
    answers: FrameReader,
}

impl Channel {
    fn new() -> rustix::io::Result<Self> {
        let (socket, theirs) = sockets()?;
        // A worker waits for announced descriptors, which may never come here.
        set_socket_timeout(&theirs, Timeout::Recv, Some(Duration::from_millis(1)))?;
        let (page, file) = SharedPage::new()?;
        let (own_bell, their_bell) = rustix::pipe::pipe()?;
        let (reader, bell) = rustix::pipe::pipe()?;
        let own_page = Arc::new(SharedPage::open(file.as_fd())?);
        Ok(Self {
            worker: MainLoop::new(theirs, bell, own_bell, Arc::clone(&own_page), LIMIT),
            own_page,
            frame_reader: FrameReader::new(REQUEST_LIMIT),
            page,
            _bells: [their_bell, reader],
            socket,
            files: ScriptFiles::default(),
            answers: FrameReader::new(REPLY_LIMIT),
        })
    }

    /// False if the worker has ended.
    fn step(&mut self, step: &ScriptStep, in_parts: bool) -> bool {
        match step.order {
            Some(ScriptOrder::File) => self.files.add(step),
            Some(ScriptOrder::Message) => {
                self.files.send(self.socket.as_fd(), step.body(), step.files())
            }
            Some(ScriptOrder::Revoke) => drop(self.page.revoke(step.seq())),
            Some(ScriptOrder::Poke) => {
                let text = String::from_utf8_lossy(step.body()).into_owned();
                self.page.say(&text);
            }
            Some(_) => {}
            None => return self.frame(step, in_parts),
        }
        true
    }

    fn frame(&mut self, step: &ScriptStep, in_parts: bool) -> bool {
        if step.files() > 0 {
            self.files.send(self.socket.as_fd(), &step.seq().to_ne_bytes(), step.files());
        }
        if step.kind() == FrameKind::Call as u8
            && step.order.is_none()
            && !self.page.is_revoked(step.seq())
        {
            self.page.offer(step.seq());
        }
        let (start, end) = step.bytes.split_at(if in_parts { step.bytes.len() / 2 } else { 0 });
        [start, end].into_iter().filter(|part| !part.is_empty()).all(|part| self.take(part))
    }

    /// Has the worker read bytes, and reads its replies.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for bytes in bytes.chunks(REPLY_LIMIT / 2) {
            let written = self.page.requests().try_write(bytes, || Ok(()));
            assert_eq!(written, Ok(true), "the worker has read all that came before");
            let read = self.own_page.requests().read(self.frame_reader.room());
            assert_eq!(read, Ok(bytes.len()));
            self.frame_reader.fill(bytes.len());
            let goes_on = self.worker.handle(&mut self.frame_reader);
            self.hear();
            if !matches!(goes_on, Ok(true)) {
                return false;
            }
        }
        true
    }

    fn hear(&mut self) {
        let mut text = [0; 8];
        let mut receive = || receive_with_files(self.socket.as_fd(), &mut text, false);
        while receive().is_ok_and(|received| received.len > 0) {}
        let count = self.page.answers().read(self.answers.room()).expect("it is as it should be");
        self.answers.fill(count);
        while let Some((header, _)) = self.answers.next().expect("a worker says frames") {
            assert!(header.kind.is_answer() || header.kind == FrameKind::Forget, "{header:?}");
        }
        assert!(self.answers.is_empty(), "half a frame");
    }
}

/// The worker's side of the channel, with any input.
pub fn worker(input: &[u8]) {
    let (first, steps) = steps(input);
    let Ok(mut channel) = Channel::new() else { return };
    for mut step in steps {
        name_function(&mut step);
        if !channel.step(&step, first & IN_PARTS != 0) {
            break;
        }
    }
}
