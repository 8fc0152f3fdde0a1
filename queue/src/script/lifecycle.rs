//! Rules of topics and channels: who gets the backlog, pausing, emptying, deleting, ephemeral ones, deferred publishes.

use super::rules;

rules! {
    a_topic_without_channels_keeps_its_messages: "pub a b | topic depth 2 messages 2 bytes 2 channels 0";
    the_first_channel_takes_the_backlog:
        "pub a b | chan c | topic depth 0 | c depth 2 messages 2 | c1 sub | c1 rdy 9 | c1 gets a b";
    later_channels_get_only_what_comes:
        "pub a | chan c | chan d | pub b | c depth 2 | d depth 1 | d1 sub to d | d1 rdy 9 | d1 gets b";
    every_channel_gets_every_message:
        "c1 sub to c | d1 sub to d | c1 rdy 9 | d1 rdy 9 | pub a b | c1 gets a b | d1 gets a b | c1 fin a | d inflight 2";
    channels_do_not_disturb_each_other:
        "c1 sub | d1 sub to d | c1 rdy 1 | d1 rdy 1 | pub a | c1 gets a | d1 gets a | c1 req a 0 | c1 gets a 2 | d1 fin a |
         d requeued 0 messages 1 | c requeued 1";
    without_its_last_channel_a_topic_keeps_its_messages_again:
        "chan c | pub a | delete c | pub b | topic depth 1 | chan d | d depth 1 | d1 sub to d | d1 rdy 9 | d1 gets b";
    a_deleted_channel_is_gone_with_its_messages: "chan c | pub a | delete c | chan c | c depth 0";

    a_paused_topic_takes_messages_but_gives_none:
        "c1 sub | c1 rdy 9 | pause topic | pub a b | c1 gets nothing | topic depth 2 | c depth 0 messages 0 | unpause topic |
         c1 gets a b | topic depth 0 | c messages 2";
    pausing_a_topic_leaves_the_channels_backlog: "chan c | pub a | pause topic | c1 sub | c1 rdy 9 | c1 gets a";
    a_channel_of_a_paused_topic_starts_where_fan_out_stands:
        "pub a | pause topic | chan c | pub b | c depth 0 | topic depth 2 | unpause topic | c depth 2";
    a_paused_channel_delivers_nothing:
        "c1 sub | c1 rdy 9 | pause c | pub a | c1 gets nothing | c depth 1 paused 1 | unpause c | c1 gets a | c paused 0";
    a_paused_channel_still_finishes_and_times_out:
        "pub a b | c1 sub | c1 rdy 9 | c1 gets a b | pause c | c1 fin a | +60s | c timeouts 1 depth 1 inflight 0 |
         c1 gets nothing | unpause c | c1 gets b 2";
    a_paused_channel_still_takes_requeues:
        "pub a | c1 sub | c1 rdy 9 | c1 gets a | pause c | c1 req a 5s | +5s | c depth 1 deferred 0 | unpause c | c1 gets a 2";

    emptying_a_channel_forgets_everything:
        "pub a b d e | c1 sub | c1 rdy 3 | c1 gets a b d | c1 rdy 0 | c1 req a 9s | c1 req b 0 | c depth 2 inflight 1 deferred 1 |
         empty c | c depth 0 inflight 0 deferred 0 floor end | c1 has inflight 0 | +99s | c timeouts 0";
    a_finish_after_emptying_fails:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | empty c | c1 fin a fails ID not in flight | pub b | c1 gets b";
    emptying_a_channel_leaves_the_others: "chan c | chan d | pub a | empty c | c depth 0 | d depth 1";
    emptying_does_not_touch_the_counts:
        "pub a | c1 sub | c1 rdy 1 | c1 gets a | c1 req a 0 | c1 gets a 2 | empty c | c messages 1 requeued 1";
    emptying_a_topic_leaves_its_channels:
        "chan c | pub a | pause topic | pub b d | empty topic | topic depth 0 | c depth 1 | unpause topic | pub e |
         c depth 2 messages 2 | c1 sub | c1 rdy 9 | c1 gets a e";
    emptying_a_topic_without_channels: "pub a b | empty topic | topic depth 0 messages 2 | pub d | chan c | c1 sub | c1 rdy 9 | c1 gets d";
    emptying_a_topic_twice:
        "chan c | pub a | pause topic | pub b | empty topic | unpause topic | pub d | pause topic | pub e f | empty topic |
         unpause topic | pub g | c depth 3 messages 3 | c1 sub | c1 rdy 9 | c1 gets a d g | c1 fin a | c1 fin d | c1 fin g | c floor end";
    a_hole_at_the_cursor_is_stepped_over_at_once: "chan c | pause topic | pub a b | empty topic | c depth 0 floor end";

    a_deferred_publish_waits:
        "c1 sub | c1 rdy 9 | dpub 10s a | c depth 0 deferred 1 messages 1 | c1 gets nothing | +9s | c1 gets nothing | +1s |
         c1 gets a | c deferred 0 inflight 1";
    a_deferred_publish_is_deferred_without_consumers: "chan c | dpub 10s a | c deferred 1 depth 0 | +10s | c deferred 0 depth 1";
    a_deferred_publish_does_not_hold_up_others: "c1 sub | c1 rdy 9 | dpub 10s a | pub b | c1 gets b | c floor a | +10s | c1 gets a";
    a_deferred_publish_behind_unread_ones_waits_too:
        "chan c | pub a | dpub 10s b | c depth 2 | c1 sub | c1 rdy 9 | c1 gets a | c deferred 1 depth 0 | +10s | c1 gets b";
    a_deferred_publish_reached_late_is_delivered_at_once:
        "chan c | pub a | dpub 10s b | +60s | c1 sub | c1 rdy 9 | c1 gets a b";
    a_deferred_publish_reaches_every_channel:
        "c1 sub | d1 sub to d | c1 rdy 1 | d1 rdy 1 | dpub 5s a | c deferred 1 | d deferred 1 | +5s | c1 gets a | d1 gets a";
    a_paused_channel_takes_up_deferred_publishes: "c1 sub | c1 rdy 9 | pause c | dpub 5s a | c deferred 1 | +5s | c depth 1 | unpause c | c1 gets a";

    an_ephemeral_channel_goes_with_its_last_consumer:
        "c1 sub to c#ephemeral | c2 sub to c#ephemeral | c1 gone | topic channels 1 | c2 gone | no channel c#ephemeral | topic channels 0";
    an_ephemeral_topic_goes_with_its_last_channel: "topic#ephemeral | chan c | chan d | delete c | topic channels 1 | delete d | no topic";
    an_ephemeral_topic_without_channels_stays: "topic#ephemeral | pub a | topic depth 1";
    a_lasting_channel_keeps_an_ephemeral_topic: "topic#ephemeral | c1 sub | c1 gone | topic channels 1";
    an_ephemeral_channel_keeps_the_newest_messages:
        "limit ephemeral 2 | c1 sub to c#ephemeral | pub a | pub b | pub d | pub e | c#ephemeral depth 2 | c1 rdy 9 | c1 gets d e";
    an_ephemeral_channel_without_depth_gives_only_to_who_waits:
        "limit ephemeral 0 | c1 sub to c#ephemeral | pub a | c#ephemeral depth 0 | c1 rdy 2 | pub b d | c1 gets b d | pub e |
         c1 fin b | c1 gets nothing | pub f | c1 gets f";
    a_large_batch_for_an_ephemeral_channel_is_cut:
        "limit ephemeral 3 | c1 sub to c#ephemeral | pub a b d e f g | c#ephemeral depth 3 | c1 rdy 9 | c1 gets e f g";
    an_ephemeral_channel_under_pause_keeps_the_newest:
        "limit ephemeral 1 | c1 sub to c#ephemeral | c1 rdy 9 | pause c#ephemeral | pub a | pub b | unpause c#ephemeral | c1 gets b";

    a_log_that_drops_its_oldest_takes_them_from_the_channel:
        "chan c | pub a b d | drop below d | c depth 1 floor d | c1 sub | c1 rdy 9 | c1 gets d";
    a_dropped_message_in_flight_is_forgotten:
        "c1 sub | c1 rdy 9 | pub a b | c1 gets a b | drop below b | c inflight 1 floor b | c1 has inflight 1 |
         c1 fin a fails ID not in flight | c1 fin b | +60s | c timeouts 0";
    dropped_messages_ready_again_or_deferred_are_forgotten:
        "c1 sub | c1 rdy 2 | pub a b d | c1 gets a b | c1 rdy 0 | c1 req a 0 | c1 req b 5s | drop below d | c depth 1 deferred 0 |
         c1 rdy 9 | c1 gets d | +5s | c1 gets nothing";

    a_cold_message_is_asked_for: "chan c | pub a b | cold a | c1 sub | c1 rdy 9 | c misses a | c1 gets nothing | load a | c1 gets a b";
    a_cold_message_nobody_waits_for_is_not_asked_for: "chan c | pub a | cold a | c1 sub | c depth 1 | c misses nobody";
    a_cold_redelivery_does_not_hold_up_new_messages:
        "c1 sub | c1 rdy 1 | pub a b d | c1 gets a | cold a | c1 rdy 0 | c1 req a 0 | c1 rdy 9 | c misses a | c1 gets b d | load a | c1 gets a 2";
    cold_new_messages_do_not_hold_up_redeliveries:
        "c1 sub | c1 rdy 1 | pub a b | c1 gets a | cold b | c1 req a 0 | c1 gets a 2 | c1 rdy 2 | c misses b | load b | c1 gets b";
    a_damaged_message_is_passed_over:
        "chan c | pub a b d | damage b | c1 sub | c1 rdy 9 | c1 gets a d | c lost 1 depth 0 | c1 fin a | c floor d";
    a_message_damaged_before_redelivery_is_given_up:
        "c1 sub | c1 rdy 1 | pub a b | c1 gets a | damage a | c1 req a 0 | c1 gets b | c lost 1 inflight 1 floor b";
}
