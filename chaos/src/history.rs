//! What happened, as fixed-size records: written by the load's threads and the driver, read by the checker. What of it
//! is right or wrong is `check`'s matter.

mod file;

pub use file::{load, save};

/// Bytes of a record in a file.
pub const EVENT_BYTES: usize = 48;

/// No channel: the event is about a topic's publisher or about the whole broker.
pub const NO_CHANNEL: u8 = u8::MAX;

/// One record. Times are nanoseconds of the monotonic clock since the run began, and rise strictly within a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When it was done or seen. What is sent is recorded before it is sent, what is received after it was received.
    pub at: u64,
    /// Of a delivery: it was sent by the broker later than this. Of an answer: when the question was sent.
    pub since: u64,
    /// Which message; the first of several.
    pub key: u64,
    /// Message id as a number; the delay in ns of [`Op::Publish`].
    pub id: u64,
    /// See [`Op`].
    pub arg: u64,
    /// Connection number, unique in a run.
    pub conn: u32,
    /// What.
    pub op: Op,
    /// Index into the history's channels; of publishes, of its topics.
    pub channel: u8,
    /// As delivered.
    pub attempts: u16,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Op {
    /// A PUB, DPUB or MPUB was sent; `arg`: how many messages with rising keys, `id`: the delay in ns.
    Publish,
    /// It was answered with OK.
    Acked,
    /// It was answered with an error.
    Refused,
    /// A message came; `arg`: its timestamp.
    Delivered,
    /// A message came whose body is not what anybody published; `arg`: its timestamp.
    Corrupt,
    /// FIN was sent.
    Finish,
    /// REQ was sent; `arg`: the delay in ns.
    Requeue,
    /// TOUCH was sent.
    Touch,
    /// `E_FIN_FAILED`: that message was not in flight on this connection.
    FinishFailed,
    /// `E_REQ_FAILED`.
    RequeueFailed,
    /// `E_TOUCH_FAILED`.
    TouchFailed,
    /// A publisher (no channel) or subscribed consumer; `key`: the broker's life, `arg`: its message timeout in ns.
    Opened,
    /// The connection ended between `since` and `at`; `arg`: 0 when we closed it, 1 when the broker did.
    Ended,
    /// The broker has processed everything sent on this connection before `since`.
    Fence,
    /// CLOSE_WAIT: every FIN sent before `since` must be durable.
    CloseWait,
    /// The channel exists: what is published from now on is owed to it.
    ChannelMade,
    /// The broker answers; `key`: its life.
    Ready,
    /// kill -9 or a power cut; `key`: the life that ended.
    Crash,
    /// SIGTERM was sent; `key`: the life that ended.
    Stop,
}

impl Op {
    pub(crate) const ALL: [Self; 19] = [
        Self::Publish,
        Self::Acked,
        Self::Refused,
        Self::Delivered,
        Self::Corrupt,
        Self::Finish,
        Self::Requeue,
        Self::Touch,
        Self::FinishFailed,
        Self::RequeueFailed,
        Self::TouchFailed,
        Self::Opened,
        Self::Ended,
        Self::Fence,
        Self::CloseWait,
        Self::ChannelMade,
        Self::Ready,
        Self::Crash,
        Self::Stop,
    ];
}

impl Event {
    /// An event of this kind with nothing else in it.
    pub fn new(op: Op, at: u64) -> Self {
        Self { at, since: 0, key: 0, id: 0, arg: 0, conn: 0, op, channel: NO_CHANNEL, attempts: 0 }
    }
}

/// A channel under load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Index of its topic.
    pub topic: u8,
    /// Its name.
    pub name: String,
    /// It never has two consumers at once, so that order can be checked.
    pub is_single: bool,
}

/// One round: from empty channels, through faults, to empty channels again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Which round; part of every key.
    pub round: u16,
    /// Names of the topics.
    pub topics: Vec<String>,
    /// The channels.
    pub channels: Vec<Channel>,
    /// Everything; the events of one connection stand in their order.
    pub events: Vec<Event>,
}

/// The key of a message: round, publisher, number.
pub fn key(round: u16, publisher: u16, number: u32) -> u64 {
    u64::from(round) << 48 | u64::from(publisher) << 32 | u64::from(number)
}

/// The round a key is of.
pub fn round_of(key: u64) -> u16 {
    u16::try_from(key >> 48).unwrap_or_default()
}

/// A key for people: `round.publisher.number`.
pub fn key_text(key: u64) -> String {
    format!("{}.{}.{}", key >> 48, key >> 32 & 0xffff, key & 0xffff_ffff)
}
