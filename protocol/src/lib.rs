//! The wire of NSQ as pure data: names, messages, frames, the commands of protocol V2 and IDENTIFY, and the
//! commands of nsqlookupd's protocol V1 in `lookup`. Bytes go in, values and exact error texts come out.
//! Sockets, time and what a command does to a topic live with the callers.

mod body;
mod command;
pub mod compress;
pub mod control;
mod decode;
mod error;
mod frame;
mod identify;
mod json;
pub mod lookup;
mod message;
mod name;
#[cfg(test)]
mod properties;
mod text;

pub use body::Messages;
pub use command::{Command, Limits, Phase, Stage};
pub use decode::{DecodeError, Decoder, FINISH_BYTES};
pub use error::{Code, Error};
pub use frame::{
    CLOSE_WAIT, Frame, FrameError, HEARTBEAT, MAGIC_V1, MAGIC_V2, MESSAGE_FRAME_OVERHEAD, MessageHead, OK,
    decode_frame, encode_error, encode_message, encode_response,
};
pub use identify::{BufferSize, BufferTimeout, Granted, Heartbeat, Identify, IdentifyLimits};
pub use message::{MESSAGE_HEADER_BYTES, MessageId};
pub use name::{ChannelName, InvalidName, TopicName, is_valid_name};
