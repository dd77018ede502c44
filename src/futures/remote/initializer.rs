//! [`EncodedInitializer`]: what each worker of a pool calls before its first call.

use super::codec::{EncodeError, Sink, Storage};
use super::function_id;
use super::invoke::call_initializer;
use super::protocol::FunctionToken;
use crate::error::{Outcome, Result};
use crate::futures::executor::Portable;

/// The most bytes of a message unless the builder of a pool says otherwise.
pub(crate) const DEFAULT_MESSAGE_LIMIT: u64 = 2 << 30;

type Encode<S> = Box<dyn FnOnce(&mut Sink<'_, S>) -> Result<(), EncodeError> + Send>;

/// A function and its argument, as a builder keeps them until it makes the pool.
pub(crate) struct EncodedInitializer<S: Storage> {
    token: Result<FunctionToken>,
    encode: Encode<S>,
}

impl<S: Storage> EncodedInitializer<S> {
    pub(crate) fn new<A: Portable, O: Outcome + 'static>(
        function: fn(A) -> O,
        argument: A,
    ) -> Self {
        let token = function_id::token(call_initializer::<A, O, S>, function);
        Self { token, encode: Box::new(move |sink| sink.encode(&argument)) }
    }

    /// Has `encode` make a message of the call.
    pub(crate) fn into_message<M>(
        self,
        encode: impl FnOnce(FunctionToken, Encode<S>) -> Result<M>,
    ) -> Result<M> {
        encode(self.token?, self.encode)
    }
}
