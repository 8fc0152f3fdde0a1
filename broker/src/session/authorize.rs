//! AUTH: a client is what the auth server says of its secret, for as long as it says. Without an auth server everybody
//! may do everything. What is asked and how grants are read is in `auth`.

use std::cell::RefCell;
use std::rc::Rc;

use protocol::{Error, encode_response, is_valid_name};
use queue::{ConsumerId, Instant};

use super::replies::Verb;
use super::{Opening, Over, Session, Step, nanos};
use crate::auth::{Applicant, AskError, Grants, welcome};
use crate::shard::Shard;

/// An auth server that does not answer costs nobody the subscription at once: for so long after the grants have
/// expired it is asked again. New commands are refused meanwhile.
const GRACE_NS: u64 = 60 * 1_000_000_000;

/// How often it is asked again.
const AGAIN_NS: u64 = 5 * 1_000_000_000;

/// 90 to 100 % of it, always the same for one connection: consumers that came together, as after a restart, are not all
/// asked for in the same moment.
fn spread(ns: u64, who: ConsumerId) -> u64 {
    // Multiplied with the golden ratio, neighbours are far apart in the upper bits.
    let part = who.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    ns - ns / 10_240 * part
}

/// What a client has shown to be allowed.
#[derive(Debug, Default)]
pub(super) struct Licence {
    grants: Option<Grants>,
    secret: Vec<u8>,
    expires_at: u64,
    /// The answer to AUTH, which is executed a second time once the server has said yes.
    answer: Option<Vec<u8>>,
    /// The topic of the last publish that was allowed: clients rarely alternate, and patterns cost time.
    published: String,
    rechecks_at: u64,
}

impl Licence {
    fn take(&mut self, grants: Grants, secret: Vec<u8>, now: Instant, who: ConsumerId) {
        let ttl = nanos(grants.ttl);
        self.expires_at = now.0.saturating_add(ttl);
        self.rechecks_at = now.0.saturating_add(spread(ttl, who));
        self.published.clear();
        self.secret = secret;
        self.grants = Some(grants);
    }

    fn is_expired(&self, now: Instant) -> bool {
        now.0 >= self.expires_at
    }
}

/// What a command wants to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wish<'a> {
    Publish { verb: Verb, topic: &'a str },
    Subscribe { topic: &'a str, channel: &'a str },
}

impl Wish<'_> {
    fn verb(self) -> &'static str {
        match self {
            Self::Publish { verb, .. } => verb.name(),
            Self::Subscribe { .. } => "SUB",
        }
    }

    fn is_granted(self, grants: &Grants) -> bool {
        match self {
            Self::Publish { topic, .. } => grants.may_publish(topic),
            Self::Subscribe { topic, channel } => grants.may_subscribe(topic, channel),
        }
    }

    fn refusal(self) -> Error {
        match self {
            Self::Publish { verb, topic } => Error::unauthorized(verb.name(), topic, ""),
            Self::Subscribe { topic, channel } => Error::unauthorized("SUB", topic, channel),
        }
    }
}

impl Session {
    /// AUTH. Executed twice: the first time leads to the auth server, the second answers.
    pub(super) fn auth(&self, shard: &Shard, secret: &[u8]) -> Step {
        let mut licence = self.licence().borrow_mut();
        if let Some(answer) = licence.answer.take() {
            drop(licence);
            self.reply(|out| encode_response(out, &answer));
            return Step::Next;
        }
        let error = if licence.grants.is_some() {
            Error::auth_already_set()
        } else if shard.broker.guards.auth.is_none() {
            Error::auth_disabled()
        } else {
            return Step::Open(Opening::Authorization { secret: secret.to_vec() });
        };
        drop(licence);
        self.reply_error(&error);
        Step::Close
    }

    /// May the client do that? None: yes. Otherwise what comes instead of the command.
    pub(super) fn forbids(&self, shard: &Shard, wish: Wish<'_>, now: Instant) -> Option<Step> {
        shard.broker.guards.auth.as_ref()?;
        let mut licence = self.licence().borrow_mut();
        let Some(grants) = &licence.grants else {
            drop(licence);
            self.reply_error(&Error::auth_first(wish.verb()));
            return Some(Step::Close);
        };
        if licence.is_expired(now) {
            return Some(Step::Open(Opening::Authorization { secret: licence.secret.clone() }));
        }
        if let Wish::Publish { topic, .. } = wish
            && licence.published == topic
        {
            return None;
        }
        if !wish.is_granted(grants) {
            drop(licence);
            self.reply_error(&wish.refusal());
            return Some(Step::Close);
        }
        if let Wish::Publish { topic, .. } = wish {
            topic.clone_into(&mut licence.published);
        }
        None
    }

    /// An MPUB whose line is here, its body perhaps not: nsqd asks for authorization before it reads the body, so that
    /// nobody unknown can make it hold one.
    pub(super) fn forbids_batch(&self, shard: &Shard, commands: &[u8], now: Instant) -> Option<Step> {
        shard.broker.guards.auth.as_ref()?;
        if self.needs_tls.get() {
            // That comes first, and the decoder says so.
            return None;
        }
        let params = commands.strip_prefix(b"MPUB ")?;
        let end = params.iter().position(|&byte| matches!(byte, b' ' | b'\r' | b'\n'))?;
        let topic = params.get(..end).filter(|name| is_valid_name(name))?;
        let wish = Wish::Publish { verb: Verb::Mpub, topic: std::str::from_utf8(topic).ok()? };
        self.forbids(shard, wish, now)
    }

    /// Ask the auth server for the bearer of `secret`.
    pub(super) async fn ask_auth_server(&self, shard: &Shard, secret: Vec<u8>) -> Result<(), Over> {
        let is_first = self.licence().borrow().grants.is_none();
        // The client is not heard meanwhile: that is not its silence.
        self.waits_for_room.set(true);
        let answer = self.grants_for(shard, secret.clone()).await;
        self.waits_for_room.set(false);
        self.heard_at.set(self.heard_at.get().max(self.now_at(shard).instant.0));
        let error = match answer {
            Ok(grants) if is_first && grants.count() == 0 => Error::no_authorizations(),
            Ok(grants) => {
                self.outbox.client.authorize(&grants.identity, &grants.identity_url);
                let mut licence = self.licence().borrow_mut();
                licence.answer = is_first.then(|| welcome(&grants));
                licence.take(grants, secret, self.now_at(shard).instant, self.id());
                return Ok(());
            }
            Err(_) => Error::auth_failed(),
        };
        self.reply_error(&error);
        Err(Over)
    }

    fn licence(&self) -> &RefCell<Licence> {
        self.licence.get_or_init(Box::default)
    }

    /// A subscription outlives the grants it was made under only if they are given again.
    pub(crate) fn recheck(self: &Rc<Self>, shard: &Rc<Shard>, now: Instant) {
        if shard.broker.guards.auth.is_none() || self.consumes().is_none() {
            return;
        }
        {
            let mut licence = self.licence().borrow_mut();
            if licence.grants.is_none() || now.0 < licence.rechecks_at {
                return;
            }
            // Not again before this has come to an end.
            licence.rechecks_at = u64::MAX;
        }
        tokio::task::spawn_local(Rc::clone(self).recheck_now(Rc::clone(shard)));
    }

    async fn recheck_now(self: Rc<Self>, shard: Rc<Shard>) {
        let (secret, expired_at) = {
            let licence = self.licence().borrow();
            (licence.secret.clone(), licence.expires_at)
        };
        if self.is_over.get() {
            return;
        }
        // This task holds the session, and with it the socket and its place: it must not outlive the session's end.
        let answer = tokio::select! {
            answer = self.grants_for(&shard, secret.clone()) => answer,
            () = self.ended.notified() => return,
        };
        let now = self.now_at(&shard).instant;
        let Some(consumes) = self.consumes() else { return };
        let wish =
            Wish::Subscribe { topic: consumes.topic.name.as_str(), channel: consumes.channel.name.as_str() };
        match answer {
            Ok(grants) if wish.is_granted(&grants) => {
                self.licence().borrow_mut().take(grants, secret, now, self.id());
            }
            Err(AskError::Unreachable) if now.0 < expired_at.saturating_add(GRACE_NS) => {
                self.licence().borrow_mut().rechecks_at = now.0.saturating_add(spread(AGAIN_NS, self.id()));
            }
            Ok(_) | Err(AskError::Refused | AskError::Unreachable) => {
                tracing::info!(client = %self.outbox.client.peer, "its authorization has ended");
                self.reply_error(&wish.refusal());
                self.close();
            }
        }
    }

    async fn grants_for(&self, shard: &Shard, secret: Vec<u8>) -> Result<Grants, AskError> {
        let peer = self.outbox.client.peer;
        let tls = self.outbox.client.about().tls;
        let who = Applicant {
            secret,
            remote_ip: peer.ip().map_or_else(String::new, |ip| ip.to_string()),
            is_tls: tls.is_some(),
            common_name: tls.and_then(|tls| tls.common_name).unwrap_or_default(),
        };
        let broker = std::sync::Arc::clone(&shard.broker);
        // On the control runtime: a slow auth server must not keep the shard's other sessions waiting.
        let asked = shard.broker.control.spawn(async move {
            match &broker.guards.auth {
                Some(auth) => auth.ask(&who).await,
                None => Err(AskError::Unreachable),
            }
        });
        asked.await.unwrap_or(Err(AskError::Unreachable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_that_came_together_are_asked_for_one_after_the_other() {
        const TTL: u64 = 102_400;
        let mut tenths = [0; 10];
        for id in 1..=1000 {
            let ns = spread(TTL, ConsumerId(id));
            assert!((TTL - TTL / 10..=TTL).contains(&ns), "{id}: {ns}");
            tenths[usize::try_from((TTL - ns) * 10 / (TTL / 10)).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (80..=120).contains(count)), "{tenths:?}");
        assert!(spread(u64::MAX, ConsumerId(1)) >= u64::MAX / 10 * 9);
    }
}
