use realtime_client::{ChangeKind, Client, Collection, CollectionEvent, CollectionEvents, ErrorKind, Status};
use realtime_server::RunningServer;
use realtime_testing::FaultProxy;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{quick, server, until_status, within};

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Task {
    id: String,
    #[serde(default)]
    n: u64,
}

fn task(id: &str, n: u64) -> Task {
    Task { id: id.into(), n }
}

async fn tasks(url: &str) -> (Client, Collection<Task>) {
    let client = Client::connect(quick(url)).await.unwrap();
    let tasks = client.channel("team").unwrap().collection("tasks").unwrap();
    within(tasks.ready()).await.unwrap();
    (client, tasks)
}

async fn until<T: serde::de::DeserializeOwned>(tasks: &Collection<T>, holds: impl Fn(&Collection<T>) -> bool) {
    let mut events = tasks.events();
    while !holds(tasks) {
        within(events.recv()).await.unwrap();
    }
}

async fn next(events: &mut CollectionEvents<Task>) -> (ChangeKind, Option<Task>, Option<Task>, bool, bool) {
    match within(events.recv()).await.unwrap() {
        CollectionEvent::Changed(change) => {
            (change.kind(), change.record().unwrap(), change.old().unwrap(), change.is_local(), change.is_rollback())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_shows_before_its_future_is_polled_and_is_told_with_what_was_before() {
    let server = server().await;
    let (_client, mine) = tasks(&server.url()).await;
    let mut events = mine.events();
    let saving = mine.insert(&json!({"n": 1}));
    let shown = mine.records().unwrap().remove(0);
    assert_eq!((shown.n, shown.id.len(), mine.revision(&shown.id)), (1, 36, None));
    assert_eq!(within(saving).await.unwrap(), shown);
    drop(mine.update(&shown.id, &json!({"n": 2}))); // which does not take it back
    let changed = Task { n: 2, ..shown.clone() };
    assert_eq!(next(&mut events).await, (ChangeKind::Insert, Some(shown.clone()), None, true, false));
    assert_eq!(next(&mut events).await, (ChangeKind::Update, Some(changed.clone()), Some(shown.clone()), true, false));
    within(mine.insert(&task("z", 0))).await.unwrap(); // behind it
    assert_eq!(server_records(&server), [json!({"id": changed.id, "n": 2}), json!({"id": "z", "n": 0})]);
}

fn server_records(server: &RunningServer) -> Vec<Value> {
    let records = server.records("team", "tasks");
    records.iter().map(|current| serde_json::from_slice(&current.record).unwrap()).collect()
}

#[tokio::test]
async fn what_is_refused_is_taken_back_with_the_record_in_the_error() {
    let server = server().await;
    let (_client, mine) = tasks(&server.url()).await;
    within(mine.insert(&task("a", 1))).await.unwrap();
    let mut events = mine.events();
    let error = within(mine.update_if("a", &json!({"n": 2}), 9)).await.unwrap_err();
    assert_eq!((error.code(), error.revision), ("conflict", Some(1)));
    assert_eq!(serde_json::from_slice::<Task>(&error.record.unwrap()).unwrap(), task("a", 1));
    assert_eq!(next(&mut events).await.1, Some(task("a", 2)));
    let back = (ChangeKind::Update, Some(task("a", 1)), Some(task("a", 2)), true, true);
    assert_eq!(next(&mut events).await, back);
    assert_eq!(within(mine.remove_if("nobody", 1)).await.unwrap_err().code(), "conflict");
    assert_eq!(within(mine.insert(&json!([1]))).await.unwrap_err().code(), "invalid_record");
}

#[tokio::test]
async fn offline_changes_go_out_in_order_and_what_was_missed_comes() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let (ann, mine) = tasks(proxy.url()).await;
    let (_ben, his) = tasks(&server.url()).await;
    let mut status = ann.events();
    proxy.cut();
    until_status(&mut status, Status::Reconnecting).await;
    let saving: Vec<_> = (0..50).map(|n| mine.insert(&task(&format!("{n:02}"), n))).collect();
    assert_eq!(mine.len(), 50);
    within(his.insert(&task("x", 7))).await.unwrap();
    proxy.restore();
    for saved in saving {
        within(saved).await.unwrap();
    }
    until(&mine, |tasks| tasks.len() == 51).await;
    until(&his, |tasks| tasks.len() == 51).await;
    assert_eq!(mine.records().unwrap(), his.records().unwrap());
    assert_eq!(his.revision("00"), Some(2));
}

#[tokio::test]
async fn any_record_can_be_read_raw_and_one_of_another_type_says_so() {
    let server = server().await;
    let client = Client::connect(server.url()).await.unwrap();
    let channel = client.channel("team").unwrap();
    let raw = channel.collection::<Box<RawValue>>("tasks").unwrap();
    within(raw.ready()).await.unwrap();
    let exact = r#"{"id":"a","n":123456789012345678901234567890,"x":1.0}"#;
    within(raw.insert(&RawValue::from_string(exact.into()).unwrap())).await.unwrap();
    assert_eq!(raw.get("a").unwrap().unwrap().get(), exact);
    let typed = channel.collection::<Task>("tasks").unwrap();
    assert_eq!(typed.get("a").unwrap_err().kind, ErrorKind::InvalidPayload);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_not_sent_more_and_loses_nothing() {
    let server = server().await;
    let mut config = quick(&server.url());
    config.inbox.channel = 4000;
    let slow = Client::connect(config).await.unwrap();
    let slow = slow.channel("team").unwrap().collection::<Task>("tasks").unwrap();
    within(slow.ready()).await.unwrap();
    let mut events = slow.events();
    let (_fast, writer) = tasks(&server.url()).await;
    within(writer.insert(&task("a", 0))).await.unwrap();
    for n in 1..300 {
        within(writer.update("a", &json!({"n": n}))).await.unwrap();
    }
    assert!(slow.get("a").unwrap().is_none_or(|task| task.n < 299), "the window was not kept to");
    for n in 0..300 {
        assert_eq!(next(&mut events).await.1, Some(task("a", n)));
    }
}

#[tokio::test]
async fn it_is_kept_in_sync_until_the_last_of_it_is_dropped() {
    let server = server().await;
    let (client, mine) = tasks(&server.url()).await;
    let (_other, writer) = tasks(&server.url()).await;
    let mut events = mine.events();
    drop(mine);
    within(writer.insert(&task("a", 1))).await.unwrap();
    assert_eq!(next(&mut events).await.1, Some(task("a", 1)));
    drop(events);
    within(writer.insert(&task("b", 2))).await.unwrap();
    let again = client.channel("team").unwrap().collection::<Task>("tasks").unwrap();
    within(again.ready()).await.unwrap();
    assert_eq!(again.records().unwrap(), [task("a", 1), task("b", 2)]);
}

#[tokio::test]
async fn a_client_that_is_disconnected_says_so_to_who_waits() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let (client, mine) = tasks(proxy.url()).await;
    let mut status = client.events();
    proxy.cut();
    until_status(&mut status, Status::Reconnecting).await;
    let saving = mine.insert(&task("a", 1));
    let other = client.channel("team").unwrap().collection::<Task>("others").unwrap();
    let (ready, ()) = within(async { tokio::join!(other.ready(), client.disconnect()) }).await;
    assert_eq!(ready.unwrap_err().code(), "closed");
    assert_eq!(within(saving).await.unwrap_err().code(), "closed");
    assert!(mine.is_empty());
}
