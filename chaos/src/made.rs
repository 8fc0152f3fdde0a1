//! kill -9 right behind the answer to a request that made a channel: what people did is synced before they are told so.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::chance::Chance;
use crate::diary::Clock;
use crate::fault::{Fault, Kill, Struck};
use crate::http;
use crate::load::TOPICS;
use crate::nsqd::Nsqd;

/// No channel of the load is called so.
const CHANNEL: &str = "promised";

/// kill -9 behind a channel's making.
#[derive(Debug, Default)]
pub struct Made {
    topic: &'static str,
}

impl Fault for Made {
    fn name(&self) -> &'static str {
        "made"
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, chance: &mut Chance) -> Result<Struck> {
        let index = usize::try_from(chance.between(0, TOPICS.len() as u64))?;
        self.topic = TOPICS.get(index).copied().unwrap_or_default();
        http::post(nsqd.http(), &format!("/channel/create?topic={}&channel={CHANNEL}", self.topic))?;
        Kill.strike(nsqd, clock, chance)
    }

    fn after(&mut self, nsqd: &mut Nsqd) -> Result<()> {
        if !is_there(nsqd.http(), self.topic)? {
            bail!("channel {CHANNEL} of {} was made, which nsqd confirmed, and a kill undid it", self.topic);
        }
        // The round ends with the channels it began with.
        http::post(nsqd.http(), &format!("/channel/delete?topic={}&channel={CHANNEL}", self.topic))
    }
}

fn is_there(address: SocketAddr, topic: &str) -> Result<bool> {
    let stats = http::get_json(address, &format!("/stats?format=json&topic={topic}&channel={CHANNEL}"))?;
    let channels = stats.pointer("/topics/0/channels").and_then(|channels| channels.as_array());
    Ok(channels.is_some_and(|channels| !channels.is_empty()))
}
