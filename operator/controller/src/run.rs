//! `nsq-operator run`: watches, leads if it can, and looks at one cluster after the other, several at once. It ends when
//! it is told to, or when it may not lead any more: then nothing is written from that moment on.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daemon::reload::Reload;
use daemon::shutdown::Shutdown;
use daemon::{signals, telemetry};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use operator::children::Images;
use operator::plan::ClusterId;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};

use crate::agenda::{Agenda, Outcome};
use crate::apply::{Applier, MANAGER};
use crate::context::Context;
use crate::leader::Campaign;
use crate::metrics::Metrics;
use crate::secret::Tokens;
use crate::watches::{Watches, Wish};
use crate::{chance, http, look, traced};

/// How long what is under way has to end when the operator is told to stop.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// How the operator runs.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Watch only this namespace; may be given several times. Without it: every namespace, for which a ClusterRole is
    /// needed.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// The namespace that the operator itself runs in, where its Lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// The name of the operator's pod: it says who leads.
    #[arg(long, env = "POD_NAME", default_value = "nsq-operator")]
    pub pod_name: String,
    /// The name of the Lease by which one of several operators leads.
    #[arg(long, default_value = "nsq-operator")]
    pub lease_name: String,
    /// Lead without a Lease, where there is never more than one operator.
    #[arg(long)]
    pub no_leader_election: bool,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub http_address: String,
    /// The image of nsqd for clusters that name none.
    #[arg(long, env = "BROKER_IMAGE", default_value = concat!("nsqube/nsqd:", env!("CARGO_PKG_VERSION")))]
    pub broker_image: String,
    /// The image of nsqlookupd for clusters that name none.
    #[arg(long, env = "LOOKUPD_IMAGE", default_value = concat!("nsqube/nsqlookupd:", env!("CARGO_PKG_VERSION")))]
    pub lookupd_image: String,
    /// How many clusters are looked at at once.
    #[arg(long, default_value_t = 8)]
    pub concurrency: usize,
    /// A collector of OpenTelemetry that takes traces over HTTP, like http://collector:4318. Without it nothing is traced.
    #[arg(long, env = "OTEL_ENDPOINT", default_value = "")]
    pub otel_endpoint: String,
    /// Of what no annotation nsqube.io/traceparent puts into a trace, the share that is traced, 0 to 1.
    #[arg(long, env = "OTEL_SAMPLING_RATIO", default_value_t = 0.01)]
    pub otel_sampling_ratio: f64,
    /// debug, info, warn, error or fatal.
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// json, logfmt or text.
    #[arg(long, default_value = "json")]
    pub log_format: String,
}

/// Runs until it is told to stop.
///
/// # Errors
/// It cannot begin, or may not lead any more.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init("nsq-operator", &settings.log_level, telemetry::Format::from_name(&settings.log_format))?;
    let (tracer, exporter) = traced::tracer(&settings)?;
    let shutdown = Shutdown::new();
    signals::listen(&shutdown, &Reload::new())?;
    let client = Client::try_default().await.map_err(|error| {
        anyhow::anyhow!(
            "no Kubernetes to talk to: {error}. Run it in a pod with a ServiceAccount, or set KUBECONFIG"
        )
    })?;
    let (wishes, wished) = unbounded_channel();
    let watches = Watches::new(client.clone(), settings.watch_namespace.clone(), wishes.clone());
    let waiting = watches.complete();
    let (world, tasks) = watches.begin().await;
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(settings.pod_name.clone()) };
    let context = Arc::new(Context {
        client: client.clone(),
        world,
        applier: Applier::new(client.clone()),
        tokens: Tokens::new(client.clone()),
        recorder: Recorder::new(client.clone(), reporter),
        images: Images { broker: settings.broker_image.clone(), lookupd: settings.lookupd_image.clone() },
        operator_namespace: own_namespace(&settings),
        metrics: Metrics::default(),
        tracer,
        wishes,
        memory: Mutex::new(HashMap::new()),
    });
    let (leads, leading) = watch::channel(settings.no_leader_election);
    let probes = http::Probes {
        context: Arc::clone(&context),
        waiting: Arc::clone(&waiting),
        leading: leading.clone(),
    };
    let http = http::begin(&settings.http_address, probes, shutdown.clone()).await?;
    let finished = Shutdown::new();
    let exported = exporter.map(|exporter| tokio::spawn(exporter.run(finished.clone())));
    let lost = campaign(&settings, client, leads, finished.clone());
    let mut work = Work {
        context,
        wished,
        agenda: Agenda::new(),
        looks: JoinSet::new(),
        keys: HashMap::new(),
        began: Instant::now(),
        concurrency: settings.concurrency.max(1),
        leading,
        is_listed: Box::new(move || waiting.load(Ordering::Acquire) == 0),
    };
    tracing::info!(version = crate::VERSION, namespaces = ?settings.watch_namespace, "watches");
    let ended = tokio::select! {
        () = work.until(&shutdown) => Ok(()),
        lost = lost => lost,
    };
    match &ended {
        Ok(()) => work.finish().await,
        // Another one leads, or may: whatever is under way must not write any more.
        Err(_) => work.looks.shutdown().await,
    }
    finished.trigger();
    shutdown.trigger();
    drop(tasks);
    let _stopped = tokio::time::timeout(FINISH_WITHIN, http).await;
    if let Some(exported) = exported {
        let _sent = exported.await;
    }
    tracing::info!("stopped");
    ended
}

/// Empty outside of Kubernetes, where no pod's address tells who asks.
fn own_namespace(settings: &Settings) -> String {
    let is_inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if is_inside { settings.namespace.clone() } else { String::new() }
}

/// Ends when this process may not lead any more, with an error; never, where it leads without a Lease.
async fn campaign(
    settings: &Settings,
    client: Client,
    leads: watch::Sender<bool>,
    finished: Shutdown,
) -> anyhow::Result<()> {
    if settings.no_leader_election {
        finished.wait().await;
        drop(leads);
        return Ok(());
    }
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    // Another process of the same pod is another candidate.
    let me = format!("{}_{:012x}", settings.pod_name, (chance() * (1u64 << 48) as f64) as u64);
    let campaign = Campaign { api, name: settings.lease_name.clone(), me, leads, finished };
    Ok(campaign.run().await?)
}

/// The looks that are due and under way.
struct Work {
    context: Arc<Context>,
    wished: UnboundedReceiver<Wish>,
    agenda: Agenda<ClusterId>,
    looks: JoinSet<Outcome>,
    /// What each of them looks at.
    keys: HashMap<task::Id, ClusterId>,
    began: Instant,
    concurrency: usize,
    leading: watch::Receiver<bool>,
    /// Whether every kind was listed: before that, what is not seen may be there.
    is_listed: Box<dyn Fn() -> bool + Send>,
}

impl Work {
    async fn until(&mut self, shutdown: &Shutdown) {
        loop {
            self.begin_looks();
            let next = self.agenda.next().filter(|_| self.may_look());
            let pause = next.map_or(Duration::from_millis(500), |at| at.saturating_sub(self.began.elapsed()));
            tokio::select! {
                () = shutdown.wait() => return,
                Some(wish) = self.wished.recv() => self.note(wish),
                Some(done) = self.looks.join_next_with_id() => self.end(done),
                () = tokio::time::sleep(pause) => {}
                _ = self.leading.changed() => {}
            }
        }
    }

    fn may_look(&self) -> bool {
        *self.leading.borrow() && (self.is_listed)()
    }

    fn note(&mut self, wish: Wish) {
        let now = self.began.elapsed();
        match wish.is_wanted {
            true => self.agenda.urge(wish.key, now),
            false => self.agenda.ask(wish.key, now),
        }
    }

    fn begin_looks(&mut self) {
        let leads = *self.leading.borrow();
        self.context.metrics.state().leads = leads;
        while self.may_look() && self.agenda.under_way() < self.concurrency {
            let Some(key) = self.agenda.begin(self.began.elapsed()) else { break };
            let context = Arc::clone(&self.context);
            let own = key.clone();
            let look = self.looks.spawn(async move { looked(&context, &own).await });
            self.keys.insert(look.id(), key);
        }
        self.context.metrics.state().under_way = self.agenda.under_way();
    }

    fn end(&mut self, done: Result<(task::Id, Outcome), task::JoinError>) {
        let (look, outcome) = match done {
            Ok(done) => done,
            // It panicked, as the log has it: its cluster is not forgotten for that.
            Err(error) => (error.id(), Outcome::Failed),
        };
        let Some(key) = self.keys.remove(&look) else { return };
        self.agenda.end(key, self.began.elapsed(), outcome, chance());
    }

    /// What is under way ends; what does not end in time is dropped.
    async fn finish(&mut self) {
        let ended = async { while self.looks.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH_WITHIN, ended).await.is_err() {
            tracing::warn!(looks = self.looks.len(), "what was under way is dropped");
            self.looks.shutdown().await;
        }
    }
}

async fn looked(context: &Context, key: &ClusterId) -> Outcome {
    let began = Instant::now();
    let (how, outcome) = match look::look(context, key).await {
        Ok(Outcome::Failed) => ("failed", Outcome::Failed),
        Ok(outcome) => ("ok", outcome),
        Err(error) => {
            tracing::warn!(cluster = %key, error, "a look failed; it is tried again");
            ("failed", Outcome::Failed)
        }
    };
    context.metrics.looked(how, began.elapsed());
    outcome
}
