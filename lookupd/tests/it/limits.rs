//! What nsqlookupd refuses to keep sane: too many connections, too many registrations, brokers without the token.

use lookupd::Options;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Lookupd, about, start_with};

async fn known(lookupd: &Lookupd) -> String {
    lookupd.get("/topics").await.1
}

#[tokio::test]
async fn broker_that_registers_too_much_keeps_what_it_has() {
    let lookupd = start_with(Options { max_registrations_per_connection: 2, ..Options::default() }).await;
    let mut broker = lookupd.broker("b1").await;
    let refused = "E_INVALID REGISTER failed too many registrations: --max-registrations-per-connection=2";
    for (line, expected) in [
        ("REGISTER t c", "OK"),
        ("REGISTER u", refused),
        ("REGISTER t d", refused),
        ("REGISTER t c", "OK"),
        ("PING", "OK"),
        ("UNREGISTER t c", "OK"),
        ("REGISTER u", "OK"),
    ] {
        assert_eq!(broker.ask(line).await, expected, "{line}");
    }
    assert_eq!(known(&lookupd).await, r#"{"topics":["t","u"]}"#);
}

#[tokio::test]
async fn full_nsqlookupd_takes_no_new_names_and_answers_on() {
    let lookupd = start_with(Options { max_registrations: 2, ..Options::default() }).await;
    assert_eq!(lookupd.post("/topic/create?topic=t").await.0, 200);
    assert_eq!(lookupd.post("/topic/create?topic=u").await.0, 200);
    assert_eq!(lookupd.post("/topic/create?topic=t").await.0, 200);
    let full = (503, r#"{"message":"TOO_MANY_REGISTRATIONS"}"#.to_owned());
    assert_eq!(lookupd.post("/topic/create?topic=v").await, full);
    assert_eq!(lookupd.post("/channel/create?topic=t&channel=c").await, full);
    let mut broker = lookupd.broker("b1").await;
    let refused = "E_INVALID REGISTER failed too many registrations: --max-registrations=2";
    assert_eq!(broker.ask("REGISTER t").await, refused);
    assert_eq!(lookupd.post("/topic/delete?topic=u").await.0, 200);
    assert_eq!(broker.ask("REGISTER t").await, "OK");
    assert_eq!(known(&lookupd).await, r#"{"topics":["t"]}"#);
}

#[tokio::test]
async fn connection_above_the_limit_is_closed_and_the_others_stay() {
    let lookupd = start_with(Options { max_connections: 2, ..Options::default() }).await;
    let (mut first, second) = (lookupd.broker("b1").await, lookupd.broker("b2").await);
    let mut third = lookupd.connect(b"").await;
    assert_eq!(third.reply().await, None);
    assert_eq!(first.ask("PING").await, "OK");
    drop(second);
    // Its task ends a moment after the registry forgot it.
    let mut fourth = lookupd.connect(b"").await;
    while fourth.stream.write_all(b"  V1PING\n").await.is_err() || fourth.reply().await.is_none() {
        fourth = lookupd.connect(b"").await;
    }
}

#[tokio::test]
async fn with_a_token_only_its_bearers_register() {
    let path = std::env::temp_dir().join(format!("nsqlookupd-token-{}", std::process::id()));
    std::fs::write(&path, "s3cret\n").expect("a file");
    let admin_token_file = path.to_string_lossy().into_owned();
    let lookupd = start_with(Options { admin_token_file, ..Options::default() }).await;
    std::fs::remove_file(&path).expect("removed");
    let with = |token: &str| about("b1").replacen('{', &format!(r#"{{"auth_token":{token},"#), 1);
    for body in [about("b1"), with("null"), with(r#""""#), with(r#""s3cret ""#), with(r#""S3CRET""#)] {
        let mut stranger = lookupd.connect(b"  V1").await;
        assert_eq!(stranger.identify(&body).await, "E_UNAUTHORIZED IDENTIFY failed", "{body}");
        assert_eq!(stranger.reply().await, None);
    }
    let mut broker = lookupd.connect(b"  V1").await;
    assert!(broker.identify(&with(r#""s3cret""#)).await.starts_with('{'));
    assert_eq!(broker.ask("REGISTER t").await, "OK");
    for path in ["/lookup?topic=t", "/nodes", "/debug", "/topics"] {
        let (status, body) = lookupd.get(path).await;
        assert_eq!((status, body.contains("s3cret")), (200, false), "{path}");
    }
}

#[tokio::test]
async fn missing_token_file_is_an_error_that_names_it() {
    let options = Options { admin_token_file: "/nowhere/token".to_owned(), ..Options::default() };
    let error = lookupd::serve(options, daemon::shutdown::Shutdown::new(), &daemon::reload::Reload::new())
        .await
        .expect_err("no file");
    let text = error.to_string();
    assert!(text.starts_with("--admin-token-file: cannot use the token in /nowhere/token: "), "{text}");
}

#[tokio::test]
async fn long_texts_of_a_broker_are_kept_in_part() {
    let lookupd = start_with(Options::default()).await;
    let mut broker = lookupd.connect(b"  V1").await;
    let body =
        about("b1").replace(r#""hostname":"h""#, &format!(r#""hostname":"{}""#, "\u{e9}".repeat(1000)));
    assert!(broker.identify(&body).await.starts_with('{'));
    let nodes = lookupd.get("/nodes").await.1;
    assert_eq!(nodes.matches('\u{e9}').count(), 128, "{nodes}");
}
