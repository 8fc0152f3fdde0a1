//! Histories written by hand: a good one for each thing that is allowed, and a bad one for each rule, which must be found.

use std::time::Duration;

use super::{Past, Rule, Rules, Verdict, check};
use crate::history::{Channel, Event, History, NO_CHANNEL, Op, key};

const MS: u64 = 1_000_000;
const PUBLISHER: u32 = 1;
/// Consumers of channel 0; timeouts of one second.
const ANN: u32 = 10;
const BEN: u32 = 11;
/// A consumer of channel 0 in the broker's second life.
const EVE: u32 = 20;
/// The consumer of channel 1.
const ZOE: u32 = 30;

/// Writes a history down in milliseconds.
struct Story {
    history: History,
    rules: Rules,
}

impl Story {
    /// One topic, one channel, two lives of the broker if `told` says that one ended.
    fn new() -> Self {
        let channel = |name: &str, is_single| Channel { topic: 0, name: name.to_owned(), is_single };
        let mut story = Self {
            history: History {
                round: 0,
                topics: vec!["t".to_owned(), "u".to_owned()],
                channels: vec![channel("c", true)],
                events: Vec::new(),
            },
            rules: Rules::default(),
        };
        story.event(Op::ChannelMade, 0, |event| event.channel = 0);
        for (conn, life) in [(ANN, 1), (BEN, 1), (EVE, 2)] {
            story.opened(conn, life, 0);
        }
        story
    }

    fn opened(&mut self, conn: u32, life: u64, channel: u8) -> &mut Self {
        self.event(Op::Opened, 0, |event| {
            (event.conn, event.key, event.channel, event.arg) = (conn, life, channel, 1000 * MS);
        })
    }

    /// A second channel, made at some time.
    fn second_channel(&mut self, made: u64) -> &mut Self {
        self.history.channels.push(Channel { topic: 0, name: "d".to_owned(), is_single: false });
        self.opened(ZOE, 1, 1).event(Op::ChannelMade, made, |event| event.channel = 1)
    }

    fn event(&mut self, op: Op, ms: u64, set: impl FnOnce(&mut Event)) -> &mut Self {
        let mut event = Event::new(op, ms * MS);
        set(&mut event);
        self.history.events.push(event);
        self
    }

    fn publish(&mut self, ms: u64, first: u32, count: u64) -> &mut Self {
        self.defer(ms, first, count, 0)
    }

    fn defer(&mut self, ms: u64, first: u32, count: u64, delay: u64) -> &mut Self {
        self.event(Op::Publish, ms, |event| {
            (event.key, event.arg, event.id) = (key(0, 0, first), count, delay * MS);
            (event.conn, event.channel) = (PUBLISHER, 0);
        })
    }

    fn ok(&mut self, ms: u64, first: u32) -> &mut Self {
        self.event(Op::Acked, ms, |event| (event.key, event.conn) = (key(0, 0, first), PUBLISHER))
    }

    /// Message `number` with a matching id; the broker sent it in the millisecond before.
    fn comes(&mut self, ms: u64, conn: u32, number: u32, attempts: u16) -> &mut Self {
        self.event(Op::Delivered, ms, |event| {
            (event.since, event.key, event.id) = ((ms - 1) * MS, key(0, 0, number), u64::from(number) + 100);
            (event.arg, event.conn, event.attempts) = (7, conn, attempts);
            event.channel = u8::from(conn == ZOE);
        })
    }

    fn answer(&mut self, op: Op, ms: u64, conn: u32, number: u32) -> &mut Self {
        self.event(op, ms, |event| {
            (event.key, event.id) = (key(0, 0, number), u64::from(number) + 100);
            (event.conn, event.channel) = (conn, u8::from(conn == ZOE));
        })
    }

    fn fin(&mut self, ms: u64, conn: u32, number: u32) -> &mut Self {
        self.answer(Op::Finish, ms, conn, number)
    }

    fn requeue(&mut self, ms: u64, conn: u32, number: u32, delay: u64) -> &mut Self {
        self.answer(Op::Requeue, ms, conn, number);
        if let Some(event) = self.history.events.last_mut() {
            event.arg = delay * MS;
        }
        self
    }

    fn answered(&mut self, op: Op, sent: u64, ms: u64, conn: u32) -> &mut Self {
        self.event(op, ms, |event| (event.conn, event.since) = (conn, sent * MS))
    }

    fn ended(&mut self, ms: u64, conn: u32) -> &mut Self {
        self.answered(Op::Ended, ms, ms, conn)
    }

    /// The first life ends; the second begins at once.
    fn life_ends(&mut self, op: Op, ms: u64) -> &mut Self {
        self.event(op, ms, |event| event.key = 1).event(Op::Ready, ms + 1, |event| event.key = 2)
    }

    fn verdict(&self) -> Verdict {
        check(&self.history, &self.rules, &mut Past::default())
    }

    #[track_caller]
    fn good(&self) -> Verdict {
        let verdict = self.verdict();
        assert!(verdict.is_good(), "{:#?}", verdict.violations);
        verdict
    }

    #[track_caller]
    fn bad(&self, rule: Rule) {
        let verdict = self.verdict();
        let found: Vec<Rule> = verdict.totals.keys().copied().collect();
        assert_eq!(found, [rule], "{:#?}", verdict.violations);
    }
}

/// A history told in one expression.
fn story(tell: impl FnOnce(&mut Story)) -> Story {
    let mut story = Story::new();
    tell(&mut story);
    story
}

/// A chain of calls as a statement.
fn done(_: &mut Story) {}

#[test]
fn what_is_published_delivered_and_finished_is_good() {
    let verdict = story(|s| {
        s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0);
        s.publish(5, 1, 3).ok(6, 1);
        for number in 1..4 {
            s.comes(7, ANN, number, 1).fin(8, ANN, number);
        }
    })
    .good();
    let counts = verdict.counts;
    assert_eq!((counts.published, counts.acked, counts.delivered, counts.ordered), (4, 4, 4, 4));
    assert_eq!(counts.allowed_duplicates(), 0);
}

#[test]
fn an_acknowledged_message_that_never_comes_is_lost() {
    story(|s| done(s.publish(1, 0, 1).ok(2, 0))).bad(Rule::Lost);
    story(|s| done(s.publish(1, 0, 2).ok(2, 0).comes(3, ANN, 1, 1).fin(4, ANN, 1))).bad(Rule::Lost);
}

#[test]
fn a_message_that_was_not_acknowledged_may_be_missing_or_there() {
    story(|s| done(s.publish(1, 0, 1))).good();
    story(|s| done(s.publish(1, 0, 1).comes(3, ANN, 0, 1).fin(4, ANN, 0))).good();
}

#[test]
fn a_message_given_back_and_never_seen_again_is_lost() {
    story(|s| done(s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 10))).bad(Rule::Lost);
    story(|s| done(s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1))).bad(Rule::Lost);
    // The FIN was refused, so it finished nothing.
    story(|s| {
        s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0).answer(Op::FinishFailed, 5, ANN, 0);
    })
    .bad(Rule::Lost);
}

#[test]
fn of_two_fins_on_one_connection_one_is_refused_and_the_message_is_finished() {
    story(|s| {
        s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(1500, ANN, 0).comes(1510, ANN, 0, 2);
        s.fin(1511, ANN, 0).answer(Op::FinishFailed, 1520, ANN, 0);
    })
    .good();
}

#[test]
fn a_message_is_owed_to_each_channel_that_existed_and_to_no_other() {
    let told = |made, second: bool| {
        story(|s| {
            s.second_channel(made).publish(5, 0, 1).ok(6, 0).comes(7, ANN, 0, 1).fin(8, ANN, 0);
            if second {
                s.comes(7, ZOE, 0, 1).fin(8, ZOE, 0);
            }
        })
    };
    told(4, true).good();
    told(4, false).bad(Rule::Lost);
    told(9, false).good();
}

#[test]
fn an_unacknowledged_message_is_on_all_channels_or_on_none() {
    story(|s| done(s.second_channel(1).publish(5, 0, 1).comes(7, ZOE, 0, 1).fin(8, ZOE, 0)))
        .bad(Rule::Partial);
}

#[test]
fn a_message_nobody_published_is_invented() {
    story(|s| done(s.comes(3, ANN, 9, 1).fin(4, ANN, 9))).bad(Rule::Invented);
    story(|s| done(s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0).comes(3, ANN, 1, 1)))
        .bad(Rule::Invented);
}

#[test]
fn a_message_of_another_topic_is_invented() {
    story(|s| {
        s.history.channels.push(Channel { topic: 1, name: "d".to_owned(), is_single: false });
        s.opened(ZOE, 1, 1).publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0);
        s.comes(3, ZOE, 0, 1).fin(4, ZOE, 0);
    })
    .bad(Rule::Invented);
}

#[test]
fn a_body_that_is_not_what_was_published_is_corrupt() {
    let mut told = story(|s| done(s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1)));
    told.history.events.last_mut().unwrap().op = Op::Corrupt;
    told.bad(Rule::Corrupt);
    // Nor may its head be right.
    told.history.events.last_mut().unwrap().key = 12_345 << 32;
    assert_eq!(told.verdict().total(Rule::Corrupt), 1);
}

#[test]
fn each_second_delivery_needs_a_cause() {
    let twice = |again: u64, between: &dyn Fn(&mut Story)| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1);
            between(s);
            s.comes(again, BEN, 0, 2).fin(again + 1, BEN, 0);
        })
    };
    twice(100, &|_| ()).bad(Rule::Duplicate);
    twice(100, &|s| done(s.fin(4, ANN, 0))).bad(Rule::Duplicate);
    twice(100, &|s| done(s.requeue(4, ANN, 0, 0))).good();
    twice(100, &|s| done(s.ended(50, ANN))).good();
    twice(1100, &|_| ()).good();
    twice(1100, &|s| done(s.answer(Op::Touch, 900, ANN, 0))).bad(Rule::Duplicate);
    twice(2000, &|s| done(s.answer(Op::Touch, 900, ANN, 0))).good();
    // A TOUCH that came too late changed nothing.
    twice(1100, &|s| done(s.answer(Op::Touch, 900, ANN, 0).answer(Op::TouchFailed, 901, ANN, 0))).good();
}

#[test]
fn a_fin_that_was_processed_rules_out_timeout_and_the_end_of_the_connection() {
    let told = |proven: bool| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0);
            if proven {
                s.answered(Op::Fence, 5, 6, ANN);
            }
            s.ended(50, ANN).comes(2000, BEN, 0, 2).fin(2001, BEN, 0);
        })
    };
    told(false).good();
    told(true).bad(Rule::Duplicate);
}

#[test]
fn a_crash_undoes_only_the_last_fins() {
    let told = |end, at: u64| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0).answered(Op::Fence, 5, 6, ANN);
            s.life_ends(end, at).comes(at + 50, EVE, 0, 2).fin(at + 51, EVE, 0);
        })
    };
    assert_eq!(told(Op::Crash, 20).good().counts.again_after_crash, 1);
    told(Op::Crash, 500).bad(Rule::Duplicate);
    // SIGTERM undoes nothing that was processed.
    told(Op::Stop, 20).bad(Rule::Duplicate);
    let mut wider = told(Op::Crash, 500);
    wider.rules.finish_window = Duration::from_secs(1);
    wider.good();
}

#[test]
fn a_fin_before_close_wait_is_never_undone() {
    let told = |closed_at| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0);
            s.answered(Op::CloseWait, 5, closed_at, ANN);
            s.life_ends(Op::Crash, 10).comes(50, EVE, 0, 2).fin(51, EVE, 0);
        })
    };
    told(6).bad(Rule::Barrier);
    told(12).good();
}

#[test]
fn what_was_in_flight_at_a_crash_comes_again() {
    story(|s| {
        s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).life_ends(Op::Crash, 10);
        s.comes(50, EVE, 0, 1).fin(51, EVE, 0);
    })
    .good();
    story(|s| done(s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).life_ends(Op::Crash, 10))).bad(Rule::Lost);
}

#[test]
fn an_mpub_is_there_as_a_whole_or_not_at_all() {
    story(|s| done(s.publish(1, 0, 3))).good();
    story(|s| done(s.publish(1, 0, 3).comes(3, ANN, 0, 1).fin(4, ANN, 0).comes(5, ANN, 1, 1).fin(6, ANN, 1)))
        .bad(Rule::TornBatch);
}

#[test]
fn a_publishers_order_is_kept_on_a_channel_with_one_consumer() {
    let told = |order: [u32; 3]| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).publish(3, 1, 2).ok(4, 1);
            for (ms, number) in (5..).zip(order) {
                s.comes(ms, ANN, number, 1);
            }
            for number in 0..3 {
                s.fin(9, ANN, number);
            }
        })
    };
    assert_eq!(told([0, 1, 2]).good().counts.ordered, 3);
    told([1, 0, 2]).bad(Rule::Order);
    told([0, 2, 1]).bad(Rule::Order);
    let mut shared = told([2, 1, 0]);
    shared.history.channels[0].is_single = false;
    shared.good();
}

#[test]
fn what_a_crash_left_unfinished_comes_again_in_order_and_first() {
    let told = |order: [u32; 3]| {
        story(|s| {
            s.publish(1, 0, 3).ok(2, 0).comes(3, ANN, 0, 1).comes(4, ANN, 1, 1).life_ends(Op::Crash, 10);
            for (ms, number) in (50..).zip(order) {
                s.comes(ms, EVE, number, 1 + u16::from(number < 2)).fin(60, EVE, number);
            }
        })
    };
    told([0, 1, 2]).good();
    told([2, 0, 1]).bad(Rule::Order);
    told([1, 0, 2]).bad(Rule::Order);
}

#[test]
fn what_was_given_back_has_no_order() {
    story(|s| {
        s.publish(1, 0, 2).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 0).comes(5, ANN, 1, 1);
        s.comes(6, ANN, 0, 2).fin(7, ANN, 0).fin(8, ANN, 1);
    })
    .good();
}

#[test]
fn a_deferred_message_is_neither_early_nor_very_late() {
    let told =
        |at: u64| story(|s| done(s.defer(1, 0, 1, 100).ok(2, 0).comes(at, ANN, 0, 1).fin(at + 1, ANN, 0)));
    told(90).bad(Rule::Early);
    assert_eq!(told(131).good().counts.late_max, 30 * MS);
    told(40_000).bad(Rule::Late);
}

#[test]
fn the_time_a_broker_is_down_does_not_make_a_message_late() {
    story(|s| {
        s.defer(1, 0, 1, 100).ok(2, 0).life_ends(Op::Crash, 50_000);
        s.comes(50_010, EVE, 0, 1).fin(50_011, EVE, 0);
    })
    .good();
}

#[test]
fn a_deferral_survives_a_crash() {
    story(|s| {
        s.defer(1, 0, 1, 1000).ok(2, 0).life_ends(Op::Crash, 10);
        s.comes(20, EVE, 0, 1).fin(21, EVE, 0);
    })
    .bad(Rule::Early);
}

#[test]
fn a_requeued_message_waits_its_time_also_across_a_crash() {
    let told = |at: u64| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 500);
            s.answered(Op::Fence, 5, 6, ANN).comes(at, ANN, 0, 2).fin(at + 1, ANN, 0);
        })
    };
    told(504).good();
    told(400).bad(Rule::Early);
    let crashed = |crash| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 500);
            s.answered(Op::Fence, 5, 6, ANN).life_ends(Op::Crash, crash);
            s.comes(crash + 9, EVE, 0, 2).fin(crash + 10, EVE, 0);
        })
    };
    // Within the window the crash may have undone the REQ.
    crashed(20).good();
    crashed(300).bad(Rule::Early);
}

#[test]
fn attempts_rise_and_a_crash_costs_one_at_most() {
    let told = |attempts| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 0).comes(5, ANN, 0, 2);
            s.requeue(6, ANN, 0, 0).comes(7, ANN, 0, 3).life_ends(Op::Crash, 10);
            s.comes(50, EVE, 0, attempts).fin(51, EVE, 0);
        })
    };
    told(4).good();
    told(3).good();
    told(2).bad(Rule::Attempts);
    told(1).bad(Rule::Attempts);
}

#[test]
fn attempts_do_not_repeat_without_a_crash_nor_begin_above_one_without_a_reason() {
    story(|s| {
        s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 0);
        s.comes(5, BEN, 0, 1).fin(6, BEN, 0);
    })
    .bad(Rule::Attempts);
    let told = |hidden: bool| {
        story(|s| {
            s.publish(1, 0, 1).ok(2, 0);
            if hidden {
                s.ended(2, BEN);
            }
            s.comes(3, ANN, 0, 2).fin(4, ANN, 0);
        })
    };
    told(false).bad(Rule::Attempts);
    told(true).good();
}

#[test]
fn an_id_is_one_messages_also_over_rounds() {
    let mut told = story(|s| {
        s.publish(1, 0, 2).ok(2, 0).comes(3, ANN, 0, 1).fin(4, ANN, 0).comes(5, ANN, 1, 1).fin(6, ANN, 1);
    });
    let mut past = Past::default();
    assert!(check(&told.history, &told.rules, &mut past).is_good());
    let again = check(&told.history, &told.rules, &mut past);
    assert_eq!(again.total(Rule::IdReused), 2);
    for event in told.history.events.iter_mut().filter(|event| event.op == Op::Delivered) {
        event.id = 55;
    }
    told.bad(Rule::IdReused);
}

#[test]
fn id_and_timestamp_stay_at_a_redelivery() {
    let told = |change: &dyn Fn(&mut Event)| {
        let mut told = story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).ended(4, ANN).fin(6, BEN, 0).comes(5, BEN, 0, 2);
        });
        told.history.events.last_mut().map(change).unwrap();
        told
    };
    told(&|_| ()).good();
    told(&|event| event.arg = 8).bad(Rule::Identity);
    told(&|event| event.id = 8).bad(Rule::Identity);
}

#[test]
fn a_power_cut_takes_only_what_was_written_within_the_window() {
    let told = |acked, window| {
        let mut told = story(|s| done(s.publish(1, 0, 1).ok(acked, 0).life_ends(Op::Crash, 1000)));
        told.rules.loss_window = Duration::from_millis(window);
        told
    };
    assert_eq!(told(900, 200).good().counts.lost_in_window, 1);
    told(700, 200).bad(Rule::Lost);
    told(999, 0).bad(Rule::Lost);
    // What was acknowledged after the cut is not excused by it.
    told(1001, 200).bad(Rule::Lost);
}

#[test]
fn a_power_cut_may_take_what_was_just_delivered() {
    let told = |delivered: u64, acked: bool| {
        let mut told = story(|s| {
            s.publish(1, 0, 1).comes(delivered, ANN, 0, 1).life_ends(Op::Crash, 1000);
            if acked {
                s.ok(delivered, 0);
            }
        });
        told.rules.loss_window = Duration::from_millis(200);
        told
    };
    for acked in [false, true] {
        assert_eq!(told(900, acked).good().counts.lost_in_window, 1);
        told(700, acked).bad(Rule::Lost);
    }
    // At fsync, nobody was told OK yet: what a consumer saw of it may go.
    let mut unsynced = told(900, false);
    (unsynced.rules.loss_window, unsynced.rules.unacked_window) =
        (Duration::ZERO, Duration::from_millis(200));
    unsynced.good();
    let mut acked = told(900, true);
    (acked.rules.loss_window, acked.rules.unacked_window) = (Duration::ZERO, Duration::from_millis(200));
    acked.bad(Rule::Lost);
}

#[test]
fn a_power_cut_forgets_only_the_attempts_of_its_window() {
    let told = |attempts, window| {
        let mut told = story(|s| {
            s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 1).requeue(4, ANN, 0, 0).comes(700, ANN, 0, 2);
            s.requeue(701, ANN, 0, 0).comes(950, ANN, 0, 3).requeue(951, ANN, 0, 0).comes(990, ANN, 0, 4);
            s.life_ends(Op::Crash, 1000).comes(1100, EVE, 0, attempts).fin(1101, EVE, 0);
        });
        told.rules.requeue_window = Duration::from_millis(window);
        told
    };
    told(4, 0).good();
    told(3, 0).bad(Rule::Attempts);
    told(2, 200).good();
    told(1, 200).bad(Rule::Attempts);
}

#[test]
fn a_power_cut_takes_a_batch_as_a_whole() {
    let mut told = story(|s| {
        s.publish(1, 0, 2).ok(900, 0).life_ends(Op::Crash, 1000).comes(1100, EVE, 0, 1).fin(1101, EVE, 0);
    });
    told.rules.loss_window = Duration::from_millis(200);
    told.bad(Rule::TornBatch);
}

#[test]
fn a_message_of_a_finished_round_does_not_come_back() {
    let mut told = story(|s| done(s.comes(3, ANN, 0, 1).fin(4, ANN, 0)));
    told.history.round = 1;
    told.bad(Rule::Duplicate);
}

#[test]
fn a_publisher_has_no_channel() {
    let told = story(|s| {
        s.opened(PUBLISHER, 1, NO_CHANNEL).ended(2, PUBLISHER);
        s.publish(1, 0, 1).ok(2, 0).comes(3, ANN, 0, 2).fin(4, ANN, 0);
    });
    told.bad(Rule::Attempts);
}
