//! Rules of delivery: ready count, in flight, finish, requeue, touch, timeouts, attempts, turns, sampling.

use super::rules;

rules! {
    a_message_reaches_the_consumer: "pub a | c1 sub | c1 rdy 1 | c1 gets a";
    nothing_is_delivered_before_rdy: "pub a | c1 sub | c1 gets nothing | c depth 1 inflight 0";
    messages_come_in_order: "c1 sub | c1 rdy 10 | pub a b | pub d | c1 gets a b d";
    ready_count_is_a_ceiling_for_what_is_in_flight:
        "pub a b d | c1 sub | c1 rdy 2 | c1 gets a b | c1 fin a | c1 gets d | c1 has inflight 2 ready 2";
    ready_count_is_not_used_up: "c1 sub | c1 rdy 1 | pub a | c1 gets a | c1 fin a | pub b | c1 gets b";
    a_ready_count_below_what_is_in_flight_only_stops_delivery:
        "pub a b d | c1 sub | c1 rdy 2 | c1 gets a b | c1 rdy 1 | c1 fin a | c1 gets nothing | c1 fin b | c1 gets d";
    ready_count_zero_stops_delivery: "c1 sub | c1 rdy 1 | c1 rdy 0 | pub a | c1 gets nothing | c1 rdy 1 | c1 gets a";

    finished_message_is_not_delivered_again: "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 fin a | +1000s | c inflight 0";
    finishing_twice_fails: "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 fin a | c1 fin a fails ID not in flight";
    an_undelivered_message_cannot_be_finished: "pub a | c1 sub | c1 fin a fails ID not in flight | c depth 1";
    a_message_belongs_to_who_got_it:
        "pub a | c1 sub | c2 sub | c1 rdy 1 | c1 gets a | c2 fin a fails client does not own message |
         c2 req a 0 fails client does not own message | c2 touch a fails client does not own message | c1 fin a";
    finishing_counts: "pub a b | c1 sub | c1 rdy 9 | c1 gets a b | c1 fin b | c1 has finished 1 messages 2 inflight 1";
    finishing_out_of_order_keeps_the_floor:
        "pub a b d | c1 sub | c1 rdy 9 | c1 gets a b d | c1 fin b | c floor a | c1 fin a | c floor d | c1 fin d | c floor end";

    a_message_times_out: "pub a | c1 sub | c1 rdy 1 | c1 gets a | +59s | c1 gets nothing | +1s | c1 gets a 2 | c timeouts 1";
    every_timeout_counts_an_attempt: "pub a | c1 sub | c1 rdy 1 | c1 gets a | +3m | c1 gets a 2 a 3 a 4 | c timeouts 3";
    a_timeout_is_the_consumers_own:
        "c1 sub timeout 5s | c2 sub timeout 10s | c1 rdy 1 | pub a | c2 rdy 1 | pub b | c1 gets a | c2 gets b |
         c1 rdy 0 | c2 rdy 0 | +5s | c timeouts 1 inflight 1 depth 1 | +5s | c timeouts 2 depth 2";
    a_finish_after_the_timeout_fails:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 rdy 0 | +60s | c1 fin a fails ID not in flight | c depth 1";
    a_timed_out_message_may_go_to_another_consumer:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 rdy 0 | c2 sub | c2 rdy 1 | +60s | c2 gets a 2 |
         c1 fin a fails client does not own message";
    the_next_timeout_is_known:
        "pub a b | c1 sub | c1 rdy 1 | c1 gets a | +10s | c1 rdy 2 | c1 gets b | c next 50s | c1 fin a | c next 60s";

    requeue_without_delay_delivers_at_once: "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 0 | c1 gets a 2 | c requeued 1";
    requeue_with_delay_waits:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 10s | c deferred 1 inflight 0 depth 0 | +9s | c1 gets nothing |
         +1s | c1 gets a 2 | c deferred 0 | c1 has requeued 1";
    requeue_does_not_count_an_attempt:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 1s | c1 rdy 0 | +1s | c depth 1 | c1 rdy 1 | c1 gets a 2";
    requeued_messages_go_to_the_tail_of_the_ready_ones:
        "pub a b | c1 sub | c1 rdy 2 | c1 gets a b | c1 rdy 0 | c1 req b 0 | c1 req a 0 | c1 rdy 2 | c1 gets b 2 a 2";
    requeuing_twice_fails: "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 9s | c1 req a 9s fails ID not in flight";
    a_deferred_message_cannot_be_finished:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 9s | c1 fin a fails ID not in flight | c deferred 1";
    deferred_messages_come_in_order_of_time:
        "pub a b | c1 sub | c1 rdy 2 | c1 gets a b | c1 req a 9s | c1 req b 5s | +5s | c1 gets b 2 | +4s | c1 gets a 2";
    requeued_and_new_messages_alternate:
        "pub a b | c1 sub | c1 rdy 2 | c1 gets a b | c1 rdy 0 | c1 req a 0 | c1 req b 0 | pub d e | c1 rdy 4 |
         c1 gets a 2 d b 2 e";

    touch_begins_the_timeout_anew:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | +50s | c1 touch a | c next 60s | +59s | c1 gets nothing | +1s | c1 gets a 2";
    touch_ends_with_the_longest_timeout:
        "limit timeout 90s | pub a | c1 sub | c1 rdy 1 | c1 gets a | +50s | c1 touch a | c next 40s | +39s |
         c1 touch a | c1 gets nothing | +1s | c1 gets a 2";
    a_redelivery_has_the_whole_longest_timeout_again:
        "limit timeout 90s | pub a | c1 sub | c1 rdy 1 | c1 gets a | +60s | c1 gets a 2 | +50s | c1 touch a | c next 40s";
    touching_what_is_not_in_flight_fails: "pub a | c1 sub | c1 touch a fails ID not in flight";

    few_messages_are_shared_out: "c1 sub | c2 sub | c1 rdy 9 | c2 rdy 9 | pub a b | c1 gets a | c2 gets b";
    shares_are_batches: "c1 sub | c2 sub | c1 rdy 9 | c2 rdy 9 | pub a b d e | c1 gets a b | c2 gets d e";
    turns_go_around: "c1 sub | c2 sub | c1 rdy 9 | c2 rdy 9 | pub a | pub b | pub d | c1 gets a d | c2 gets b";
    a_full_consumer_leaves_its_share_to_others:
        "c1 sub | c2 sub | c1 rdy 1 | c2 rdy 9 | pub a b d e | c1 gets a | c2 gets b d e";
    a_blocked_socket_is_offered_nothing:
        "c1 sub | c2 sub | c1 rdy 9 | c2 rdy 9 | c1 blocked | pub a b | c2 gets a b | c2 gone | c1 gets nothing |
         c1 unblocked | pub d | c1 gets a 2 b 2 d";
    a_full_buffer_ends_the_turn: "c1 sub | c1 rdy 9 | c1 room 2 | pub a b d | c1 gets a b | c depth 1 | c1 room 5 | pub e | c1 gets d e";

    closing_stops_delivery_but_not_finishing:
        "pub a b d e | c1 sub | c1 rdy 3 | c1 gets a b d | c1 cls | c1 fin a | c1 touch b | c1 req b 0 | c1 gets nothing |
         c depth 2 inflight 1 | c1 has closing 1 ready 0";
    ready_after_closing_is_ignored: "pub a | c1 sub | c1 cls | c1 rdy 5 | c1 gets nothing | c1 has ready 0";
    a_closing_consumers_messages_still_time_out:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 cls | +60s | c1 gets nothing | c depth 1 timeouts 1";

    what_a_lost_consumer_held_is_ready_at_once:
        "pub a b | c1 sub | c1 rdy 2 | c1 gets a b | c2 sub | c1 gone | c depth 2 inflight 0 | c2 rdy 2 | c2 gets a 2 b 2 |
         c requeued 0 timeouts 0";
    what_a_lost_consumer_held_comes_first:
        "pub a b d | c1 sub | c1 rdy 3 | c1 gets a b d | c1 req d 0 | c1 gets d 2 | c1 rdy 0 | c1 req d 0 | c2 sub |
         c1 gone | c2 rdy 3 | c2 gets a 2 b 2 d 3";
    what_a_lost_consumer_deferred_stays_deferred:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 9s | c1 gone | c deferred 1 | c2 sub | c2 rdy 1 | +9s | c2 gets a 2";

    full_sampling_drops_nothing: "c1 sub sample 99 | c1 rdy 100 | pub 1 2 3 4 5 6 7 8 | c1 gets 1 2 3 4 5 6 7 8";
    the_consumers_limit_refuses_one_more:
        "limit consumers 2 | c1 sub | c2 sub | c3 sub fails limit of 2 | c consumers 2 | c2 gone | c3 sub | c consumers 2";
    no_limit_means_any_number: "c1 sub | c2 sub | c3 sub | c4 sub | c consumers 4";
}

#[test]
fn sampling_passes_about_its_rate_and_the_rest_is_gone() {
    let names: Vec<String> = (0..2000).map(|number| format!("m{number}")).collect();
    let mut world = super::World::default();
    for step in ["c1 sub sample 50", "c1 rdy 2500", &format!("pub {}", names.join(" "))] {
        world.step(step).unwrap();
    }
    let passed = world.log.inboxes.remove("c1").unwrap().len();
    // 51 percent of 2000 within five standard deviations.
    assert!((908..1132).contains(&passed), "{passed} passed");
    world.step(&format!("c depth 0 inflight {passed} messages 2000")).unwrap();
}
