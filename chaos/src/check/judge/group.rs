//! One message on one channel: each delivery after the first needs a cause, and the last one an end.

use super::super::facts::{Batch, Conn};
use super::super::nanos;
use super::super::order::First;
use super::super::verdict::Rule;
use super::{Judge, lines, ms};
use crate::history::{Event, Op, key_text};

/// A delivery, and what its consumer did about it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    event: Event,
    life: u64,
    finish: Option<u64>,
    /// When, and for how long.
    requeue: Option<(u64, u64)>,
    /// When its timeout began, for all we know: at its dispatch or at a TOUCH.
    armed: u64,
}

/// Why a message came again.
enum Cause {
    Timeout,
    Connection,
    Requeue,
    Crash,
    /// None, or one that was ruled out; and why.
    Illegal(Rule, String),
}

impl<'a> Judge<'a> {
    pub(super) fn group(&mut self, batch: &Batch, channel: u8, items: &'a [Event]) {
        let sent = self.sent(batch, items);
        if let Some(corrupt) = items.iter().find(|item| item.op == Op::Corrupt) {
            let name = self.channel_name(channel);
            self.verdict
                .report(Rule::Corrupt, || format!("{} on {name}\n{}", key_text(corrupt.key), lines(items)));
        }
        let mut is_clean = batch.delay == 0;
        for (index, delivery) in sent.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|before| sent.get(before));
            self.due(batch, channel, before.is_none(), delivery, items);
            match before {
                None => self.first(batch, channel, delivery, items),
                Some(before) => {
                    is_clean &= self.again(channel, before, delivery, items);
                    let earlier = sent.get(..index).unwrap_or_default();
                    self.attempts(channel, before, earlier, delivery, items);
                }
            }
            if is_clean && before.is_none_or(|before| before.life != delivery.life) {
                self.note_order(batch, channel, delivery);
            }
        }
        if let Some(last) = sent.last() {
            self.end(batch, channel, last, items);
        }
    }

    /// The deliveries as the broker sent them. Two connections may have been read the other way round; attempts rise in
    /// a life.
    fn sent(&self, batch: &Batch, items: &[Event]) -> Vec<Sent> {
        let mut sent: Vec<Sent> = items
            .iter()
            .filter(|item| item.op == Op::Delivered)
            .map(|event| Sent {
                event: *event,
                life: self.conn(event.conn).map_or(0, |conn| conn.life),
                finish: None,
                requeue: None,
                armed: event.since,
            })
            .collect();
        sent.sort_by_key(|sent| (sent.life, sent.event.attempts, sent.event.at));
        // It was not dispatched before there was something to dispatch.
        let mut possible = batch.at.saturating_add(batch.delay);
        for sent in &mut sent {
            let stalled = sent.event.since.saturating_sub(nanos(self.rules.stall_max));
            sent.armed = possible.max(stalled).min(sent.event.since);
            possible = sent.event.at;
        }
        for item in items {
            // What a consumer does is about the last delivery it has read.
            let about =
                sent.iter_mut().filter(|sent| sent.event.conn == item.conn && sent.event.at < item.at);
            let Some(about) = about.max_by_key(|sent| sent.event.at) else { continue };
            let has_failed =
                |op| self.conn(item.conn).is_some_and(|conn| conn.has_failed(op, about.event.id, item.at));
            match item.op {
                Op::Finish if !has_failed(Op::FinishFailed) => about.finish = Some(item.at),
                Op::Requeue if !has_failed(Op::RequeueFailed) => about.requeue = Some((item.at, item.arg)),
                Op::Touch if !has_failed(Op::TouchFailed) => about.armed = item.at,
                _ => {}
            }
        }
        sent
    }

    fn conn(&self, number: u32) -> Option<&'a Conn> {
        self.facts.conns.get(&number)
    }

    /// Not before its time, and not long after.
    fn due(&mut self, batch: &Batch, channel: u8, is_first: bool, delivery: &Sent, items: &[Event]) {
        if batch.delay == 0 {
            return;
        }
        let due = batch.at + batch.delay;
        let at = delivery.event.at;
        if at.saturating_add(nanos(self.rules.clock_slack)) < due {
            let name = self.channel_name(channel);
            self.verdict.report(Rule::Early, || {
                let key = key_text(delivery.event.key);
                format!("{key} came at {} on {name}, due at {}\n{}", ms(at), ms(due), lines(items))
            });
        }
        if !is_first {
            return;
        }
        let late = at.saturating_sub(due.max(self.facts.ready_before(at)));
        self.verdict.counts.deferred += 1;
        self.verdict.counts.late_max = self.verdict.counts.late_max.max(late);
        if late > nanos(self.rules.late_max) {
            let name = self.channel_name(channel);
            self.verdict.report(Rule::Late, || {
                format!("{} came {} after it was due, on {name}", key_text(delivery.event.key), ms(late))
            });
        }
    }

    /// The first delivery we saw: if it says that there were others, something must have hidden them from us.
    fn first(&mut self, batch: &Batch, channel: u8, delivery: &Sent, items: &[Event]) {
        if delivery.event.attempts == 1 {
            return;
        }
        let (from, to) = (batch.at, delivery.event.at);
        let crashed = self.facts.ends.values().any(|end| (from..=to).contains(&end.at));
        // The broker notices an end a little later than we do, and delivers to nobody meanwhile.
        let slack = nanos(self.rules.timeout_slack);
        let is_hidden = crashed
            || self.facts.conns.values().any(|conn| {
                conn.channel == channel
                    && conn
                        .ended
                        .is_some_and(|(began, ended)| began <= to && ended.saturating_add(slack) >= from)
            });
        if delivery.event.attempts == 0 || !is_hidden {
            let name = self.channel_name(channel);
            let attempts = delivery.event.attempts;
            self.verdict.report(Rule::Attempts, || {
                let key = key_text(delivery.event.key);
                format!("{key} came first with attempts {attempts} on {name}\n{}", lines(items))
            });
        }
    }

    /// A delivery after another one. Says whether the message keeps its place in the order.
    fn again(&mut self, channel: u8, before: &Sent, delivery: &Sent, items: &[Event]) -> bool {
        let cause = self.cause(before, delivery);
        let counts = &mut self.verdict.counts;
        match cause {
            Cause::Timeout => counts.again_after_timeout += 1,
            Cause::Requeue => counts.again_after_requeue += 1,
            Cause::Connection => counts.again_after_connection += 1,
            Cause::Crash => {
                counts.again_after_crash += 1;
                return before.requeue.is_none();
            }
            Cause::Illegal(rule, why) => {
                let name = self.channel_name(channel);
                self.verdict.report(rule, || {
                    let key = key_text(delivery.event.key);
                    format!("{key} on {name} at {}: {why}\n{}", ms(delivery.event.at), lines(items))
                });
            }
        }
        false
    }

    fn cause(&mut self, before: &Sent, delivery: &Sent) -> Cause {
        if before.life == delivery.life {
            self.cause_alive(before, delivery)
        } else {
            self.cause_restart(before, delivery)
        }
    }

    /// Again in the same life of the broker.
    fn cause_alive(&self, before: &Sent, delivery: &Sent) -> Cause {
        let conn = self.conn(before.event.conn);
        let proof = |at| conn.and_then(|conn| conn.processed_by(at));
        let sent_after = |at: u64| delivery.event.since >= at;
        if let Some(finished) = before.finish.and_then(proof)
            && sent_after(finished)
        {
            return Cause::Illegal(Rule::Duplicate, format!("its FIN was processed by {}", ms(finished)));
        }
        if let Some((at, delay)) = before.requeue {
            return match self.is_early(at, delay, delivery) {
                true if proof(at).is_some() => Cause::Illegal(
                    Rule::Early,
                    format!("requeued at {} for {}, came before its time", ms(at), ms(delay)),
                ),
                _ => Cause::Requeue,
            };
        }
        let slack = nanos(self.rules.timeout_slack);
        let at = delivery.event.at.saturating_add(slack);
        if conn.and_then(|conn| conn.ended).is_some_and(|(began, _)| began <= at) {
            return Cause::Connection;
        }
        let timeout = conn.map_or(0, |conn| conn.timeout);
        if before.armed.saturating_add(timeout) <= at {
            return Cause::Timeout;
        }
        let armed = ms(before.armed);
        Cause::Illegal(
            Rule::Duplicate,
            format!(
                "no REQ, connection {} open, timeout of {} running since {armed}",
                before.event.conn,
                ms(timeout)
            ),
        )
    }

    /// Again after the broker was started again.
    fn cause_restart(&mut self, before: &Sent, delivery: &Sent) -> Cause {
        let Some(end) = self.facts.end_from(before.life) else {
            return Cause::Illegal(Rule::Duplicate, "no end of that life of the broker is known".to_owned());
        };
        let conn = self.conn(before.event.conn);
        let proof = |at| conn.and_then(|conn| conn.processed_by(at));
        let window = if end.is_crash { nanos(self.rules.finish_window) } else { 0 };
        if let Some(finish) = before.finish {
            let barrier = conn.and_then(|conn| conn.barrier_of(finish));
            let barrier_window = if end.is_crash { nanos(self.rules.barrier_window) } else { 0 };
            if let Some(barrier) = barrier.filter(|barrier| barrier.saturating_add(barrier_window) <= end.at)
            {
                return Cause::Illegal(Rule::Barrier, format!("CLOSE_WAIT came at {}", ms(barrier)));
            }
            if let Some(processed) = proof(finish).filter(|processed| *processed <= end.at) {
                let age = end.at - processed;
                if age >= window {
                    let text = format!(
                        "its FIN was processed {} before the broker ended at {}",
                        ms(age),
                        ms(end.at)
                    );
                    return Cause::Illegal(Rule::Duplicate, text);
                }
                self.verdict.counts.undone_max = self.verdict.counts.undone_max.max(age);
            }
        }
        if let Some((at, delay)) = before.requeue
            && proof(at).is_some_and(|processed| processed.saturating_add(window) <= end.at)
            && self.is_early(at, delay, delivery)
        {
            let text = format!("requeued at {} for {}, came before its time", ms(at), ms(delay));
            return Cause::Illegal(Rule::Early, text);
        }
        Cause::Crash
    }

    fn is_early(&self, at: u64, delay: u64, delivery: &Sent) -> bool {
        delivery.event.at.saturating_add(nanos(self.rules.clock_slack)) < at.saturating_add(delay)
    }

    /// Attempts rise; a crash may cost one, and those of its window.
    fn attempts(&mut self, channel: u8, before: &Sent, earlier: &[Sent], delivery: &Sent, items: &[Event]) {
        let is_after_crash =
            before.life != delivery.life && self.facts.crashed_between(before.life, delivery.life);
        let (was, is) = (before.event.attempts, delivery.event.attempts);
        let window = nanos(self.rules.requeue_window);
        let is_known = |sent: &&Sent| {
            let end = self.facts.end_from(sent.life).map_or(0, |end| end.at);
            window == 0 || sent.event.at.saturating_add(window) <= end
        };
        let known = earlier.iter().filter(is_known).map(|sent| sent.event.attempts).max().unwrap_or(1);
        let is_right = is > was || is == u16::MAX || (is_after_crash && is >= known);
        if !is_right {
            let name = self.channel_name(channel);
            self.verdict.report(Rule::Attempts, || {
                let what = if is_after_crash { "a crash" } else { "no crash" };
                let key = key_text(delivery.event.key);
                format!("{key} on {name}: {was}, then {is} with {what} between\n{}", lines(items))
            });
        }
    }

    fn note_order(&mut self, batch: &Batch, channel: u8, delivery: &Sent) {
        let is_single =
            self.facts.history.channels.get(usize::from(channel)).is_some_and(|channel| channel.is_single);
        // Once a connection ended, what it held goes between what is new; attempts say which is which.
        let is_first_conn =
            self.facts.first_conns.get(&(channel, delivery.life)) == Some(&delivery.event.conn);
        if !is_single || !(is_first_conn || delivery.event.attempts == 1) {
            return;
        }
        if let Some(firsts) = self.firsts.get_mut(usize::from(channel)) {
            let Event { conn, at, key, .. } = delivery.event;
            firsts.push(First { conn, at, publisher: batch.conn, published: batch.at, key });
        }
    }

    /// The channel is empty now, so the last delivery must have been finished.
    fn end(&mut self, batch: &Batch, channel: u8, last: &Sent, items: &[Event]) {
        // A FIN on the same connection counts even if it was meant for an earlier delivery that had timed out: that one
        // finishes what is already on its way again, and the FIN of the later delivery is the one that is refused.
        let conn = self.conn(last.event.conn);
        let is_fin = |item: &&Event| item.op == Op::Finish && item.conn == last.event.conn;
        let refused = conn.map_or(0, |conn| conn.failures(Op::FinishFailed, last.event.id));
        let is_finished = last.finish.is_some() || items.iter().filter(is_fin).count() > refused;
        let cut = self.excused(batch.acked, Some(last.event.at));
        if !is_finished && cut.is_some_and(|cut| cut >= last.event.at) {
            self.verdict.counts.lost_in_window += 1;
        } else if !is_finished {
            let name = self.channel_name(channel);
            self.verdict.report(Rule::Lost, || {
                let key = key_text(last.event.key);
                format!(
                    "{key} on {name} was delivered, never finished, and never came again\n{}",
                    lines(items)
                )
            });
        }
    }
}
