//! What every look at a cluster uses, and what is remembered between two looks. Nothing that is remembered here is
//! needed for a right decision: an operator that begins anew asks and writes a little more, and decides the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::traces::Tracer;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use operator::children::Images;
use operator::children::declared::Before;
use operator::plan::ClusterId;
use protocol::control::DeclaredTopic;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::apply::Applier;
use crate::metrics::Metrics;
use crate::secret::Tokens;
use crate::watches::{Wish, World};

/// What every look at a cluster uses.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What it has.
    pub world: World,
    /// Writes children.
    pub applier: Applier,
    /// Tokens of control ports.
    pub tokens: Tokens,
    /// Writes Events.
    pub recorder: Recorder,
    /// The images of clusters that name none.
    pub images: Images,
    /// Where the operator runs; empty outside of Kubernetes.
    pub operator_namespace: String,
    /// Figures.
    pub metrics: Metrics,
    /// Begins spans.
    pub tracer: Tracer,
    /// Looks that follow from another one.
    pub wishes: UnboundedSender<Wish>,
    /// By cluster.
    pub memory: Mutex<HashMap<ClusterId, Memory>>,
}

/// What is remembered of a cluster.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    /// The topology that was written last.
    pub topology: Before,
    /// The topics that each broker, by the name of its pod, has confirmed. A pod that restarts reads them from its
    /// volume or from the ConfigMap before it serves, so that this stays true.
    pub confirmed: HashMap<String, Arc<Vec<DeclaredTopic>>>,
    /// A PodMonitor that is wanted no longer was looked for.
    pub monitor_is_gone: bool,
    /// The status that was written last.
    pub status: Option<Value>,
}

impl Context {
    /// What is remembered of `id`.
    pub fn remembered(&self, id: &ClusterId) -> Memory {
        self.memory().get(id).cloned().unwrap_or_default()
    }

    /// Remembers something of `id`.
    pub fn remember(&self, id: &ClusterId, change: impl FnOnce(&mut Memory)) {
        change(self.memory().entry(id.clone()).or_default());
    }

    /// All of it.
    pub fn memory(&self) -> MutexGuard<'_, HashMap<ClusterId, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells people who look at `about`. An Event that cannot be written is no reason to stop.
    pub async fn event(
        &self,
        about: &impl kube::Resource<DynamicType = ()>,
        is_good: bool,
        reason: &str,
        note: &str,
    ) {
        let type_ = if is_good { EventType::Normal } else { EventType::Warning };
        // The API server refuses more than 1 kB.
        let note = Some(note.chars().take(500).collect());
        let event =
            Event { type_, reason: reason.to_owned(), note, action: "Reconcile".to_owned(), secondary: None };
        if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::debug!(reason, error = crate::told(&error), "cannot write an event");
        }
    }
}
