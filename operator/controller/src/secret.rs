//! The token by which brokers know the operator: made once for each cluster, read at each look.
//! The operator may read and create Secrets by name; it can neither list nor watch them.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};
use operator::children::{self, names};
use operator::plan::ClusterId;
use operator::resources::NsqCluster;
use serde_json::json;

/// The tokens of all clusters, as they were read last.
pub struct Tokens {
    client: Client,
    known: Mutex<HashMap<ClusterId, String>>,
}

impl Tokens {
    /// None is known.
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// The token of a cluster; made if `may_make` and there is none.
    ///
    /// # Errors
    /// The API server refused it, or the Secret that is there has no token.
    pub async fn of(
        &self,
        id: &ClusterId,
        cluster: &NsqCluster,
        may_make: bool,
    ) -> Result<Option<String>, String> {
        let known = self.locked().get(id).cloned();
        let told =
            |error: kube::Error| format!("Secret {}: {}", names::control(&id.name), crate::told(&error));
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &id.namespace);
        let found = api.get_opt(&names::control(&id.name)).await.map_err(told)?;
        let secret = match found {
            Some(found) => found,
            None if !may_make => return Ok(None),
            // One that was deleted comes back as it was: brokers that run still take that token.
            None => match api.create(&PostParams::default(), &made(cluster, known)?).await {
                Ok(made) => made,
                // Another one was quicker: the next look reads it.
                Err(kube::Error::Api(status)) if status.code == 409 => return Ok(None),
                Err(error) => return Err(told(error)),
            },
        };
        let token = token(&secret).ok_or_else(|| {
            let name = secret.name_any();
            format!("Secret {name} has no key {:?}: delete it, and it is made anew", names::TOKEN_KEY)
        })?;
        self.locked().insert(id.clone(), token.clone());
        Ok(Some(token))
    }

    /// Forgets a token that brokers refuse, or whose cluster is gone.
    pub fn forget(&self, id: &ClusterId) {
        self.locked().remove(id);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<ClusterId, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token(secret: &Secret) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(names::TOKEN_KEY)?.0;
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn made(cluster: &NsqCluster, known: Option<String>) -> Result<Secret, String> {
    let token = match known {
        Some(known) => known,
        None => random().map_err(|error| format!("no randomness for a token: {error}"))?,
    };
    let object = json!({
        "metadata": {
            "name": names::control(&cluster.name_any()),
            "labels": children::labels(cluster, "broker"),
            "ownerReferences": [children::owner(cluster)],
        },
        "type": "Opaque",
        "stringData": { names::TOKEN_KEY: token },
    });
    serde_json::from_value(object).map_err(|error| error.to_string())
}

/// 256 bits that nobody can guess.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
