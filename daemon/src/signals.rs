//! What a daemon does at a signal: SIGTERM and SIGINT stop it, a second one ends it at once, SIGHUP has files read
//! again.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::reload::Reload;
use crate::shutdown::Shutdown;

/// SIGTERM and SIGINT trigger `shutdown`, SIGHUP triggers `reload`. A SIGTERM or SIGINT that comes more than a second
/// after the first ends the process with 1, whatever it is still doing.
///
/// # Errors
/// The operating system refused to install a signal's action. Must be called inside a tokio runtime.
pub fn listen(shutdown: &Shutdown, reload: &Reload) -> io::Result<()> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        // nsqd: SIGHUP is left to its default action, so a closed terminal loses every message held in memory.
        hangup: signal(SignalKind::hangup())?,
    };
    let (shutdown, reload) = (shutdown.clone(), reload.clone());
    tokio::spawn(async move {
        while let Asked::Reload = signals.next().await {
            reload.trigger();
        }
        tracing::info!("asked to stop");
        shutdown.trigger();
        let since = Instant::now();
        loop {
            if let Asked::Stop = signals.next().await
                && since.elapsed() > TWICE_AT_ONCE
            {
                crate::telemetry::fatal("asked to stop a second time: what is in memory is not written down");
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

/// timeout(1) and some shells send a signal to a process and then to its group: that is one request.
const TWICE_AT_ONCE: Duration = Duration::from_secs(1);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Asked {
    Stop,
    Reload,
}

impl Signals {
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}
