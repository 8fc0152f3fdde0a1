//! IDENTIFY: what the client says of itself and asks for, and what it is granted. TLS, compression and
//! AUTH are not offered yet, and the answer says so.

use std::rc::Rc;

use protocol::{Granted, Heartbeat, Identify, OK, encode_response};

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
        match serde_json::to_vec(&granted(shard, &asked)) {
            Ok(answer) => {
                self.reply(|out| encode_response(out, &answer));
                Step::Next
            }
            Err(error) => {
                tracing::error!(%error, "cannot write the answer to IDENTIFY");
                Step::Close
            }
        }
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

fn granted(shard: &Shard, asked: &Identify) -> Granted {
    let options = &shard.broker.options;
    Granted {
        max_rdy_count: options.max_rdy_count,
        version: daemon::version::VERSION.to_owned(),
        max_msg_timeout_ms: millis(options.max_msg_timeout).into(),
        msg_timeout_ms: millis(asked.msg_timeout.unwrap_or(options.msg_timeout)).into(),
        tls_v1: false,
        deflate: false,
        // nsqd: the default level, as long as deflate is not on.
        deflate_level: options.max_deflate_level.min(DEFLATE_LEVEL),
        max_deflate_level: options.max_deflate_level,
        snappy: false,
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
