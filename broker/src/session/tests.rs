//! Sessions on a shard of the test's own: what a panic in one costs, what deadlines wait for, what is counted.

use std::time::Duration;

use queue::Instant;

use crate::shard::tests::{Got, Here};

/// Longer than every deadline.
const LONG_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Let the others go on until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

#[test]
fn a_panic_in_one_session_ends_no_other_and_its_messages_come_back() {
    Here::run(&[], async |here| {
        let (mut publisher, _) = here.connect().await;
        let (mut failing, session) = here.connect().await;
        failing.consume("t", "ch", 1).await;
        publisher.publish("t", "x").await;
        let Got::Message { id, body, attempts: 1 } = failing.receive().await else { panic!("no message") };
        let (mut other, _) = here.connect().await;
        other.consume("t", "ch", 1).await;
        // Its task finds them taken when it reads the next command, which no session is prepared for.
        std::mem::forget(session.replies.borrow_mut());
        failing.send(b"NOP\n").await;
        until("the session is gone", || here.sessions() == 2).await;
        // Nobody else holds it, and with it the socket.
        assert_eq!(std::rc::Rc::strong_count(&session), 1);
        drop(session);
        assert_eq!(failing.receive().await, Got::Closed);
        assert_eq!(other.receive().await, Got::Message { id: id.clone(), body, attempts: 2 });
        other.send(format!("FIN {id}\n").as_bytes()).await;
        publisher.publish("t", "after").await;
        let Got::Message { body, attempts: 1, .. } = other.receive().await else { panic!("no message") };
        assert_eq!(body, "after");
        assert!(!here.shard.broker.is_stopping(), "the process goes on");
        assert_eq!(here.shard.broker.admission.open(), 2, "its place is free");
    });
}

#[test]
fn who_puts_layers_on_is_not_silent() {
    Here::run(&[], async |here| {
        let (mut client, session) = here.connect().await;
        client.publish("t", "x").await;
        let now = session.now_at(&here.shard).instant;
        session.is_upgrading.set(true);
        session.sweep(Instant(now.0 + LONG_NS));
        assert!(!session.is_over.get(), "its handshake has a limit of its own");
        session.is_upgrading.set(false);
        session.sweep(Instant(now.0 + LONG_NS));
        assert!(session.is_over.get());
    });
}

#[test]
fn who_waits_for_the_auth_server_behind_identify_has_opened() {
    // It takes connections, and never answers.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--auth-http-address={}", server.local_addr().unwrap());
    Here::run(&[&flag, "--http-client-request-timeout=10m"], async |here| {
        let (mut client, session) = here.connect().await;
        client.send(b"IDENTIFY\n\0\0\0\x02{}AUTH\n\0\0\0\x01s").await;
        until("it waits for the auth server", || session.waits_for_room.get()).await;
        session.sweep(Instant(session.now_at(&here.shard).instant.0 + LONG_NS));
        assert!(!session.is_over.get(), "its first command was done in time");
    });
}

#[test]
fn what_was_sent_is_not_on_the_way_any_more() {
    Here::run(&[], async |here| {
        let (mut client, session) = here.connect().await;
        client.publish("t", "x").await;
        let large = "x".repeat(4 << 20);
        session.outbox.put(|out| protocol::encode_response(out, large.as_bytes()));
        // As at the end of a session, and before it puts layers on.
        let (sent, got) = tokio::join!(session.send_all(), client.receive());
        assert!(sent.is_ok());
        assert_eq!(got, Got::Text(large));
        assert_eq!(session.outbox.unsent_bytes(), 0);
    });
}
