//! What the pool does with a call that was made for it.

use std::panic::Location;
use std::sync::Arc;

use super::manager::PoolManager;
use super::request::{Message, ProcessRequest};
use crate::error::Result;
use crate::futures::Future;
use crate::futures::remote::codec::{EncodeError, Sink};
use crate::futures::remote::protocol::FunctionToken;
use crate::futures::remote::reply::ReplyHandler;
use crate::futures::remote::submit::RemotePool;

impl RemotePool for PoolManager {
    type Message = Message;

    fn admits(&self) -> Result<()> {
        Self::admits(self)
    }

    fn encode(
        &self,
        token: FunctionToken,
        encode: impl FnOnce(&mut Sink<'_>) -> Result<(), EncodeError>,
    ) -> Result<Message> {
        Message::new(token, self.arena(), self.settings().max_message_size, encode)
    }

    fn post<A, I, R: Send + 'static>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        message: Message,
        reply_handler: ReplyHandler<R>,
    ) -> Result<Future<R>> {
        let (task, future) = ProcessRequest::make::<A, I>(site, message, reply_handler, self);
        self.submit(task)?;
        Ok(future)
    }
}
