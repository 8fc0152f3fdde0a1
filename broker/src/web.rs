//! Where nsqd's HTTP API is served: plain, encrypted, or both.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use daemon::http::{Listener, serve};
use daemon::listen::ListenError;
use daemon::shutdown::Shutdown;

use crate::encryption::{Encryption, refusing};
use crate::options::Options;

/// The listeners of the HTTP API.
#[derive(Debug)]
pub(crate) struct Web {
    plain: Option<Listener>,
    secure: Option<Listener>,
    is_plain_refused: bool,
}

impl Web {
    /// Listen on what the options name. HTTPS needs certificates.
    pub(crate) async fn bind(options: &Options, encryption: &Encryption) -> Result<Self, ListenError> {
        let plain = match options.http_address.as_str() {
            "" => None,
            address => Some(Listener::bind(address, "http-address").await?),
        };
        let secure = match (&encryption.certificates, options.https_address.as_str()) {
            (None, _) | (_, "") => None,
            (Some(certificates), address) => {
                Some(Listener::bind(address, "https-address").await?.encrypted(Arc::clone(certificates)))
            }
        };
        Ok(Self { plain, secure, is_plain_refused: encryption.is_required_of_http() })
    }

    /// Where plain HTTP is served, unless it is off or a unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.plain.as_ref().and_then(Listener::address)
    }

    /// Serve until shutdown.
    pub(crate) async fn serve(self, router: Router, shutdown: &Shutdown) {
        let https_port = self.secure.as_ref().and_then(Listener::address).map(|address| address.port());
        let plain = async {
            let Some(listener) = self.plain else { return };
            tracing::info!("HTTP: listening on {}", listener.name());
            let router = if self.is_plain_refused { refusing(https_port) } else { router.clone() };
            let _ended = serve(listener, router, shutdown.clone()).await;
        };
        let secure = async {
            let Some(listener) = self.secure else { return };
            tracing::info!("HTTPS: listening on {}", listener.name());
            let _ended = serve(listener, router.clone(), shutdown.clone()).await;
        };
        tokio::join!(plain, secure, shutdown.wait());
    }
}
