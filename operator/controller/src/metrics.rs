//! The operator's own figures, as `/metrics` shows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::metrics::{Histogram, LONG};

/// Counts since the start of the process.
#[derive(Debug)]
pub struct Metrics {
    state: Mutex<State>,
}

/// What is counted.
#[derive(Debug)]
pub struct State {
    /// Looks at clusters, by how they ended.
    pub looks: BTreeMap<&'static str, u64>,
    /// Writes to the API server, by what was written.
    pub writes: BTreeMap<&'static str, u64>,
    /// How long looks took.
    pub took: Histogram,
    /// Whether this process leads.
    pub leads: bool,
    /// Looks that are under way.
    pub under_way: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let state = State {
            looks: BTreeMap::new(),
            writes: BTreeMap::new(),
            took: Histogram::new(LONG),
            leads: false,
            under_way: 0,
        };
        Self { state: Mutex::new(state) }
    }
}

impl Metrics {
    /// A look ended.
    pub fn looked(&self, how: &'static str, took: Duration) {
        let mut state = self.state();
        *state.looks.entry(how).or_default() += 1;
        state.took.record(took);
    }

    /// Something was written.
    pub fn wrote(&self, what: &'static str) {
        *self.state().writes.entry(what).or_default() += 1;
    }

    /// To be read or changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
