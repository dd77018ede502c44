//! What the pool does with a call that was made for it.

use std::panic::Location;
use std::sync::Arc;

use super::crew::Shared;
use super::task::{Crossing, Message};
use crate::error::Result;
use crate::futures::Future;
use crate::futures::remote::codec::{EncodeError, Sink};
use crate::futures::remote::landing::Landing;
use crate::futures::remote::send::Courier;
use crate::futures::remote::wire::Token;

impl Courier for Shared {
    type Message = Message;

    fn admits(&self) -> Result<()> {
        Self::admits(self)
    }

    fn encode(
        &self,
        token: Token,
        encode: impl FnOnce(&mut Sink<'_>) -> Result<(), EncodeError>,
    ) -> Result<Message> {
        Message::new(token, self.arena(), self.settings().max_message_size, encode)
    }

    fn post<A, I, R: Send + 'static>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        message: Message,
        landing: Landing<R>,
    ) -> Result<Future<R>> {
        let (task, future) = Crossing::make::<A, I>(site, message, landing, self);
        self.submit(task)?;
        Ok(future)
    }
}
