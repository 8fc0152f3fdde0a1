//! Who is let in: encryption, the auth server, and what HTTP asks for. Made from the options before anything is served.

use std::sync::Arc;

use daemon::access::Gate;
use daemon::token::SharedToken;

use crate::auth::{Auth, Remembered};
use crate::encryption::Encryption;
use crate::options::Options;

/// Everything that can refuse a client.
#[derive(Debug)]
pub(crate) struct Guards {
    /// Who must encrypt, and with what.
    pub encryption: Encryption,
    /// Who says what a secret allows; none: everybody may do everything over the wire.
    pub auth: Option<Arc<Auth>>,
    /// What an admin bears.
    pub token: Arc<SharedToken>,
    /// What HTTP asks credentials for.
    pub gate: Gate,
    /// What the control API is asked with, and what it asks for.
    pub control: (Arc<SharedToken>, Arc<Gate>),
    /// What the auth server said of secrets that came over HTTP.
    pub remembered: Remembered,
}

impl Guards {
    /// As the options say.
    ///
    /// # Errors
    /// They contradict each other, or a file they name cannot be used.
    pub(crate) fn load(options: &Options) -> Result<Self, String> {
        let encryption = Encryption::load(&options.tls)?;
        let auth = Auth::from_options(options)?.map(Arc::new);
        let access = &options.access;
        let token = SharedToken::read(&access.admin_token_file)
            .map_err(|why| format!("--admin-token-file: {why}"))?;
        let token = Arc::new(token);
        let gate = Gate::new(Arc::clone(&token), &access.http_auth, &access.debug_routes)?;
        let gate = gate.with_certificates(encryption.verifies_clients()).with_secrets(auth.is_some());
        let path = &options.control.control_token_file;
        let own = SharedToken::read(path).map_err(|why| format!("--control-token-file: {why}"))?;
        let own = Arc::new(own);
        let control = (Arc::clone(&own), Arc::new(Gate::new(own, "all", "none")?));
        Ok(Self { encryption, auth, token, gate, control, remembered: Remembered::default() })
    }
}
