//! Rules of a restart: what was saved stays finished, what was not comes back, attempts and due times survive.

use super::rules;

rules! {
    an_unread_message_survives: "chan c | pub a | crash | c depth 1 | c1 sub | c1 rdy 1 | c1 gets a";
    without_saving_everything_comes_again:
        "c1 sub | c1 rdy 9 | pub a b | c1 gets a b | c1 fin a | crash | c depth 2 | c1 sub | c1 rdy 9 | c1 gets a b";
    saved_finishes_stay_finished:
        "c1 sub | c1 rdy 9 | pub a b d | c1 gets a b d | c1 fin a | save | crash | c depth 2 floor b | c1 sub | c1 rdy 9 | c1 gets b 2 d 2";
    finishes_above_the_floor_are_skipped:
        "c1 sub | c1 rdy 9 | pub a b d e | c1 gets a b d e | c1 fin b | c1 fin d | save | crash | c depth 2 | c1 sub | c1 rdy 9 |
         c1 gets a 2 e 2 | c1 fin a | c floor e | c1 fin e | c floor end";
    messages_in_flight_count_their_attempt:
        "c1 sub | c1 rdy 9 | pub a | c1 gets a | +60s | c1 gets a 2 | save | crash | c1 sub | c1 rdy 9 | c1 gets a 3";
    an_unread_message_counts_no_attempt:
        "c1 sub | c1 rdy 1 | pub a b | c1 gets a | save | crash | c1 sub | c1 rdy 9 | c1 gets a 2 b";
    a_requeued_message_keeps_its_time:
        "c1 sub | c1 rdy 1 | pub a | c1 gets a | c1 req a 60s | save | crash | c deferred 1 depth 0 | c1 sub | c1 rdy 1 | +59s |
         c1 gets nothing | +1s | c1 gets a 2";
    a_requeued_message_whose_time_came_meanwhile_is_ready:
        "c1 sub | c1 rdy 1 | pub a | c1 gets a | c1 req a 10s | save | pause c | +60s | crash | c deferred 1 | +0s | c deferred 0 depth 1 |
         c1 sub | c1 rdy 1 | c1 gets a 2";
    a_deferred_publish_keeps_its_time:
        "c1 sub | c1 rdy 1 | dpub 60s a | pub b | c1 gets b | save | crash | c deferred 1 depth 1 | c1 sub | c1 rdy 9 | c1 gets b 2 | c1 fin b | +60s |
         c1 gets a";
    a_deferred_publish_never_saved_keeps_its_time:
        "chan c | dpub 60s a | crash | c deferred 1 | c1 sub | c1 rdy 1 | +60s | c1 gets a";
    a_deferred_publish_delivered_before_counts_its_attempt:
        "c1 sub | c1 rdy 1 | dpub 5s a | save | +5s | c1 gets a | save | crash | c1 sub | c1 rdy 1 | c1 gets a 2";
    a_deferred_publish_delivered_after_a_restart_counts_its_attempt:
        "chan c | dpub 5s a | save | crash | +5s | c1 sub | c1 rdy 1 | c1 gets a | save | crash | c1 sub | c1 rdy 1 | c1 gets a 2";
    a_second_restart_keeps_what_the_first_knew:
        "c1 sub | c1 rdy 9 | pub a b d | c1 gets a b d | c1 fin b | save | crash | crash | c depth 2 | c1 sub | c1 rdy 9 | c1 gets a 2 d 2";
    a_restart_in_the_middle_of_passing_what_was_known:
        "c1 sub | c1 rdy 9 | pub a b d e | c1 gets a b d e | c1 fin b | c1 req e 90s | save | crash | c1 sub | c1 rdy 1 | c1 gets a 2 | save |
         crash | c depth 2 deferred 1 | c1 sub | c1 rdy 9 | c1 gets a 3 d 2 | +90s | c1 gets a 4 d 3 e 2";
    numbers_may_jump_after_a_restart:
        "c1 sub | c1 rdy 9 | pub a b | c1 gets a b | save | crash | jump 1000000 | pub d | c depth 3 | c1 sub | c1 rdy 9 |
         c1 gets a 2 b 2 d | c1 fin d | c1 fin b | c floor a | c1 fin a | c floor end";
    numbers_may_jump_with_nothing_owed:
        "c1 sub | c1 rdy 9 | pub a | c1 gets a | c1 fin a | save | crash | jump 5000 | pub b | c depth 1 | c1 sub | c1 rdy 9 | c1 gets b | c1 fin b | c floor end";
    counters_begin_anew: "c1 sub | c1 rdy 1 | pub a | c1 gets a | c1 req a 0 | c1 gets a 2 | save | crash | c messages 0 requeued 0 depth 1";
    a_deferred_message_damaged_over_a_restart_is_owed_no_longer:
        "c1 sub | c1 rdy 1 | pub a b | c1 gets a | c1 rdy 0 | c1 req a 60s | save | damage a | crash |
         c deferred 0 depth 1 lost 1 | c1 sub | c1 rdy 1 | c1 gets b";
    the_last_message_damaged_over_a_restart_is_owed_no_longer:
        "c1 sub | c1 rdy 1 | pub a | c1 gets a | c1 rdy 0 | c1 req a 60s | save | damage a | crash | c deferred 0 depth 0 lost 1 floor end";
    a_paused_channel_stays_paused: "c1 sub | c1 rdy 9 | pause c | save | pub a | crash | c paused 1 | c1 sub | c1 rdy 1 | c1 gets nothing | unpause c | c1 gets a";
    a_paused_topic_stays_paused: "chan c | pub a | pause topic | pub b | crash | topic depth 1 | c depth 1 | unpause topic | c depth 2";
    a_topic_without_channels_keeps_its_backlog: "pub a b | crash | topic depth 2 | chan c | c depth 2";
    an_emptied_channel_stays_empty: "c1 sub | c1 rdy 1 | pub a b | c1 gets a | empty c | save | crash | c depth 0 | pub d | c1 sub | c1 rdy 9 | c1 gets d";
}

#[test]
fn progress_tells_what_changed_and_only_once() {
    let mut world = super::World::default();
    for step in ["c1 sub", "c1 rdy 9", "pub a b d e f", "c1 fin b", "c1 fin d", "c1 req f 9s"] {
        world.step(step).unwrap();
    }
    let due = world.now.wall.after(std::time::Duration::from_secs(9));
    let channel = world.channel("c").unwrap();
    assert!(channel.has_progress());
    let progress = channel.progress();
    assert_eq!(progress.floor, (0, 0));
    assert_eq!(format!("{:?}", progress.finished), "[1..3]");
    assert_eq!(progress.delivered, 5);
    assert_eq!(progress.pending, [crate::Pending { seq: 4, offset: 400, attempts: 1, due: Some(due) }]);
    assert!(progress.is_urgent);
    assert!(!channel.has_progress());
    assert_eq!(
        channel.progress(),
        crate::Progress {
            floor: (0, 0),
            delivered: 5,
            cursor: progress.cursor,
            ..crate::Progress::default()
        }
    );
}

#[test]
fn finishing_in_order_is_told_by_the_floor_alone() {
    let mut world = super::World::default();
    for step in ["c1 sub", "c1 rdy 9", "pub a b d", "c1 fin a", "c1 fin b"] {
        world.step(step).unwrap();
    }
    let progress = world.channel("c").unwrap().progress();
    assert_eq!((progress.floor, progress.finished.len(), progress.is_urgent), ((2, 200), 0, false));
}
