//! Which child to start or restart next: from what is declared and what is seen, by value. It is asked again
//! after every event, so a missed or doubled event does no harm.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use operator::plan::ClusterPlan;

use super::layout::{Addresses, Launch, Layout, Name, Role};

/// What is known of a child that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// What it was told last.
    pub(crate) launch: Launch,
    /// Where it served last; kept over its restarts.
    pub(crate) addresses: Option<Addresses>,
    pub(crate) is_serving: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Start(Launch),
    /// End it and start it with these flags.
    Restart(Launch),
}

/// What to do now. A running child that needs other flags is restarted only while all others serve, one at
/// a time, so that a bad setting stops at the first broker.
pub(crate) fn next(plan: &ClusterPlan, layout: &Layout, states: &BTreeMap<Name, State>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut outdated = None;
    for launch in wanted(plan, layout, states) {
        match states.get(&launch.name) {
            None => actions.push(Action::Start(launch)),
            Some(state) if state.launch == launch => {}
            Some(state) if state.is_serving => outdated = outdated.or(Some(launch)),
            // It is down with flags nobody wants any more.
            Some(_) => actions.push(Action::Restart(launch)),
        }
    }
    if actions.is_empty() && all_serve(plan, states) {
        actions.extend(outdated.map(Action::Restart));
    }
    actions
}

/// Whether every declared child serves.
pub(crate) fn all_serve(plan: &ClusterPlan, states: &BTreeMap<Name, State>) -> bool {
    let serves = |name| states.get(name).is_some_and(|state| state.is_serving);
    Name::declared(plan).iter().all(serves)
}

/// Where the brokers register: every nsqlookupd that runs, also one that is no longer declared. None: a
/// declared one has not said its address yet, so brokers wait, or they would register with it only at their
/// next heartbeat 15 s later.
fn registries(plan: &ClusterPlan, states: &BTreeMap<Name, State>) -> Option<Vec<SocketAddr>> {
    let address = |name| states.get(&name).and_then(|state| state.addresses).map(|addresses| addresses.tcp);
    if plan.lookupds.iter().any(|lookupd| address(Name::nsqlookupd(lookupd.ordinal)).is_none()) {
        return None;
    }
    Some(
        states
            .keys()
            .filter(|name| name.role == Role::Nsqlookupd)
            .filter_map(|name| address(*name))
            .collect(),
    )
}

fn wanted(plan: &ClusterPlan, layout: &Layout, states: &BTreeMap<Name, State>) -> Vec<Launch> {
    let mut launches: Vec<Launch> =
        plan.lookupds.iter().map(|lookupd| layout.lookupd_launch(lookupd)).collect();
    if let Some(registries) = registries(plan, states) {
        let launch = |broker| layout.broker_launch(&plan.name, broker, &registries);
        launches.extend(plan.brokers.iter().map(launch));
    }
    launches
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use operator::plan::{BrokerPlan, LookupdPlan};

    use super::*;
    use crate::args::Ports;

    /// A plan and a world in which every action is carried out and every child serves when told.
    struct World {
        plan: ClusterPlan,
        layout: Layout,
        states: BTreeMap<Name, State>,
    }

    impl World {
        fn new(lookupds: u32, brokers: u32) -> Self {
            let layout = Layout { data_dir: PathBuf::from("d"), ports: Ports::Auto };
            let mut world = Self { plan: empty(), layout, states: BTreeMap::new() };
            world.declare(lookupds, brokers);
            world
        }

        fn declare(&mut self, lookupds: u32, brokers: u32) {
            self.plan.lookupds =
                (0..lookupds).map(|ordinal| LookupdPlan { ordinal, flags: vec![] }).collect();
            self.plan.brokers =
                (0..brokers).map(|ordinal| BrokerPlan { ordinal, node_id: ordinal, flags: vec![] }).collect();
        }

        /// Carries out what is to be done and says it: `start nsqd 0`.
        fn act(&mut self) -> Vec<String> {
            let actions = next(&self.plan, &self.layout, &self.states);
            let act = |action| {
                let (verb, launch) = match action {
                    Action::Start(launch) => ("start", launch),
                    Action::Restart(launch) => ("restart", launch),
                };
                let said = format!("{verb} {}", launch.name);
                let addresses = self.states.get(&launch.name).and_then(|state| state.addresses);
                self.states.insert(launch.name, State { launch, addresses, is_serving: false });
                said
            };
            actions.into_iter().map(act).collect()
        }

        fn serves(&mut self, name: Name) {
            let port = 40_000 + u16::try_from(name.ordinal).unwrap();
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            let state = self.states.get_mut(&name).unwrap();
            state.is_serving = true;
            state.addresses = Some(Addresses { tcp: at, http: at });
        }

        fn all_serve(&mut self) {
            for name in self.states.keys().copied().collect::<Vec<_>>() {
                self.serves(name);
            }
        }

        fn flag_brokers(&mut self, value: &str) {
            for broker in &mut self.plan.brokers {
                broker.flags = vec![("mem-queue-size".to_owned(), value.to_owned())];
            }
        }
    }

    fn empty() -> ClusterPlan {
        ClusterPlan {
            name: "c".to_owned(),
            namespace: "default".to_owned(),
            brokers: vec![],
            lookupds: vec![],
            topics: vec![],
        }
    }

    #[test]
    fn brokers_start_once_every_nsqlookupd_has_said_where_it_is() {
        let mut world = World::new(2, 2);
        assert_eq!(world.act(), ["start nsqlookupd 0", "start nsqlookupd 1"]);
        world.serves(Name::nsqlookupd(0));
        assert!(world.act().is_empty());
        world.serves(Name::nsqlookupd(1));
        assert_eq!(world.act(), ["start nsqd 0", "start nsqd 1"]);
        assert!(world.act().is_empty());
    }

    #[test]
    fn without_nsqlookupd_brokers_start_at_once() {
        assert_eq!(World::new(0, 1).act(), ["start nsqd 0"]);
    }

    #[test]
    fn a_further_broker_starts_and_the_others_are_left_alone() {
        let mut world = running(1, 2);
        world.declare(1, 3);
        assert_eq!(world.act(), ["start nsqd 2"]);
        world.all_serve();
        assert!(world.act().is_empty());
    }

    #[test]
    fn changed_flags_restart_one_broker_after_the_other() {
        let mut world = running(1, 3);
        world.flag_brokers("1");
        for name in ["nsqd 0", "nsqd 1", "nsqd 2"] {
            assert_eq!(world.act(), [format!("restart {name}")]);
            assert!(world.act().is_empty(), "the next waits until it serves");
            world.all_serve();
        }
        assert!(world.act().is_empty());
    }

    #[test]
    fn a_setting_that_stops_a_broker_is_mended_there_first() {
        let mut world = running(1, 2);
        world.flag_brokers("bad");
        assert_eq!(world.act(), ["restart nsqd 0"]);
        world.flag_brokers("good");
        assert_eq!(world.act(), ["restart nsqd 0"]);
        world.all_serve();
        assert_eq!(world.act(), ["restart nsqd 1"]);
    }

    #[test]
    fn a_further_nsqlookupd_reaches_every_broker_in_turn() {
        let mut world = running(1, 2);
        world.declare(2, 2);
        assert_eq!(world.act(), ["start nsqlookupd 1"]);
        world.all_serve();
        assert_eq!(world.act(), ["restart nsqd 0"]);
        world.all_serve();
        assert_eq!(world.act(), ["restart nsqd 1"]);
        world.all_serve();
        assert!(world.act().is_empty());
    }

    #[test]
    fn removed_children_are_left_alone_and_taken_back() {
        let mut world = running(2, 2);
        world.declare(1, 1);
        assert!(world.act().is_empty());
        world.declare(2, 2);
        assert!(world.act().is_empty());
    }

    fn running(lookupds: u32, brokers: u32) -> World {
        let mut world = World::new(lookupds, brokers);
        while !world.act().is_empty() {
            world.all_serve();
        }
        world
    }
}
