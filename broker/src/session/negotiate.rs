//! IDENTIFY: what the client says of itself and asks for, and what it is granted. Doing it is in `upgrade.rs`.

use std::rc::Rc;

use protocol::{Error, Granted, Heartbeat, Identify, OK, encode_response};

use super::upgrade::{Compression, Upgrade};
use super::{Session, Step, nanos};
use crate::shard::Shard;

/// nsqd's default. Told to clients; messages are sent at once whatever they ask for.
const OUTPUT_BUFFER_BYTES: u32 = 16 * 1024;

/// nsqd's default level.
const DEFLATE_LEVEL: u8 = 6;

impl Session {
    pub(super) fn identify(self: &Rc<Self>, shard: &Shard, body: &[u8]) -> Step {
        let options = &shard.broker.options;
        let asked = match Identify::parse(body, &options.identify_limits()) {
            Ok(asked) => asked,
            Err(error) => {
                self.reply_error(&error);
                return Step::Close;
            }
        };
        self.outbox.client.identify(&asked);
        self.set_heartbeat(shard, &asked);
        if !asked.feature_negotiation {
            self.reply(|out| encode_response(out, OK));
            return Step::Next;
        }
        let upgrade = match self.upgrade_for(shard, &asked) {
            Ok(upgrade) => upgrade,
            Err(error) => {
                self.reply_error(&error);
                return Step::Close;
            }
        };
        match serde_json::to_vec(&granted(shard, &asked, &upgrade)) {
            Ok(answer) => {
                self.reply(|out| encode_response(out, &answer));
                if upgrade.is_empty() { Step::Next } else { Step::Upgrade(upgrade) }
            }
            Err(error) => {
                tracing::error!(%error, "cannot write the answer to IDENTIFY");
                Step::Close
            }
        }
    }

    /// What of TLS and compression is both asked for and offered. A connection that has layers gets no more of them.
    // nsqd: puts them on a second time, which no client understands.
    fn upgrade_for(&self, shard: &Shard, asked: &Identify) -> Result<Upgrade, Error> {
        let options = &shard.broker.options;
        if self.layers.borrow().is_some() {
            return Ok(Upgrade { tls: None, compression: None });
        }
        let certificates = shard.broker.guards.encryption.certificates.as_ref();
        let tls = certificates.filter(|_| asked.tls_v1).map(|certificates| certificates.server_config());
        let compression = match (asked.snappy && options.is_snappy_on, asked.deflate && options.is_deflate_on)
        {
            (true, true) => return Err(Error::both_compressions()),
            (true, false) => Some(Compression::Snappy),
            (false, true) => Some(Compression::Deflate(asked.deflate_level)),
            (false, false) => None,
        };
        Ok(Upgrade { tls, compression })
    }

    fn set_heartbeat(&self, shard: &Shard, asked: &Identify) {
        let interval = match asked.heartbeat {
            Heartbeat::Off => None,
            Heartbeat::Default => Some(shard.broker.options.client_timeout / 2),
            Heartbeat::Every(interval) => Some(interval),
        };
        self.state.borrow_mut().heartbeat = interval;
        if let Some(interval) = interval {
            self.heartbeat_at.set(self.now_at(shard).instant.0 + nanos(interval));
        }
    }
}

fn granted(shard: &Shard, asked: &Identify, upgrade: &Upgrade) -> Granted {
    let options = &shard.broker.options;
    Granted {
        max_rdy_count: options.max_rdy_count,
        version: daemon::version::VERSION.to_owned(),
        max_msg_timeout_ms: millis(options.max_msg_timeout).into(),
        msg_timeout_ms: millis(asked.msg_timeout.unwrap_or(options.msg_timeout)).into(),
        tls_v1: upgrade.tls.is_some(),
        deflate: matches!(upgrade.compression, Some(Compression::Deflate(_))),
        // nsqd: the default level, as long as deflate is not on.
        deflate_level: match upgrade.compression {
            Some(Compression::Deflate(level)) => level,
            _ => options.max_deflate_level.min(DEFLATE_LEVEL),
        },
        max_deflate_level: options.max_deflate_level,
        snappy: upgrade.compression == Some(Compression::Snappy),
        sample_rate: asked.sample_rate,
        auth_required: shard.broker.guards.auth.is_some(),
        output_buffer_size: asked.output_buffer_size.bytes(OUTPUT_BUFFER_BYTES),
        output_buffer_timeout: millis(asked.output_buffer_timeout.duration(options.output_buffer_timeout)),
        topology_region: options.topology_region.clone(),
        topology_zone: options.topology_zone.clone(),
    }
}

fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
