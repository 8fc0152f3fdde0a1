//! Rules of messages deferred until far away, of which little is kept until their time comes.

use super::rules;

rules! {
    a_far_deferral_comes_in_time:
        "c1 sub | c1 rdy 9 | dpub 10m a | c deferred 1 depth 0 | +599s | c1 gets nothing | c deferred 1 depth 0 | +1s |
         c1 gets a | c deferred 0 inflight 1 | +60s | c1 gets a 2 | c1 fin a | c floor end";
    a_far_deferral_is_ready_without_consumers: "chan c | dpub 10m a b | +10m | c deferred 0 depth 2 | c1 sub | c1 rdy 9 | c1 gets a b";
    far_deferrals_of_different_times_come_each_in_its_own:
        "c1 sub | c1 rdy 9 | dpub 20m a | dpub 10m b | dpub 11m d | pub e | c1 gets e | c1 fin e | +10m | c1 gets b | c1 fin b | c deferred 2 |
         +59s | c1 gets nothing | +1s | c1 gets d | c1 fin d | +539s | c1 gets nothing | c floor a | +1s | c1 gets a";
    near_and_far_deferrals_come_in_order_of_time:
        "c1 sub | c1 rdy 9 | dpub 5m a | dpub 10s b | dpub 2m d | c deferred 3 | +10s | c1 gets b | c1 fin b | +110s | c1 gets d | c1 fin d | +3m | c1 gets a";
    a_far_deferral_holds_the_floor:
        "c1 sub | c1 rdy 9 | pub a | dpub 10m b | pub d | c1 gets a d | c1 fin a | c1 fin d | c floor b | +10m | c1 gets b | c1 fin b | c floor end";
    a_far_deferral_cannot_be_finished: "c1 sub | c1 rdy 9 | dpub 10m a | c1 fin a fails ID not in flight | c1 touch a fails ID not in flight | c deferred 1";
    emptying_forgets_far_deferrals: "c1 sub | c1 rdy 9 | dpub 10m a b | empty c | c deferred 0 floor end | +20m | c1 gets nothing | c depth 0";
    a_far_deferral_after_emptying_comes: "c1 sub | c1 rdy 9 | dpub 10m a | empty c | dpub 10m b | c deferred 1 | +10m | c1 gets b";
    far_deferrals_below_a_cut_are_forgotten:
        "c1 sub | c1 rdy 9 | dpub 10m a b d | drop below d | c deferred 1 | +10m | c1 gets d | c lost 0";
    a_far_deferral_that_is_due_while_cold_is_asked_for:
        "chan c | dpub 10m a b | cold a | cold b | +9m | c misses nobody | +1m | c misses a | c deferred 2 depth 0 | load a | c misses b |
         load b | c deferred 0 depth 2 | c1 sub | c1 rdy 9 | c1 gets a b";
    cold_far_deferrals_hold_up_nobody:
        "c1 sub | c1 rdy 9 | dpub 10m a | cold a | +10m | pub b | c1 gets b | c misses a | load a | c1 gets a";
    emptying_while_a_far_deferral_is_looked_up: "chan c | dpub 10m a b | cold b | +10m | c misses b | empty c | c deferred 0 depth 0 | load b | c depth 0";
    a_cut_while_far_deferrals_are_looked_up: "chan c | dpub 10m a b | cold b | +10m | c misses b | drop below b | c deferred 1 | load b | c deferred 0 depth 1";
    a_damaged_far_deferral_is_given_up_when_it_is_due:
        "c1 sub | c1 rdy 9 | dpub 10m a b d | damage b | c deferred 3 lost 0 | +10m | c1 gets a d | c deferred 0 lost 1 | c1 fin a | c floor d";
    a_far_deferral_given_up_is_not_owed_after_a_restart:
        "c1 sub | c1 rdy 9 | dpub 10m a b d | damage b | +10m | c1 gets a d | c lost 1 | save | crash | c deferred 0 depth 2";
    far_deferrals_looked_up_late_come_in_order_of_time:
        "chan c | dpub 12m a | dpub 11m b | cold a | +12m | c misses a | load a | c1 sub | c1 rdy 9 | c1 gets b a";
    what_is_damaged_between_far_deferrals_is_not_given_up_by_them:
        "c1 sub timeout 15m | c1 rdy 9 | dpub 10m a | pub b | dpub 10m d | c1 gets b | damage b | +10m | c1 gets a d | c inflight 3 lost 0 | c1 fin b | c lost 0";
    what_follows_a_deferral_is_asked_for_even_if_nobody_waits:
        "chan c | pause topic | dpub 10m a b d | pub e | cold b | cold e | unpause topic | c misses b | c deferred 1 | load b | c misses e |
         c deferred 3 depth 1 | load e | cold e | pub f | c misses nobody | c depth 2";
    a_paused_channel_looks_up_far_deferrals: "c1 sub | c1 rdy 9 | dpub 10m a | pause c | +10m | c deferred 0 depth 1 | unpause c | c1 gets a";
    a_far_deferral_publishes_nothing_to_new_channels: "chan c | dpub 10m a | chan d | c deferred 1 | d deferred 0 depth 0";

    a_far_deferral_keeps_its_time_over_a_restart:
        "c1 sub | c1 rdy 9 | dpub 10m a | pub b | c1 gets b | c1 fin b | save | crash | c deferred 1 depth 0 | c1 sub | c1 rdy 9 | +599s |
         c1 gets nothing | +1s | c1 gets a";
    a_deferral_behind_what_is_owed_is_counted_over_a_restart:
        "c1 sub | c1 rdy 9 | pub a | dpub 10m b | pub d | c1 gets a d | save | crash | c deferred 1 depth 2 | c1 sub | c1 rdy 9 | c1 gets a 2 d 2 |
         c deferred 1 | +60s | c1 gets a 3 d 3 | c1 fin a | c1 fin d | +9m | c1 gets b";
    a_cold_deferral_is_asked_for_after_a_restart:
        "c1 sub | c1 rdy 9 | dpub 10m a | pub b | c1 gets b | c1 fin b | save | cold a | crash | c misses a | load a | c misses nobody | +9m | c deferred 1 | +1m | c depth 1 deferred 0";
    a_deferral_that_was_due_during_the_restart_is_ready:
        "c1 sub | c1 rdy 9 | dpub 10m a | pub b | c1 gets b | c1 fin b | save | pause topic | cold a | crash | +20m | load a | c depth 1 deferred 0";
    a_deferral_delivered_and_requeued_is_not_untouched_after_a_restart:
        "c1 sub | c1 rdy 9 | dpub 2m a | save | +2m | c1 gets a | c1 req a 10m | save | crash | c deferred 1 | c1 sub | c1 rdy 9 | +599s | c1 gets nothing |
         +1s | c1 gets a 2";
    an_untouched_deferral_finished_later_stays_finished:
        "c1 sub | c1 rdy 9 | pub z | c1 gets z | dpub 90s a | save | +90s | c1 gets z 2 a | c1 fin a | save | crash | c deferred 0 depth 1 |
         c1 sub | c1 rdy 9 | c1 gets z 3";
    deferrals_survive_two_restarts:
        "c1 sub | c1 rdy 9 | dpub 10m a | pub b | c1 gets b | save | crash | save | crash | c deferred 1 depth 1 | c1 sub | c1 rdy 9 | c1 gets b 2 | c1 fin b |
         save | crash | c deferred 1 depth 0 | c1 sub | c1 rdy 9 | +10m | c1 gets a";

    what_was_finished_and_is_damaged_is_no_loss:
        "c1 sub | c1 rdy 9 | pub a b d e | c1 gets a b d e | c1 fin b | c1 fin d | save | damage b | damage d | crash | c depth 2 |
         c1 sub | c1 rdy 9 | c1 gets a 2 e 2 | c lost 0 depth 0";
    only_what_was_owed_is_lost:
        "c1 sub | c1 rdy 9 | pub a b d e f | c1 gets a b d e f | c1 fin b | c1 fin e | save | damage b | damage d | damage e | crash | c1 sub | c1 rdy 9 |
         c1 gets a 2 f 2 | c lost 1 depth 0";
    what_was_never_read_is_lost_if_damaged:
        "c1 sub | c1 rdy 2 | pub a b d e | c1 gets a b | c1 fin b | c1 rdy 0 | save | damage b | damage d | crash | c1 sub | c1 rdy 9 | c1 gets a 2 e | c lost 1";
    a_hole_up_to_the_end_is_no_loss:
        "c1 sub | c1 rdy 9 | pub a b d | c1 gets a b d | c1 fin b | c1 fin d | save | jump 1000 | damage b | damage d | crash | c1 sub | c1 rdy 9 |
         c1 gets a 2 | c lost 0 depth 0 | pub e | c1 gets e | c1 fin a | c1 fin e | c floor end";

    attempts_of_what_a_lost_consumer_held_are_not_forgotten:
        "c1 sub | c1 rdy 1 | pub a | c1 gets a | c1 gone | save | c2 sub | c2 rdy 1 | c2 gets a 2 | c2 gone | save | crash | c1 sub | c1 rdy 1 | c1 gets a 3";
}

#[test]
fn a_deferral_is_told_as_untouched_and_not_as_pending() {
    let mut world = super::World::default();
    for step in ["c1 sub", "c1 rdy 9", "pub a", "dpub 10m b d", "dpub 5s e", "pub f", "c1 req a 9s"] {
        world.step(step).unwrap();
    }
    let cursor = world.log.tail();
    let progress = world.channel("c").unwrap().progress();
    assert_eq!(format!("{:?} {:?}", progress.untouched, progress.finished), "[1..4] []");
    assert_eq!(progress.pending.iter().map(|entry| (entry.seq, entry.offset)).collect::<Vec<_>>(), [(0, 0)]);
    assert_eq!((progress.delivered, progress.cursor), (5, cursor));
    world.step("+5s").unwrap();
    let progress = world.channel("c").unwrap().progress();
    assert_eq!(
        progress.pending.iter().map(|entry| (entry.seq, entry.attempts)).collect::<Vec<_>>(),
        [(3, 1)]
    );
    assert_eq!(progress.untouched, []);
}
