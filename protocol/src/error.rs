//! The errors a client can be sent: nsqd's codes and its exact words, which clients and dashboards match on.
//! Errors of our own world (disks, peers) belong to the crates that meet them.

use std::fmt;

use crate::message::MessageId;
use crate::name::{ChannelName, TopicName};
use crate::text;

/// What kind of error; the first word of an error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The command does not exist, is malformed, or does not fit the session's state.
    Invalid,
    /// A body (IDENTIFY, AUTH, MPUB as a whole) cannot be read.
    BadBody,
    /// Not the name of a topic.
    BadTopic,
    /// Not the name of a channel.
    BadChannel,
    /// A message in PUB, MPUB or DPUB cannot be read.
    BadMessage,
    /// PUB could not be stored.
    PubFailed,
    /// MPUB could not be stored.
    MpubFailed,
    /// DPUB could not be stored.
    DpubFailed,
    /// The channel takes no further consumer, or is going away.
    SubFailed,
    /// The features asked for in IDENTIFY cannot be had.
    IdentifyFailed,
    /// The auth server did not accept the secret.
    AuthFailed,
    /// AUTH is needed before this command.
    AuthFirst,
    /// AUTH was sent to a broker that asks for none.
    AuthDisabled,
    /// The answer to AUTH could not be made.
    AuthError,
    /// The secret is good, but not for this.
    Unauthorized,
    /// The first four bytes were not a known magic.
    BadProtocol,
    /// FIN of a message that this session does not hold.
    FinFailed,
    /// REQ of a message that this session does not hold.
    ReqFailed,
    /// TOUCH of a message that this session does not hold.
    TouchFailed,
}

impl Code {
    /// The code as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "E_INVALID",
            Self::BadBody => "E_BAD_BODY",
            Self::BadTopic => "E_BAD_TOPIC",
            Self::BadChannel => "E_BAD_CHANNEL",
            Self::BadMessage => "E_BAD_MESSAGE",
            Self::PubFailed => "E_PUB_FAILED",
            Self::MpubFailed => "E_MPUB_FAILED",
            Self::DpubFailed => "E_DPUB_FAILED",
            Self::SubFailed => "E_SUB_FAILED",
            Self::IdentifyFailed => "E_IDENTIFY_FAILED",
            Self::AuthFailed => "E_AUTH_FAILED",
            Self::AuthFirst => "E_AUTH_FIRST",
            Self::AuthDisabled => "E_AUTH_DISABLED",
            Self::AuthError => "E_AUTH_ERROR",
            Self::Unauthorized => "E_UNAUTHORIZED",
            Self::BadProtocol => "E_BAD_PROTOCOL",
            Self::FinFailed => "E_FIN_FAILED",
            Self::ReqFailed => "E_REQ_FAILED",
            Self::TouchFailed => "E_TOUCH_FAILED",
        }
    }

    /// Whether the session ends after this error was sent; only a late FIN, REQ or TOUCH is forgiven.
    pub const fn is_fatal(self) -> bool {
        !matches!(self, Self::FinFailed | Self::ReqFailed | Self::TouchFailed)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An error for a client; shown as it is sent: `CODE description`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of error.
    pub code: Code,
    /// The description without the code. Empty for E_BAD_PROTOCOL, which is sent as the bare code.
    pub text: String,
}

impl Error {
    /// An error in the caller's own words.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Whether the session ends after this error was sent.
    pub const fn is_fatal(&self) -> bool {
        self.code.is_fatal()
    }

    /// The first four bytes named no protocol we speak.
    pub fn bad_protocol() -> Self {
        Self::new(Code::BadProtocol, "")
    }

    /// A command that the session's state forbids.
    pub fn wrong_state(verb: &str) -> Self {
        Self::new(Code::Invalid, format!("cannot {verb} in current state"))
    }

    /// PUB, MPUB or DPUB that could not be stored; `why` is the storage's own text.
    pub fn pub_failed(verb: &str, why: impl fmt::Display) -> Self {
        Self::new(failed_code(verb), format!("{verb} failed {why}"))
    }

    /// PUB, MPUB, DPUB or SUB that met a topic or channel going away.
    pub fn exiting(verb: &str) -> Self {
        Self::pub_failed(verb, "exiting")
    }

    /// SUB beyond the channel's limit of consumers.
    pub fn sub_limit(topic: &TopicName, channel: &ChannelName, limit: usize) -> Self {
        let text = format!("SUB failed consumers for {topic}:{channel} exceeds limit of {limit}");
        Self::new(Code::SubFailed, text)
    }

    /// SUB that found its ephemeral topic or channel being deleted, also when tried again.
    pub fn sub_deleted() -> Self {
        Self::new(Code::SubFailed, "SUB failed to deleted topic/channel")
    }

    /// FIN that changed nothing; not fatal.
    pub fn fin_failed(id: &MessageId, why: impl fmt::Display) -> Self {
        Self::new(Code::FinFailed, format!("FIN {id} failed {why}"))
    }

    /// REQ that changed nothing; not fatal.
    pub fn req_failed(id: &MessageId, why: impl fmt::Display) -> Self {
        Self::new(Code::ReqFailed, format!("REQ {id} failed {why}"))
    }

    /// TOUCH that changed nothing; not fatal.
    pub fn touch_failed(id: &MessageId, why: impl fmt::Display) -> Self {
        Self::new(Code::TouchFailed, format!("TOUCH {id} failed {why}"))
    }

    /// IDENTIFY asked for two compressions and the broker has both.
    pub fn both_compressions() -> Self {
        Self::new(Code::IdentifyFailed, "cannot enable both deflate and snappy compression")
    }

    /// An upgrade that IDENTIFY asked for broke off, such as the TLS handshake.
    pub fn identify_failed(why: impl fmt::Display) -> Self {
        Self::new(Code::IdentifyFailed, format!("IDENTIFY failed {why}"))
    }

    /// AUTH on a session that has authorizations already.
    pub fn auth_already_set() -> Self {
        Self::new(Code::Invalid, "AUTH already set")
    }

    /// AUTH at a broker without an auth server.
    pub fn auth_disabled() -> Self {
        Self::new(Code::AuthDisabled, "AUTH disabled")
    }

    /// The auth server refused the secret or could not be asked, at AUTH or when authorizations had expired.
    pub fn auth_failed() -> Self {
        Self::new(Code::AuthFailed, "AUTH failed")
    }

    /// The auth server knows the secret but allows nothing.
    pub fn no_authorizations() -> Self {
        Self::new(Code::Unauthorized, "AUTH no authorizations found")
    }

    /// The answer to a good AUTH could not be made.
    pub fn auth_error(why: impl fmt::Display) -> Self {
        Self::new(Code::AuthError, format!("AUTH error {why}"))
    }

    /// PUB, MPUB, DPUB or SUB before AUTH, at a broker with an auth server.
    pub fn auth_first(verb: &str) -> Self {
        Self::new(Code::AuthFirst, format!("AUTH required before {verb}"))
    }

    /// PUB, MPUB, DPUB (with `channel` empty) or SUB beyond what the authorizations allow.
    pub fn unauthorized(verb: &str, topic: &str, channel: &str) -> Self {
        let (topic, channel) = (text::quote(topic.as_bytes()), text::quote(channel.as_bytes()));
        Self::new(Code::Unauthorized, format!("AUTH failed for {verb} on {topic} {channel}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())?;
        if self.text.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.text)
    }
}

impl std::error::Error for Error {}

fn failed_code(verb: &str) -> Code {
    match verb {
        "MPUB" => Code::MpubFailed,
        "DPUB" => Code::DpubFailed,
        "SUB" => Code::SubFailed,
        _ => Code::PubFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_raised_outside_the_codec_has_the_words_of_nsqd() {
        let id = MessageId::new(*b"0a1b2c3d4e5f6071");
        let (topic, channel) = (TopicName::new("t").unwrap(), ChannelName::new("c").unwrap());
        let cases = [
            (Error::bad_protocol(), "E_BAD_PROTOCOL"),
            (Error::wrong_state("CLS"), "E_INVALID cannot CLS in current state"),
            (Error::exiting("PUB"), "E_PUB_FAILED PUB failed exiting"),
            (Error::exiting("MPUB"), "E_MPUB_FAILED MPUB failed exiting"),
            (Error::exiting("DPUB"), "E_DPUB_FAILED DPUB failed exiting"),
            (Error::exiting("SUB"), "E_SUB_FAILED SUB failed exiting"),
            (Error::pub_failed("PUB", "disk full"), "E_PUB_FAILED PUB failed disk full"),
            (
                Error::sub_limit(&topic, &channel, 1),
                "E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1",
            ),
            (Error::sub_deleted(), "E_SUB_FAILED SUB failed to deleted topic/channel"),
            (
                Error::fin_failed(&id, "ID not in flight"),
                "E_FIN_FAILED FIN 0a1b2c3d4e5f6071 failed ID not in flight",
            ),
            (
                Error::req_failed(&id, "client does not own message"),
                "E_REQ_FAILED REQ 0a1b2c3d4e5f6071 failed client does not own message",
            ),
            (Error::touch_failed(&id, "exiting"), "E_TOUCH_FAILED TOUCH 0a1b2c3d4e5f6071 failed exiting"),
            (
                Error::both_compressions(),
                "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
            ),
            (Error::identify_failed("EOF"), "E_IDENTIFY_FAILED IDENTIFY failed EOF"),
            (Error::auth_already_set(), "E_INVALID AUTH already set"),
            (Error::auth_disabled(), "E_AUTH_DISABLED AUTH disabled"),
            (Error::auth_failed(), "E_AUTH_FAILED AUTH failed"),
            (Error::no_authorizations(), "E_UNAUTHORIZED AUTH no authorizations found"),
            (Error::auth_error("x"), "E_AUTH_ERROR AUTH error x"),
            (Error::auth_first("PUB"), "E_AUTH_FIRST AUTH required before PUB"),
            (Error::unauthorized("PUB", "foo", ""), r#"E_UNAUTHORIZED AUTH failed for PUB on "foo" """#),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn only_late_fin_req_and_touch_are_forgiven() {
        let forgiven = [Code::FinFailed, Code::ReqFailed, Code::TouchFailed];
        assert!(forgiven.iter().all(|code| !code.is_fatal()));
        let fatal = [Code::Invalid, Code::BadTopic, Code::PubFailed, Code::SubFailed, Code::BadProtocol];
        assert!(fatal.iter().all(|code| code.is_fatal()));
    }
}
