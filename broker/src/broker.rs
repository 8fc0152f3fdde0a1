//! The broker: its topics by name, and what makes and removes them. What happens inside a topic is in
//! `topic.rs`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use daemon::http::Requests;
use protocol::{ChannelName, TopicName};
use queue::ConsumerId;
use rustix::process::{Resource, getrlimit};
use storage::DataDir;
use storage::Disk;
use storage::StorageError;
use tokio::runtime::Handle;

use crate::admission::Admission;
use crate::channel::Channel;
use crate::clients::Clients;
use crate::context::Context;
use crate::control::ControlState;
use crate::creation::{Creation, TooMany};
use crate::guards::Guards;
use crate::lookup::{Changes, Lookups};
use crate::options::Options;
use crate::topic::Topic;
use crate::topic::admin::ChangeError;

/// One nsqd.
#[derive(Debug)]
pub(crate) struct Broker {
    /// What it was started with.
    pub options: Options,
    /// What its topics share.
    pub context: Arc<Context>,
    /// The connections it serves.
    pub clients: Clients,
    /// Who is let in.
    pub guards: Guards,
    /// How many of them there may be.
    pub admission: Arc<Admission>,
    /// What was asked over HTTP.
    pub requests: Requests,
    /// Where slow work is done: files, other daemons, HTTP.
    pub control: Handle,
    /// The nsqlookupds it is registered with.
    pub lookups: Lookups,
    /// What it was told to have, and whether to leave.
    pub control_state: ControlState,
    topics: RwLock<HashMap<TopicName, Arc<Topic>>>,
    creation: Creation,
    /// Held while a topic of that name is made or deleted, so that it is made once and not while it goes.
    turns: Mutex<HashMap<TopicName, Arc<tokio::sync::Mutex<()>>>>,
    dir: DataDir,
    disk: Arc<dyn Disk>,
    connections: AtomicU64,
    /// Changes of what lookupds must know.
    pub changes: Changes,
}

/// Why a topic or channel could not be made or changed.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The disk refused.
    Storage(StorageError),
    /// There is as much as there may be.
    TooMany(TooMany),
    /// It was deleted meanwhile.
    Exiting,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::TooMany(limit) => limit.fmt(f),
            Self::Exiting => f.write_str("exiting"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<ChangeError> for OpenError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Storage(error) => Self::Storage(error),
            ChangeError::TooMany(limit) => Self::TooMany(limit),
            ChangeError::Exiting | ChangeError::NoChannel => Self::Exiting,
        }
    }
}

impl Broker {
    /// A broker over an open data directory, with the topics it holds.
    pub(crate) fn open(
        options: Options,
        guards: Guards,
        context: Arc<Context>,
        control: Handle,
        disk: Arc<dyn Disk>,
        dir: DataDir,
    ) -> Result<Arc<Self>, StorageError> {
        let broker = Self {
            control_state: ControlState::open(&disk, &options, &context.fence)?,
            lookups: Lookups::new(&options.lookupd_tcp_addresses),
            creation: Creation::new(options.max_topics, options.max_creation_rate),
            admission: Admission::new(
                options.max_connections,
                options.max_connections_per_ip,
                getrlimit(Resource::Nofile).current,
            ),
            options,
            guards,
            context,
            clients: Clients::default(),
            requests: Requests::default(),
            control,
            topics: RwLock::default(),
            turns: Mutex::default(),
            dir,
            disk,
            connections: AtomicU64::new(0),
            changes: Changes::new(),
        };
        for name in broker.dir.list()? {
            match TopicName::new(&name) {
                Ok(name) => broker.add(broker.open_on_disk(&name)?),
                Err(error) => {
                    tracing::error!(topic = name, %error, "a folder of the data directory was left alone")
                }
            };
        }
        Ok(Arc::new(broker))
    }

    /// A number for a new connection.
    pub(crate) fn next_connection(&self) -> ConsumerId {
        ConsumerId(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many connections there have been.
    pub(crate) fn connections_opened(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// The topic of that name.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All topics, sorted by name.
    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> =
            self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    /// Make a topic, and a channel in it, where they are missing.
    pub(crate) async fn open_names(
        self: &Arc<Self>,
        topic: &TopicName,
        channel: Option<&ChannelName>,
    ) -> Result<(), OpenError> {
        let topic = self.open_topic(topic).await?;
        if let Some(channel) = channel {
            self.open_channel(&topic, channel).await?;
        }
        Ok(())
    }

    /// The topic of that name, made if it is missing. A new topic first gets the channels that the
    /// nsqlookupds know for its name, so that they miss none of its messages.
    pub(crate) async fn open_topic(self: &Arc<Self>, name: &TopicName) -> Result<Arc<Topic>, OpenError> {
        if let Some(topic) = self.topic(name.as_str()) {
            return Ok(topic);
        }
        let turn = self.turn(name);
        let _turn = turn.lock().await;
        if let Some(topic) = self.topic(name.as_str()) {
            return Ok(topic);
        }
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner).len();
        let _place = self.creation.place(topics).map_err(OpenError::TooMany)?;
        self.wait_for_turn().await?;
        self.make_topic(name).await
    }

    /// The topic of that name, made if it is missing. What is declared is neither counted nor kept waiting: who declares
    /// it means it.
    pub(crate) async fn declare_topic(self: &Arc<Self>, name: &TopicName) -> Result<Arc<Topic>, OpenError> {
        let turn = self.turn(name);
        let _turn = turn.lock().await;
        match self.topic(name.as_str()) {
            Some(topic) => Ok(topic),
            None => self.make_topic(name).await,
        }
    }

    /// The channel of that name, made if it is missing, in its turn.
    pub(crate) async fn open_channel(
        &self,
        topic: &Arc<Topic>,
        name: &ChannelName,
    ) -> Result<Arc<Channel>, OpenError> {
        if let Some(channel) = topic.channel(name) {
            return Ok(channel);
        }
        self.wait_for_turn().await?;
        let channel = topic.create_channel(name)?;
        self.changes.note(&topic.name);
        Ok(channel)
    }

    /// Delete a topic and all it holds. False: there is none of that name. A topic of the same name can be
    /// made again only when the folder of this one is gone.
    pub(crate) async fn delete_topic(&self, name: &TopicName) -> Result<bool, StorageError> {
        let turn = self.turn(name);
        let _turn = turn.lock().await;
        self.discard(name)
    }

    /// With the topic's turn held.
    fn discard(&self, name: &TopicName) -> Result<bool, StorageError> {
        let is_deleted = self.remove(name);
        if is_deleted && !name.is_ephemeral() {
            // Were the folder left under its name, the next publish would bring the old messages back.
            crate::blocking::wait(|| self.dir.delete(name.as_str()))
                .inspect_err(|error| self.context.fail_stop(error))?;
        }
        Ok(is_deleted)
    }

    /// Delete a topic that holds no message and is owed none. False: it does, or there is none. A publish meanwhile
    /// makes the topic anew.
    pub(crate) async fn delete_topic_if_empty(&self, name: &TopicName) -> Result<bool, StorageError> {
        let turn = self.turn(name);
        let _turn = turn.lock().await;
        let is_empty = self.topic(name.as_str()).is_some_and(|topic| topic.close_if_empty());
        if is_empty { self.discard(name) } else { Ok(false) }
    }

    /// Delete a channel; an ephemeral topic goes with its last one.
    pub(crate) fn delete_channel(&self, topic: &Arc<Topic>, name: &ChannelName) -> Result<(), ChangeError> {
        let topic_is_over = topic.delete_channel(name)?;
        if topic_is_over {
            self.remove(&topic.name);
        }
        self.changes.note(&topic.name);
        Ok(())
    }

    /// An ephemeral channel lost its last consumer: delete it, unless somebody came back.
    pub(crate) fn delete_channel_soon(self: &Arc<Self>, topic: &Arc<Topic>, channel: &Arc<Channel>) {
        let (broker, topic, channel) = (Arc::clone(self), Arc::clone(topic), Arc::clone(channel));
        self.control.spawn(async move {
            if !channel.delete_if_unused() {
                return;
            }
            match broker.delete_channel(&topic, &channel.name) {
                Ok(()) | Err(ChangeError::NoChannel) => {}
                Err(error) => {
                    tracing::error!(topic = %topic.name, %error, "cannot delete an ephemeral channel")
                }
            }
        });
    }

    /// After a start: what was deferred or in flight when the last run ended has its deadlines again, and what that
    /// run may not have synced is synced.
    pub(crate) fn redeliver(&self) {
        for topic in self.topics() {
            topic.sync_as_promised();
            for channel in topic.channels().iter() {
                channel.expire();
            }
        }
    }

    /// Has the end begun?
    pub(crate) fn is_stopping(&self) -> bool {
        self.context.shutdown.is_triggered()
    }

    /// Write down everything that is only in memory; the last thing a broker does.
    pub(crate) fn close(&self) {
        for topic in self.topics() {
            if let Err(error) = topic.close() {
                tracing::error!(topic = %topic.name, %error, "cannot close a topic cleanly; its next start recovers it");
            }
        }
    }

    fn remove(&self, name: &TopicName) -> bool {
        let removed = self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Some(topic) = removed else { return false };
        topic.delete();
        self.changes.note(name);
        tracing::info!(topic = %name, "deleted topic");
        true
    }

    async fn wait_for_turn(&self) -> Result<(), OpenError> {
        let wait = self.creation.turn(self.context.clock.now().instant).map_err(OpenError::TooMany)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    async fn make_topic(self: &Arc<Self>, name: &TopicName) -> Result<Arc<Topic>, OpenError> {
        let channels = self.lookups.channels_of(name, self.options.http_client_request_timeout).await;
        let topic = self.open_on_disk(name).map_err(|error| {
            tracing::error!(topic = %name, %error, "cannot make a topic");
            self.context.health.failed(error.to_string());
            OpenError::Storage(error)
        })?;
        topic.create_channels(&channels)?;
        if !name.is_ephemeral() {
            let made = topic.make_durable().and_then(|()| self.dir.sync_names());
            made.inspect_err(|error| self.context.refused(error)).map_err(OpenError::Storage)?;
        }
        tracing::info!(topic = %name, channels = channels.len(), "new topic");
        self.add(Arc::clone(&topic));
        self.changes.note(name);
        self.lookups.know(self.changes.count()).await;
        Ok(topic)
    }

    /// A topic from its directory, which is begun if it is missing.
    fn open_on_disk(&self, name: &TopicName) -> Result<Arc<Topic>, StorageError> {
        if name.is_ephemeral() {
            return Ok(Topic::in_memory(name.clone(), Arc::clone(&self.context)));
        }
        let dir = self.dir.create(name.as_str())?;
        Topic::open(name.clone(), Arc::clone(&self.context), Arc::clone(&self.disk), &dir)
    }

    fn add(&self, topic: Arc<Topic>) {
        self.topics.write().unwrap_or_else(PoisonError::into_inner).insert(topic.name.clone(), topic);
    }

    /// The lock to hold while a topic of that name is made or deleted. Locks nobody holds are let go here.
    fn turn(&self, name: &TopicName) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(name.clone()).or_default())
    }
}
