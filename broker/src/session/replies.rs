//! Replies that cannot be sent yet: the OK of a publish waits for its commit, and whatever is answered
//! after it waits behind it, because clients match replies to commands by their order.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{CLOSE_WAIT, OK, encode_error, encode_response};
use protocol::{Code, Error};

use crate::outbox::Outbox;
use crate::receipt::{PublishError, Receipt};
use crate::topic::Topic;

/// The replies of one session, oldest first.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: VecDeque<Reply>,
    /// Bytes of the replies that are ready and wait for their turn.
    ready_bytes: usize,
}

#[derive(Debug)]
enum Reply {
    Bytes(Vec<u8>),
    Commit(Commit),
    /// The answer to CLS, once what the client finished is as durable as its topic demands.
    CloseWait(Waits),
}

/// A receipt, and whether the session is told when it is settled.
#[derive(Debug)]
struct Waits {
    receipt: Receipt,
    is_told: bool,
}

impl Waits {
    fn new(receipt: Receipt) -> Self {
        Self { receipt, is_told: false }
    }

    /// How it ended. If it has not, the session of `outbox` is flushed again when it has.
    fn outcome(&mut self, outbox: &Arc<Outbox>) -> Option<&Result<(), PublishError>> {
        if self.receipt.outcome().is_none() && !self.is_told {
            self.is_told = true;
            self.receipt.wake(outbox);
        }
        self.receipt.outcome()
    }
}

/// Publishes that one commit answers.
#[derive(Debug)]
struct Commit {
    verb: Verb,
    topic: Arc<Topic>,
    receipt: Waits,
    oks: u32,
    messages: u64,
}

/// Which command published: its failure names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Pub,
    Mpub,
    Dpub,
}

impl Verb {
    /// nsqd: `E_PUB_FAILED PUB failed ...`, and likewise for the others.
    pub(super) fn failed(self, why: impl std::fmt::Display) -> Error {
        let code = match self {
            Self::Pub => Code::PubFailed,
            Self::Mpub => Code::MpubFailed,
            Self::Dpub => Code::DpubFailed,
        };
        Error::new(code, format!("{} failed {why}", self.name()))
    }

    /// As on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pub => "PUB",
            Self::Mpub => "MPUB",
            Self::Dpub => "DPUB",
        }
    }
}

impl Replies {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the replies take in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.waiting.len() * size_of::<Reply>() + self.ready_bytes
    }

    /// A reply that is ready, in its turn.
    pub(super) fn add_bytes(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.waiting.back(), Some(Reply::Bytes(_))) {
            self.waiting.push_back(Reply::Bytes(Vec::new()));
        }
        if let Some(Reply::Bytes(bytes)) = self.waiting.back_mut() {
            let before = bytes.len();
            write(bytes);
            self.ready_bytes += bytes.len() - before;
        }
    }

    /// An OK for `messages` messages, once `receipt` is settled.
    pub(super) fn add_commit(&mut self, verb: Verb, topic: &Arc<Topic>, receipt: Receipt, messages: u64) {
        if let Some(Reply::Commit(last)) = self.waiting.back_mut()
            && last.verb == verb
            && last.receipt.receipt.is_same_batch(&receipt)
        {
            last.oks += 1;
            last.messages += messages;
            return;
        }
        self.waiting.push_back(Reply::Commit(Commit {
            verb,
            topic: Arc::clone(topic),
            receipt: Waits::new(receipt),
            oks: 1,
            messages,
        }));
    }

    /// CLOSE_WAIT, once `receipt` is settled.
    pub(super) fn add_close_wait(&mut self, receipt: Receipt) {
        self.waiting.push_back(Reply::CloseWait(Waits::new(receipt)));
    }

    /// Move every reply whose turn has come to `out`. True: one of them was fatal.
    pub(super) fn settle(&mut self, out: &mut Vec<u8>, outbox: &Arc<Outbox>) -> bool {
        let mut is_fatal = false;
        while let Some(first) = self.waiting.front_mut() {
            match first {
                Reply::Bytes(bytes) => {
                    self.ready_bytes -= bytes.len();
                    out.extend_from_slice(bytes);
                }
                Reply::CloseWait(receipt) => match receipt.outcome(outbox) {
                    None => break,
                    Some(Ok(())) => encode_response(out, CLOSE_WAIT),
                    // Silence is what a client without its answer expects: its FINs may come to nothing.
                    Some(Err(_)) => is_fatal = true,
                },
                Reply::Commit(commit) => match commit.receipt.outcome(outbox) {
                    None => break,
                    Some(Ok(())) => {
                        for _ in 0..commit.oks {
                            encode_response(out, OK);
                        }
                        outbox.client.count_published(&commit.topic.name, commit.messages);
                    }
                    Some(Err(why)) => {
                        let error = commit.verb.failed(why);
                        outbox.count_error(error.code);
                        encode_error(out, &error);
                        is_fatal = true;
                    }
                },
            }
            self.waiting.pop_front();
        }
        is_fatal
    }
}
