//! Each rule by itself, then a cluster that follows the steps while everything around it happens: crashes between a step
//! and its record, publishers that never stop, sizes that change.

use proptest::prelude::*;

use super::*;

fn serving() -> Broker {
    Broker { is_ready: true, report: Some(DrainReport::default()) }
}

fn at(phase: DrainPhase, epoch: u64, remaining: u64) -> Broker {
    Broker { is_ready: true, report: Some(DrainReport { phase, epoch, remaining, waiting: Vec::new() }) }
}

fn record(epoch: u64, remaining: u64) -> Option<Record> {
    Some(Record { ordinal: 2, epoch, remaining, progressed_s: 0 })
}

/// Two brokers that serve and this third one, of which two are wanted.
fn leaving(third: Broker, record: Option<Record>) -> Observed {
    Observed { wanted: 2, brokers: vec![serving(), serving(), third], record, now_s: 5 }
}

#[test]
fn each_phase_of_the_broker_has_its_next_step() {
    use DrainPhase::{Certified, Draining, Retired, Serving};
    let fresh =
        |epoch, remaining| Step::Record(Some(Record { ordinal: 2, epoch, remaining, progressed_s: 5 }));
    let table = [
        (at(Serving, 0, 9), None, fresh(1, 9)),
        (at(Serving, 0, 9), record(1, 9), Step::Drain(Target { ordinal: 2, epoch: 1 })),
        (at(Draining, 1, 9), record(1, 9), Step::Wait),
        (at(Draining, 1, 4), record(1, 9), fresh(1, 4)),
        (at(Draining, 1, 0), record(1, 9), Step::Certify(Target { ordinal: 2, epoch: 1 })),
        (at(Certified, 1, 0), record(1, 0), Step::Retire(Target { ordinal: 2, epoch: 1 })),
        (at(Retired, 1, 0), record(1, 0), Step::Scale(2)),
        // Lost records, and epochs that somebody else used.
        (at(Draining, 4, 3), None, fresh(4, 3)),
        (at(Draining, 4, 3), record(1, 9), fresh(4, 3)),
        (at(Serving, 4, 3), record(4, 3), fresh(5, 3)),
        (at(Certified, 2, 0), record(3, 0), Step::Drain(Target { ordinal: 2, epoch: 3 })),
    ];
    for (third, record, step) in table {
        let seen = leaving(third, record);
        assert_eq!(next(&seen), step, "{seen:?}");
    }
}

#[test]
fn what_does_not_go_on_by_itself_says_why_and_what_to_do() {
    let gone = Broker { is_ready: false, report: None };
    let blocked = |seen: &Observed| match next(seen) {
        Step::Blocked(obstacle) => (obstacle.reason(), obstacle.to_string()),
        step => panic!("{step:?}"),
    };
    assert_eq!(blocked(&leaving(gone.clone(), record(1, 0))).0, "BrokerUnreachable");
    let mut alone = leaving(at(DrainPhase::Draining, 1, 0), record(1, 0));
    alone.brokers[0].is_ready = false;
    alone.brokers[1] = gone;
    assert_eq!(blocked(&alone).0, "NoOtherBroker");
    assert_eq!(blocked(&leaving(at(DrainPhase::Retired, 1, 7), record(1, 0))).0, "NotEmpty");
    let mut stuck = leaving(at(DrainPhase::Draining, 1, 7), record(1, 7));
    stuck.now_s = STUCK_AFTER_S;
    assert_eq!(blocked(&stuck).0, "NoProgress");
    for (channel, text) in
        [(Some("billing"), "channel \"billing\", which has no consumer"), (None, "which has no channel")]
    {
        let mut third = at(DrainPhase::Draining, 1, 7);
        let channel = channel.map(str::to_owned);
        let waiting = Waiting { topic: "orders".to_owned(), channel, messages: 7, consumers: 0 };
        third.report.as_mut().unwrap().waiting.push(waiting);
        let (reason, why) = blocked(&leaving(third, record(1, 7)));
        assert_eq!(reason, "NoConsumer");
        assert!(why.contains(text) && why.contains("topic \"orders\""), "{why}");
    }
}

#[test]
fn raising_the_size_again_cancels_a_drain_at_any_point() {
    for phase in [DrainPhase::Draining, DrainPhase::Certified, DrainPhase::Retired] {
        let mut seen = leaving(at(phase, 3, 1), record(3, 1));
        seen.wanted = 3;
        assert_eq!(next(&seen), Step::Undrain(Target { ordinal: 2, epoch: 3 }));
        seen.brokers[2] = at(DrainPhase::Serving, 3, 1);
        assert_eq!(next(&seen), Step::Record(None));
        seen.record = None;
        assert_eq!(next(&seen), Step::Nothing);
    }
}

#[test]
fn a_broker_that_stays_serves_whatever_its_volume_remembers() {
    let mut seen = leaving(serving(), None);
    seen.brokers[0] = at(DrainPhase::Retired, 8, 0);
    assert_eq!(next(&seen), Step::Undrain(Target { ordinal: 0, epoch: 8 }));
}

#[test]
fn the_last_broker_leaves_too_when_none_is_wanted() {
    let record = Some(Record { ordinal: 0, epoch: 1, remaining: 0, progressed_s: 0 });
    let seen = Observed { wanted: 0, brokers: vec![at(DrainPhase::Retired, 1, 0)], record, now_s: 0 };
    assert_eq!(next(&seen), Step::Scale(0));
}

/// What happens between two looks of the operator.
#[derive(Debug, Clone)]
enum Event {
    /// The step is done and its outcome seen.
    Done,
    /// The operator dies before the step takes effect.
    DiesBefore,
    /// The record of the status is lost.
    LosesRecord,
    /// The step is done twice: the answer to the first was lost.
    Twice,
    /// Another size is wanted.
    Wanted(u32),
    /// Consumers finish so many messages of every broker.
    Consume(u64),
    /// A broker does not answer for this look.
    Silent(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Done),
        1 => Just(Event::DiesBefore),
        1 => Just(Event::LosesRecord),
        1 => Just(Event::Twice),
        1 => (0..5_u32).prop_map(Event::Wanted),
        3 => (1..20_u64).prop_map(Event::Consume),
        1 => (0..5_u32).prop_map(Event::Silent),
    ]
}

/// Brokers that do what nsqd does, and a volume for each ordinal that outlives its broker.
struct World {
    wanted: u32,
    running: u32,
    volumes: Vec<DrainReport>,
    record: Option<Record>,
    now_s: u64,
}

impl World {
    fn observe(&self, silent: Option<u32>) -> Observed {
        let brokers = (0..self.running).zip(&self.volumes).map(|(ordinal, report)| Broker {
            is_ready: report.phase == DrainPhase::Serving,
            report: (Some(ordinal) != silent).then(|| report.clone()),
        });
        Observed { wanted: self.wanted, brokers: brokers.collect(), record: self.record, now_s: self.now_s }
    }

    /// Publishers never stop: whoever serves gets more.
    fn publish(&mut self) {
        let running = self.running as usize;
        let serving = self.volumes.iter_mut().take(running).filter(|one| one.phase == DrainPhase::Serving);
        serving.for_each(|one| one.remaining += 1);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Record(record) => self.record = record,
            Step::Scale(count) => self.scale(count),
            Step::Drain(Target { ordinal, epoch }) => self.request(ordinal, epoch, DrainPhase::Draining),
            Step::Certify(Target { ordinal, epoch }) => self.request(ordinal, epoch, DrainPhase::Certified),
            Step::Retire(Target { ordinal, epoch }) => self.request(ordinal, epoch, DrainPhase::Retired),
            Step::Undrain(Target { ordinal, epoch }) => self.request(ordinal, epoch, DrainPhase::Serving),
            Step::Nothing | Step::Wait | Step::Blocked(_) => {}
        }
    }

    fn request(&mut self, ordinal: u32, epoch: u64, phase: DrainPhase) {
        let volume = &mut self.volumes[ordinal as usize];
        if epoch < volume.epoch || (phase == DrainPhase::Certified && volume.remaining > 0) {
            return;
        }
        // The same step again changes nothing.
        if phase == DrainPhase::Draining && epoch == volume.epoch {
            return;
        }
        (volume.phase, volume.epoch) = (phase, epoch);
    }

    fn scale(&mut self, count: u32) {
        if count < self.running {
            assert_eq!(count, self.running - 1, "one at a time");
            let last = &self.volumes[count as usize];
            assert_eq!((last.phase, last.remaining), (DrainPhase::Retired, 0), "only who is empty leaves");
        }
        self.running = count;
    }

    fn look(&mut self, event: &Event) {
        self.now_s += 1;
        self.publish();
        let silent = if let Event::Silent(ordinal) = event { Some(*ordinal) } else { None };
        let step = next(&self.observe(silent));
        match event {
            Event::DiesBefore => {}
            Event::Twice => (0..2).for_each(|_| self.apply(&step)),
            _ => self.apply(&step),
        }
        match event {
            Event::LosesRecord => self.record = None,
            Event::Wanted(count) => self.wanted = *count,
            Event::Consume(count) => {
                self.volumes.iter_mut().for_each(|one| one.remaining = one.remaining.saturating_sub(*count));
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn no_broker_leaves_with_a_message_and_every_size_is_reached(
        events in prop::collection::vec(event(), 0..120),
        wanted in 0..5_u32,
    ) {
        let volumes = vec![DrainReport::default(); 5];
        let mut world = World { wanted: 3, running: 3, volumes, record: None, now_s: 0 };
        events.iter().for_each(|event| world.look(event));
        world.wanted = wanted;
        for _ in 0..100 {
            world.look(&Event::Consume(1000));
        }
        prop_assert_eq!(world.running, wanted);
        let running = world.running as usize;
        prop_assert!(world.volumes.iter().take(running).all(|one| one.phase == DrainPhase::Serving));
        prop_assert_eq!(world.record, None);
    }
}
