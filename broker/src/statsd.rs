//! Pushing figures to a statsd daemon over UDP, for as long as the broker runs. What is in the packets is decided in
//! `statsd/lines`.

mod lines;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};

use crate::broker::Broker;
use crate::stats::{Asked, gather};
pub(crate) use lines::prefix;
use lines::{Pusher, packets};

/// nsqd: packets are spread over all but the last second of an interval.
const QUIET: Duration = Duration::from_secs(1);

/// Push every interval until the broker stops. `http_port` is the port that others reach us by.
pub(crate) async fn push_for_ever(broker: Arc<Broker>, http_port: u16) {
    let options = &broker.options.statsd;
    let prefix = prefix(&options.prefix, &broker.options.broadcast_address, http_port);
    let mut pusher = Pusher::new(prefix, options.mem_stats, options.exclude_ephemeral);
    let mut every =
        tokio::time::interval_at(tokio::time::Instant::now() + options.interval, options.interval);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_told = false;
    loop {
        tokio::select! {
            _tick = every.tick() => {}
            () = broker.context.shutdown.wait() => return,
        }
        let asked = Asked { with_memory: true, ..Asked::default() };
        let text = pusher.push(&gather(&broker, &asked));
        let packets = packets(&text, options.udp_packet_size);
        let pushed = tokio::select! {
            pushed = send(&options.address, &packets, options.interval) => pushed,
            () = broker.context.shutdown.wait() => return,
        };
        match pushed {
            Ok(()) => is_told = false,
            // One that stays away is told of once.
            Err(error) if !is_told => {
                is_told = true;
                tracing::error!(statsd = options.address, %error, "cannot push figures; trying again every interval");
            }
            Err(_) => {}
        }
    }
}

async fn send(address: &str, packets: &[&[u8]], interval: Duration) -> std::io::Result<()> {
    // Resolved each time: behind a name there may be another address by now.
    let to = lookup_host(address).await?.next();
    let to = to.ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let any: SocketAddr = if to.is_ipv4() { ([0_u8; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    let packet_count = u32::try_from(packets.len()).unwrap_or(u32::MAX).max(1);
    let pause = interval.saturating_sub(QUIET) / packet_count;
    for packet in packets {
        socket.send(packet).await?;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}
