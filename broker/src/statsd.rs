//! Pushing figures to a statsd daemon over UDP, for as long as the broker runs. What is in the packets is decided in
//! `statsd/lines`.

mod lines;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daemon::dial::resolve;
use tokio::net::UdpSocket;

use crate::broker::Broker;
use crate::stats::{Asked, gather};
pub(crate) use lines::prefix;
use lines::{Pusher, packets};

/// nsqd: packets are spread over all but the last second of an interval.
const QUIET: Duration = Duration::from_secs(1);

/// nsqd: as long.
const RESOLVED_WITHIN: Duration = Duration::from_secs(1);

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
        let pushed = tokio::select! {
            pushed = push(&broker, &mut pusher) => pushed,
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

/// The figures are gathered when there is somewhere to send them: what could not be sent is part of the next push.
async fn push(broker: &Broker, pusher: &mut Pusher) -> std::io::Result<()> {
    let options = &broker.options.statsd;
    // Resolved each time: behind a name there may be another address by now.
    let late = |_| std::io::Error::other("the name was not resolved in time");
    let found = tokio::time::timeout(RESOLVED_WITHIN, resolve(&options.address)).await.map_err(late)??;
    let to = found.first().ok_or_else(|| std::io::Error::other("the name has no address"))?;
    let any: SocketAddr = if to.is_ipv4() { ([0_u8; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    let asked = Asked { with_memory: true, ..Asked::default() };
    let text = pusher.push(&gather(broker, &asked));
    let packets = packets(&text, options.udp_packet_size);
    let span = options.interval.saturating_sub(QUIET);
    let count = u32::try_from(packets.len()).unwrap_or(u32::MAX).max(1);
    let began = tokio::time::Instant::now();
    for (packet, index) in packets.iter().zip(0_u32..) {
        // nsqd: a packet that is lost is lost. Who was away a moment ago is told by the kernel at the next one, and the
        // rest must not be lost with it.
        let _lost = socket.send(packet).await;
        // By the clock: pauses are rounded up to a millisecond, which thousands of packets would add up.
        tokio::time::sleep_until(began + span / count * (index + 1)).await;
    }
    Ok(())
}
