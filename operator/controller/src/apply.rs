//! Writing objects: by server-side apply, one field manager per concern, and only what is not there already. What was
//! applied is remembered beside the version it had then, so that a cluster at rest costs no request, and an object that
//! somebody else changed is set right.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use operator::children::template::digest;
use operator::children::{Child, ChildKind};
use operator::plan::ClusterId;
use serde_json::Value;

use crate::watches::Present;

/// The field manager of children.
pub const MANAGER: &str = "nsq-operator";
/// The field manager of status.
pub const STATUS_MANAGER: &str = "nsq-operator/status";

/// Writes children and remembers them.
pub struct Applier {
    client: Client,
    done: Mutex<HashMap<Name, Done>>,
}

type Name = (String, ChildKind, String);

/// What was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    digest: String,
    version: String,
}

impl Applier {
    /// Nothing is remembered: everything is applied once, which writes nothing where nothing differs.
    pub fn new(client: Client) -> Self {
        Self { client, done: Mutex::default() }
    }

    /// Has `child` be there as it is, if it is not. `present` is what the watch shows of it. Whether a request was made.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn apply(
        &self,
        id: &ClusterId,
        child: &Child,
        present: Option<&Present>,
    ) -> kube::Result<bool> {
        let name = (id.namespace.clone(), child.kind, child.name.clone());
        let digest = digest(&child.object);
        // One that is not watched is applied once by each operator, and when it changes.
        let is_unwatched = child.kind == ChildKind::PodMonitor;
        if is_unwatched && self.locked().get(&name).is_some_and(|done| done.digest == digest) {
            return Ok(false);
        }
        let known = present.is_some_and(|present| {
            let done = Done { digest: digest.clone(), version: present.version.clone() };
            self.locked().get(&name) == Some(&done)
        });
        if known {
            return Ok(false);
        }
        let api = self.api(child.kind, &id.namespace);
        let params = PatchParams::apply(MANAGER).force();
        let written = api.patch(&child.name, &params, &Patch::Apply(&child.object)).await?;
        let generation = written.metadata.generation.map(|generation| generation.to_string());
        let version = generation.or(written.metadata.resource_version).unwrap_or_default();
        self.locked().insert(name, Done { digest, version });
        Ok(true)
    }

    /// Deletes a child that is wanted no longer; exactly that one, and not another of its name.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn delete(&self, id: &ClusterId, child: &Present) -> kube::Result<()> {
        let uid = Some(child.uid.clone());
        let preconditions = Some(Preconditions { uid, resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        let deleted = self.api(child.kind, &id.namespace).delete(&child.name, &params).await;
        self.locked().remove(&(id.namespace.clone(), child.kind, child.name.clone()));
        gone(deleted.map(drop))
    }

    /// Deletes the PodMonitor of a cluster, if there is one and it is the cluster's own.
    ///
    /// # Errors
    /// The API server refused it.
    pub async fn delete_monitor(&self, id: &ClusterId, cluster_uid: &str) -> kube::Result<()> {
        let api = self.api(ChildKind::PodMonitor, &id.namespace);
        let found = match api.get(&id.name).await {
            Ok(found) => found,
            // Also where the kind itself is not known.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut owners = found.metadata.owner_references.iter().flatten();
        if !owners.any(|owner| owner.uid == cluster_uid) {
            return Ok(());
        }
        let name = (id.namespace.clone(), ChildKind::PodMonitor, id.name.clone());
        self.locked().remove(&name);
        gone(api.delete(&id.name, &DeleteParams::background()).await.map(drop))
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, id: &ClusterId, names: impl Fn(&str) -> bool) {
        self.locked().retain(|(namespace, _, name), _| *namespace != id.namespace || !names(name));
    }

    fn api(&self, kind: ChildKind, namespace: &str) -> Api<DynamicObject> {
        let (api_version, kind, plural) = kind.api();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Done>> {
        // A map of texts is whole whatever panicked beside it.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was to be deleted and is not there, or is another one by now, is gone.
pub fn gone(deleted: kube::Result<()>) -> kube::Result<()> {
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        other => other,
    }
}

/// A status to be applied: what stands in `status` and nothing else belongs to its manager.
pub fn status_patch(api_version: &str, kind: &str, status: &Value) -> Value {
    serde_json::json!({ "apiVersion": api_version, "kind": kind, "status": status })
}
