use realtime_server::{RunningServer, ServerConfig};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Client, start};

const PUBLISHERS: u64 = 3;
const MESSAGES: u64 = 1500;

/// Publishes `MESSAGES` messages and loses its connection again and again, mostly before it has read its receipts.
async fn publish(server: &RunningServer, name: &str) {
    let mut answered = 0;
    let mut burst = 40;
    while answered < MESSAGES {
        let mut client = Client::v1(server, name).await;
        let last = (answered + burst).min(MESSAGES);
        let line = |id: u64| {
            json!({"type": "publish", "id": id, "channel": "room", "event": "e", "payload": format!("{name} {id}")})
                .to_string()
        };
        for id in answered + 1..=last {
            client.say_text(line(id)).await;
        }
        // Of what was sent, some is answered before the cut.
        let read = answered + (last - answered) / 2 + 1;
        while answered < read.min(last) {
            let receipt = client.hear().await;
            assert_eq!(receipt["type"], "receipt", "{receipt}");
            answered = receipt["id"].as_u64().unwrap();
        }
        burst = burst * 5 % 97 + 20;
    }
}

/// Reads until everything has come, and loses its connection again and again.
async fn subscribe(server: &RunningServer, name: &str, patience: u64, begun: &tokio::sync::Barrier) -> Vec<Value> {
    let mut position: Option<(Value, u64)> = None;
    let mut heard = Vec::new();
    loop {
        let mut client = Client::v1(server, name).await;
        let mut request = json!({"type": "subscribe", "id": 1, "channel": "room"});
        if let Some((epoch, offset)) = &position {
            request["since"] = json!({"epoch": epoch, "offset": offset});
        }
        client.say(request).await;
        let subscribed = client.hear().await;
        assert_ne!(subscribed["recovered"], false);
        if position.is_none() {
            begun.wait().await;
        }
        let (epoch, mut offset) = (subscribed["epoch"].clone(), subscribed["offset"].as_u64().unwrap());
        for _ in 0..patience {
            if heard.len() as u64 == PUBLISHERS * MESSAGES {
                return heard;
            }
            let message = client.hear_type("message").await;
            offset += 1;
            assert_eq!(message["offset"], offset);
            heard.push(message["payload"].clone());
        }
        position = Some((epoch, offset));
        // Half of them leave politely.
        if patience.is_multiple_of(2) {
            let _ = futures_util::SinkExt::send(&mut client.socket, Message::Close(None)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_arrives_once_and_in_order_though_connections_are_lost() {
    let server = start(ServerConfig::default()).await;
    // Everybody begins at the beginning.
    let begun = tokio::sync::Barrier::new(5);
    let subscribers = async {
        tokio::join!(
            subscribe(&server, "s1", 37, &begun),
            subscribe(&server, "s2", 250, &begun),
            subscribe(&server, "s3", 1001, &begun),
            subscribe(&server, "s4", u64::MAX, &begun)
        )
    };
    let publishers = async {
        begun.wait().await;
        tokio::join!(publish(&server, "p1"), publish(&server, "p2"), publish(&server, "p3"))
    };
    let ((s1, s2, s3, s4), _) = tokio::join!(subscribers, publishers);
    for heard in [&s1, &s2, &s3] {
        assert_eq!(heard, &s4, "everybody heard the same");
    }
    for publisher in ["p1", "p2", "p3"] {
        let own: Vec<_> = s4.iter().filter_map(|payload| payload.as_str()?.strip_prefix(publisher)).collect();
        let expected: Vec<_> = (1..=MESSAGES).map(|id| format!(" {id}")).collect();
        assert_eq!(own, expected);
    }
    assert!(server.stats().duplicates > 0, "receipts were lost on the way");
}
