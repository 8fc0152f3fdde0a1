//! What the driver and the threads of the load share: whether nsqd is up, in which life, and what is to be done.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the threads are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything.
    Load,
    /// No publishing; finish whatever comes.
    Drain,
    /// Close and return.
    Over,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    life: Option<u64>,
    address: SocketAddr,
}

/// The shared part.
#[derive(Debug)]
pub struct Stage {
    state: Mutex<State>,
    changed: Condvar,
}

impl Stage {
    /// nsqd serves at `address`, in this life.
    pub fn new(address: SocketAddr, life: u64) -> Self {
        let state = State { phase: Phase::Load, life: Some(life), address };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// nsqd is not there.
    pub fn down(&self) {
        self.lock().life = None;
    }

    /// nsqd serves again.
    pub fn up(&self, address: SocketAddr, life: u64) {
        let mut state = self.lock();
        state.life = Some(life);
        state.address = address;
        drop(state);
        self.changed.notify_all();
    }

    /// From now on.
    pub fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
        self.changed.notify_all();
    }

    /// What is to be done.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Whether nsqd is in this life: a connection made before this was true goes to that life.
    pub fn is_in(&self, life: u64) -> bool {
        self.lock().life == Some(life)
    }

    /// Wait until nsqd serves; none when the phase is past `last`.
    pub fn wait(&self, last: Phase) -> Option<(SocketAddr, u64)> {
        let mut state = self.lock();
        loop {
            if state.phase > last {
                return None;
            }
            if let Some(life) = state.life {
                return Some((state.address, life));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wait until that time is over or the phase is past `last`.
    pub fn rest(&self, time: Duration, last: Phase) {
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, time, |state| state.phase <= last));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
