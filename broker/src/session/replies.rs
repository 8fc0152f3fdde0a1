//! Replies that cannot be sent yet: the OK of a publish waits for its commit, and whatever is answered
//! after it waits behind it, because clients match replies to commands by their order.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Code, Error};
use protocol::{OK, encode_error, encode_response};

use crate::client::Client;
use crate::receipt::{PublishError, Receipt};
use crate::topic::Topic;

/// The replies of one session, oldest first.
#[derive(Debug, Default)]
pub(super) struct Replies(VecDeque<Reply>);

#[derive(Debug)]
enum Reply {
    Bytes(Vec<u8>),
    Commit(Commit),
}

/// Publishes that one commit answers.
#[derive(Debug)]
struct Commit {
    verb: Verb,
    topic: Arc<Topic>,
    receipt: Receipt,
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
    pub(super) fn failed(self, why: &PublishError) -> Error {
        let (code, verb) = match self {
            Self::Pub => (Code::PubFailed, "PUB"),
            Self::Mpub => (Code::MpubFailed, "MPUB"),
            Self::Dpub => (Code::DpubFailed, "DPUB"),
        };
        Error::new(code, format!("{verb} failed {why}"))
    }
}

impl Replies {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A reply that is ready, in its turn.
    pub(super) fn add_bytes(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.0.back_mut() {
            Some(Reply::Bytes(bytes)) => write(bytes),
            _ => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                self.0.push_back(Reply::Bytes(bytes));
            }
        }
    }

    /// An OK for `messages` messages, once `receipt` is settled.
    pub(super) fn add_commit(&mut self, verb: Verb, topic: &Arc<Topic>, receipt: Receipt, messages: u64) {
        if let Some(Reply::Commit(last)) = self.0.back_mut()
            && last.verb == verb
            && last.receipt.is_same_batch(&receipt)
        {
            last.oks += 1;
            last.messages += messages;
            return;
        }
        self.0.push_back(Reply::Commit(Commit { verb, topic: Arc::clone(topic), receipt, oks: 1, messages }));
    }

    /// Move every reply whose turn has come to `out`. True: one of them was fatal.
    pub(super) fn settle(&mut self, out: &mut Vec<u8>, client: &Client) -> bool {
        let mut is_fatal = false;
        while let Some(first) = self.0.front() {
            match first {
                Reply::Bytes(bytes) => out.extend_from_slice(bytes),
                Reply::Commit(commit) => match commit.receipt.outcome() {
                    None => break,
                    Some(Ok(())) => {
                        for _ in 0..commit.oks {
                            encode_response(out, OK);
                        }
                        client.count_published(&commit.topic.name, commit.messages);
                    }
                    Some(Err(why)) => {
                        encode_error(out, &commit.verb.failed(why));
                        is_fatal = true;
                    }
                },
            }
            self.0.pop_front();
        }
        is_fatal
    }
}
