use std::time::Duration;

use realtime_client::{Client, PresenceEvent, PresenceStatus, Status};
use realtime_server::{Server, ServerConfig};
use realtime_testing::FaultProxy;
use serde_json::{Value, json};

use crate::support::{quick, server, until_status, within};

#[tokio::test]
async fn users_are_told_with_everything_that_is_known() {
    let server = server().await;
    let ann = Client::connect(server.url()).await.unwrap();
    let ben = Client::connect(server.url()).await.unwrap();
    let mut watch = ben.channel("room").unwrap().presence().unwrap().watch().await.unwrap();
    let presence = ann.channel("room").unwrap().presence().unwrap();
    within(presence.track(Some("ann"), PresenceStatus::Busy, &json!({"name": "Ann"}))).await.unwrap();
    assert!(presence.is_tracked());
    // Nobody was there; that is told first.
    let joined = loop {
        match within(watch.recv()).await.unwrap() {
            PresenceEvent::Join(user) => break user,
            PresenceEvent::Synced => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((&*joined.id, joined.verified, joined.is_self, joined.connections), ("ann", false, false, 1));
    assert_eq!((joined.status, joined.state::<Value>().unwrap()), (PresenceStatus::Busy, json!({"name": "Ann"})));
    assert!(joined.joined_at == joined.last_seen && joined.joined_at > 1_500_000_000_000);
    assert_eq!(watch.get("ann").unwrap().id, "ann");
    assert!(watch.get("ben").is_none());
    within(presence.untrack()).await.unwrap();
    within(watch.until(<[_]>::is_empty)).await.unwrap();
    assert_eq!(within(presence.set_status(PresenceStatus::Away)).await.unwrap_err().code(), "not_tracked");
    assert_eq!(
        within(presence.track(None, PresenceStatus::Online, "text")).await.unwrap_err().code(),
        "invalid_record"
    );
}

#[tokio::test]
async fn a_reconnect_within_the_grace_period_is_seen_by_nobody() {
    let mut config = ServerConfig::default();
    config.hub.presence.grace = Duration::from_secs(15);
    let server = Server::new(config).start().await.unwrap();
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let ann = Client::connect(quick(proxy.url())).await.unwrap();
    let ben = Client::connect(server.url()).await.unwrap();
    let presence = ann.channel("room").unwrap().presence().unwrap();
    within(presence.track(Some("ann"), PresenceStatus::Online, &json!({}))).await.unwrap();
    let mut watch = within(ben.channel("room").unwrap().presence().unwrap().watch()).await.unwrap();
    within(watch.until(|users| users.len() == 1)).await.unwrap();
    let mut status = ann.events();
    proxy.cut_connections();
    until_status(&mut status, Status::Reconnecting).await;
    within(presence.update(&json!({"n": 1}))).await.unwrap();
    loop {
        match within(watch.recv()).await.unwrap() {
            PresenceEvent::Update(user) => break assert_eq!(user.state::<Value>().unwrap(), json!({"n": 1})),
            PresenceEvent::Synced => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_only_watches_is_not_there_and_leaves_the_subscription_with_the_watch() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let presence = client.channel("room").unwrap().presence().unwrap();
    let watch = within(presence.watch()).await.unwrap();
    let other = within(presence.watch()).await.unwrap();
    assert!(watch.users().is_empty() && !presence.is_tracked());
    drop(watch);
    within(presence.track(Some("ann"), PresenceStatus::Online, &json!({}))).await.unwrap();
    within(other.until(|users| users.iter().any(|user| user.is_self))).await.unwrap();
    drop(other);
    within(presence.untrack()).await.unwrap();
    let again = within(presence.watch()).await.unwrap();
    within(again.until(<[_]>::is_empty)).await.unwrap();
}
