//! The command line, and what of it becomes tokio-nsq's configuration.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_nsq::{NSQConfigShared, NSQConfigSharedCompression, NSQConfigSharedTLS, NSQDeflateLevel};

/// Where the daemons are, and what a connection negotiates beyond the plain protocol.
#[derive(Default)]
pub struct Flags {
    /// HTTP address of nsqlookupd.
    pub lookupd: String,
    /// TCP addresses of the nsqds.
    pub nsqds: Vec<String>,
    tls: bool,
    ca: Option<String>,
    snappy: bool,
    deflate: bool,
    secret: Option<String>,
}

impl Flags {
    /// The flags and the scenarios behind them.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<(Self, Vec<String>)> {
        let mut flags = Self::default();
        let mut scenarios = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} takes a value"));
            match word.as_str() {
                "--lookupd" => flags.lookupd = value()?,
                "--nsqd" => flags.nsqds.push(value()?),
                // Others ask the nsqds over HTTP; tokio-nsq has nothing that does.
                "--nsqd-http" => drop(value()?),
                "--tls" => flags.tls = true,
                "--ca" => flags.ca = Some(value()?),
                "--snappy" => flags.snappy = true,
                "--deflate" => flags.deflate = true,
                "--auth-secret" => flags.secret = Some(value()?),
                unknown if unknown.starts_with('-') => bail!("unknown flag {unknown}"),
                _ => scenarios.push(word),
            }
        }
        Ok((flags, scenarios))
    }

    /// What producers and consumers share.
    pub fn shared(&self) -> Result<NSQConfigShared> {
        // What is queued is written every so often, and the default of 250 ms would be most of a scenario's time.
        let mut shared = NSQConfigShared::new().set_flush_interval(Duration::from_millis(10));
        if self.tls {
            shared = shared.set_tls(self.tls()?);
        }
        if self.snappy {
            shared = shared.set_compression(NSQConfigSharedCompression::Snappy);
        }
        if self.deflate {
            let level = NSQDeflateLevel::new(6).context("6 is a level of deflate")?;
            shared = shared.set_compression(NSQConfigSharedCompression::Deflate(level));
        }
        if let Some(secret) = &self.secret {
            shared = shared.set_credentials(secret.clone().into_bytes());
        }
        Ok(shared)
    }

    fn tls(&self) -> Result<NSQConfigSharedTLS> {
        let mut config = rustls::ClientConfig::new();
        let path = self.ca.as_ref().context("--tls needs --ca FILE")?;
        let mut file = BufReader::new(File::open(path).with_context(|| format!("cannot open {path}"))?);
        if config.root_store.add_pem_file(&mut file) != Ok((1, 0)) {
            bail!("{path} does not hold one certificate");
        }
        // A name: this rustls cannot check a certificate against an IP address.
        Ok(NSQConfigSharedTLS::new("localhost").set_client_config(Arc::new(config)))
    }
}
