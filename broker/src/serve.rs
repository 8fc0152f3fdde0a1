//! From options to a running nsqd and back to nothing: lock the data, recover it, listen, serve until told
//! to stop, write down what is left.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use daemon::listen::ListenError;
use daemon::options::{Program, Sources, Values};
use daemon::reload::Reload;
use daemon::shutdown::Shutdown;
use daemon::{signals, start};
use protocol::lookup::{PeerInfo, Secret};
use rustix::process::{Resource, getrlimit, setrlimit};
use storage::DataDir;
use storage::DirLock;
use storage::LogOptions;
use storage::StorageError;
use storage::{Disk, RealDisk, WholeDisk};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::broker::Broker;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::context::{Context, Health, Rules};
use crate::control::{self, Endpoint};
use crate::fence::Fence;
use crate::figures::Figures;
use crate::guards::Guards;
use crate::http::{Addresses, router};
use crate::memory::Memory;
use crate::options::{Options, TABLE};
use crate::record::{Node, RECORD_OVERHEAD};
use crate::shard::ShardHandle;
use crate::socket::Listener;
use crate::space::Space;
use crate::stock::StockError;
use crate::timers::Timers;
use crate::topic::Topic;
use crate::traces::Traces;
use crate::web::Web;
use crate::{backlog, journals, listener, lookup, memory, options, reclaim, space, statsd, stock, sync};

/// What `--help` begins with.
const ABOUT: &str = "nsqd receives, queues and delivers messages: NSQ's daemon, with every message on disk before it is acknowledged.\n\n\
    `nsqd import` takes over the folder of a stock nsqd without serving (--dry-run: only tells), `nsqd export` writes one \
    for the way back; both explain themselves with --help";

const PROGRAM: Program = Program { binary: "nsqd", about: ABOUT, table: TABLE };

/// Threads for HTTP, other daemons and files; clients are served by the shards.
const CONTROL_THREADS: usize = 2;

/// Threads that wait for disks. Syncs of different files go on side by side: 16 brought the most, 36 times one's rate.
const BLOCKING_THREADS: usize = 16;

/// Why nsqd could not start, or stopped by itself.
#[derive(Debug)]
pub(crate) enum ServeError {
    /// The data cannot be used.
    Storage(StorageError),
    /// An address cannot be listened on.
    Listen(ListenError),
    /// Threads or the event loop could not be had.
    Start(io::Error),
    /// Something failed while running.
    Failed(String),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Listen(error) => error.fmt(f),
            Self::Start(error) => write!(f, "cannot start a thread: {error}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<ListenError> for ServeError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

impl From<StockError> for ServeError {
    fn from(error: StockError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StorageError> for ServeError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// nsqd with a command line, `args[0]` being its own name; returns when it has stopped.
pub fn main_with_args(args: Vec<String>) -> ExitCode {
    if let Some(code) = stock::run(args.get(1..).unwrap_or_default()) {
        return code;
    }
    let sources = Sources::of_process(&PROGRAM, args.into_iter().skip(1));
    let (values, options) = match start::start(&sources, Options::from_values, options::problems_around) {
        Ok(started) => started,
        Err(code) => return code,
    };
    let outcome = Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(ServeError::Start)
        .and_then(|runtime| runtime.block_on(run(sources, values, options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            daemon::telemetry::fatal(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(sources: Sources, values: Values, options: Options) -> Result<(), ServeError> {
    let (shutdown, reload) = (Shutdown::new(), Reload::new());
    signals::listen(&shutdown, &reload).map_err(ServeError::Start)?;
    tokio::spawn(start::follow(sources, values, reload.subscribe()));
    serve(options, shutdown, &reload).await
}

/// Run a broker until `shutdown` is triggered. An error: it could not start, and nothing was changed; or it failed
/// while running.
async fn serve(options: Options, shutdown: Shutdown, reload: &Reload) -> Result<(), ServeError> {
    tracing::info!("{}", daemon::version::version_line("nsqd"));
    raise_file_limit();
    let guards = Guards::load(&options).map_err(ServeError::Failed)?;
    tracing::info!("{}", guards.gate.summary());
    let path = Path::new(&options.data_path).to_owned();
    if !path.is_dir() {
        // nsqd: made by nobody, so that a volume that is not mounted does not look like an empty broker.
        let why = "there is no such folder; create it, or check that its volume is mounted";
        return Err(ServeError::Failed(format!("--data-path={}: {why}", path.display())));
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    // Before anything is written: of an earlier error it would not be told.
    let whole = disk.whole(&path);
    let _lock = DirLock::acquire(&path)?;
    stock::import_at_start(&disk, &path, &options, &shutdown)?;
    let dir = DataDir::open_as(Arc::clone(&disk), &path, options.identity.as_deref())?;
    let tcp = Listener::bind(&options.tcp_address).await?;
    let web = Web::bind(&options, &guards.encryption).await?;
    let endpoint = Endpoint::bind(&options, &guards).await?;
    let addresses = Addresses { tcp: tcp.address().map_err(ServeError::Start)?, http: web.address() };
    // Probes are answered while what is on disk is read; everything else waits for it.
    let (gate, routes) = daemon::http::gate();
    let stop_serving = shutdown.clone();
    let served = tokio::spawn(async move { web.serve(routes, &stop_serving).await });
    let (traces, exporter) = Traces::new(&options).map_err(ServeError::Failed)?;
    let farewell = Shutdown::new();
    let exported = exporter.map(|exporter| tokio::spawn(exporter.run(farewell.clone())));
    let (context, work) = context(&options, &shutdown, traces);
    let min_free = options.min_free;
    // Before the first publish can come.
    space::look(&context, &*disk, &path, min_free);
    let room = (Arc::clone(&context), Arc::clone(&disk));
    let broker = Broker::open(options, guards, Arc::clone(&context), Handle::current(), disk, dir)?;
    work.start(&context, whole);
    watch("disk space", shutdown.clone(), space::watch_for_ever(room.0, room.1, path, min_free));
    watch("space keeper", shutdown.clone(), reclaim::reclaim_for_ever(Arc::clone(&broker)));
    watch("memory", shutdown.clone(), memory::watch_for_ever(Arc::clone(&broker)));
    follow_files(&broker, &shutdown, reload);
    broker.redeliver();
    // Before anything is served, and before lookupds hear of this broker.
    control::begin(&broker).await;
    watch("topology", shutdown.clone(), control::follow(Arc::clone(&broker)));
    let (shards, threads) = start_shards(&broker).map_err(ServeError::Start)?;
    // Before the line that tells scripts to go on.
    gate.open(router(Arc::clone(&broker), addresses));
    tracing::info!("TCP: listening on {}", tcp.name().map_err(ServeError::Start)?);
    tokio::spawn(listener::accept(Arc::clone(&broker), tcp, shards));
    tokio::spawn(lookup::run(Arc::clone(&broker), who_we_are(&broker.options, addresses)));
    if !broker.options.statsd.address.is_empty() {
        let port = who_we_are(&broker.options, addresses).http_port;
        tokio::spawn(statsd::push_for_ever(Arc::clone(&broker), port));
    }
    if let Some(endpoint) = endpoint {
        tokio::spawn(endpoint.serve(Arc::clone(&broker)));
    }
    let _ended = served.await;
    stop(&broker, threads).await;
    // With the connections the last spans have ended.
    farewell.trigger();
    if let Some(exported) = exported {
        let _sent = exported.await;
    }
    match shutdown.failure() {
        Some(why) => Err(ServeError::Failed(why)),
        None => Ok(()),
    }
}

/// Certificates and tokens are changed while the broker runs.
fn follow_files(broker: &Broker, shutdown: &Shutdown, reload: &Reload) {
    let guards = &broker.guards;
    if let Some(certificates) = &guards.encryption.certificates {
        let followed = Arc::clone(certificates).follow(reload.subscribe(), shutdown.clone());
        watch("certificates", shutdown.clone(), followed);
    }
    for token in [&guards.token, &guards.control.0] {
        let followed = Arc::clone(token).follow(reload.subscribe(), shutdown.clone());
        watch("token", shutdown.clone(), followed);
    }
}

/// What topics and channels hand to the control runtime.
pub(crate) struct Work {
    to_save: UnboundedReceiver<Arc<Topic>>,
    to_serve: UnboundedReceiver<Arc<Channel>>,
    to_sync: UnboundedReceiver<Arc<Topic>>,
}

impl Work {
    /// Start the tasks that do it. Should one end before the broker does, messages would wait for ever: the
    /// process ends then, and a restart goes on from what is on disk.
    pub(crate) fn start(self, context: &Arc<Context>, whole: Option<Arc<dyn WholeDisk>>) {
        let stop = context.shutdown.clone();
        watch("journal writer", stop.clone(), journals::save_for_ever(self.to_save, stop.clone()));
        watch("backlog", stop.clone(), backlog::serve_for_ever(self.to_serve, stop.clone()));
        watch("sync", stop.clone(), sync::sync_for_ever(self.to_sync, whole, Arc::clone(context)));
        let timers = Arc::clone(context);
        watch("timers", stop, async move { timers.timers.run(timers.clock).await });
    }
}

fn watch(name: &'static str, stop: Shutdown, work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(async move {
        let work = tokio::spawn(work);
        tokio::select! {
            _ended = work => if !stop.is_triggered() { stop.fail(format!("the task of the {name} ended")) },
            () = stop.wait() => {}
        }
    });
}

/// What topics and channels share, and the work they hand on.
pub(crate) fn context(options: &Options, shutdown: &Shutdown, traces: Traces) -> (Arc<Context>, Work) {
    let (unsaved, to_save) = unbounded_channel();
    let (unserved, to_serve) = unbounded_channel();
    let (unsynced, to_sync) = unbounded_channel();
    let context = Context {
        clock: Clock::start(),
        node: Node::new(options.node_id),
        rules: Rules {
            channel_consumers_max: options.max_channel_consumers,
            msg_timeout: options.msg_timeout,
            msg_timeout_max: options.max_msg_timeout,
            ephemeral_depth_max: options.mem_queue_size,
            channels_max: options.max_channels,
            mem_queue_size: options.mem_queue_size,
            durability: options.durability,
            e2e: options.e2e.clone(),
        },
        log: LogOptions {
            segment_bytes: options.max_bytes_per_file,
            cache_bytes: Memory::new(options.memory_limit).cache_bytes_max(),
            record_bytes_max: options.max_msg_size + RECORD_OVERHEAD,
        },
        timers: Timers::default(),
        health: Health::default(),
        fence: Fence::default(),
        space: Space::default(),
        memory: Memory::new(options.memory_limit),
        figures: Figures::default(),
        traces,
        shutdown: shutdown.clone(),
        has_failed: AtomicBool::new(false),
        control: Some(Handle::current()),
        unsaved,
        unserved,
        unsynced,
    };
    (Arc::new(context), Work { to_save, to_serve, to_sync })
}

fn start_shards(broker: &Arc<Broker>) -> io::Result<(Vec<ShardHandle>, Vec<JoinHandle<()>>)> {
    let started: io::Result<Vec<_>> =
        (0..broker.options.shards).map(|index| ShardHandle::start(broker, index)).collect();
    Ok(started?.into_iter().unzip())
}

/// What lookupds are told: broadcast ports, where they are set, stand for the real ones.
fn who_we_are(options: &Options, addresses: Addresses) -> PeerInfo {
    let (tcp_port, http_port) = addresses.told(options);
    PeerInfo {
        version: daemon::version::VERSION.to_owned(),
        tcp_port,
        http_port,
        hostname: daemon::host::hostname(),
        broadcast_address: options.broadcast_address.clone(),
        topology_zone: options.topology_zone.clone(),
        topology_region: options.topology_region.clone(),
        // Read from its file at each connect.
        auth_token: Secret::default(),
    }
}

/// Go programs take all the file descriptors they may have; so do we, for connections and segments need them.
pub(crate) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Shards close their connections first, so that nothing comes in while the topics are written down.
async fn stop(broker: &Arc<Broker>, threads: Vec<JoinHandle<()>>) {
    tracing::info!("stopping");
    let broker = Arc::clone(broker);
    let stopped = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a shard ended in a panic");
            }
        }
        broker.close();
    });
    if stopped.await.is_err() {
        tracing::error!("the broker could not be closed cleanly; its next start recovers it");
    }
    tracing::info!("stopped");
}
