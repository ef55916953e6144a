use std::collections::HashMap;

use realtime_client::{Channel, Client, Subscription, Window};
use realtime_testing::FaultProxy;
use tokio::task::JoinSet;

use crate::support::{quick, server, within};

const MESSAGES: u64 = 400;
const CUTS: u64 = 12;

/// Publishes in the order of its numbers, many at a time; JSON and binary in turns.
async fn publish(room: Channel, name: &'static str) -> u64 {
    let mut sends = JoinSet::new();
    let mut duplicates = 0;
    for n in 0..MESSAGES {
        let room = room.clone();
        sends.spawn(async move {
            match n % 4 {
                0 => room.publish_bytes(name, n.to_string().into_bytes()).await,
                _ => room.publish(name, &n).await,
            }
        });
        // In the order of their numbers, and not all at once.
        tokio::task::yield_now().await;
        if sends.len() >= 20 {
            let receipt = sends.join_next().await.unwrap().unwrap().unwrap();
            duplicates += u64::from(receipt.duplicate);
        }
    }
    while let Some(sent) = sends.join_next().await {
        duplicates += u64::from(sent.unwrap().unwrap().duplicate);
    }
    duplicates
}

/// Reads everything of both publishers; what is not exactly once and in order fails.
async fn receive(mut messages: Subscription) {
    let mut next: HashMap<String, u64> = HashMap::new();
    for offset in 1..=2 * MESSAGES {
        let message = messages.recv().await.unwrap();
        assert_eq!(message.offset(), Some(offset));
        let next = next.entry(message.event().to_owned()).or_default();
        assert_eq!(std::str::from_utf8(message.bytes()).unwrap(), next.to_string(), "of {}", message.event());
        *next += 1;
    }
    assert!(next.values().all(|&count| count == MESSAGES), "{next:?}");
}

#[tokio::test]
async fn every_message_arrives_once_and_in_order_whatever_the_network_does() {
    let server = server().await;
    let proxy = FaultProxy::start(&server.url()).await.unwrap();
    let mut config = quick(proxy.url());
    config.inbox = Window { connection: 16 << 10, channel: 8 << 10 };
    let (alice, bob) = (Client::connect(config.clone()).await.unwrap(), Client::connect(config).await.unwrap());
    let rooms = [alice.channel("room").unwrap(), bob.channel("room").unwrap()];
    let receivers = [rooms[0].subscribe().await.unwrap(), rooms[1].subscribe().await.unwrap()].map(receive);
    let [room_a, room_b] = rooms;

    let chaos = async {
        for n in 0..CUTS {
            // In the middle of whatever is under way.
            proxy.drop_after(1000 + 977 * n);
            while proxy.cuts() <= n {
                tokio::task::yield_now().await;
            }
        }
    };
    let [receive_a, receive_b] = receivers;
    let everything = async { tokio::join!(publish(room_a, "a"), publish(room_b, "b"), receive_a, receive_b) };
    let (_, outcome) = within(async { tokio::join!(chaos, everything) }).await;
    let stats = [alice.stats(), bob.stats()];
    assert_eq!(proxy.cuts(), CUTS);
    // A cut during the handshake ends an attempt, not a connection.
    assert!(stats.iter().map(|stats| stats.reconnects).sum::<u64>() >= CUTS / 2, "{stats:?}");
    assert!(stats.iter().all(|stats| stats.gaps == 0 && stats.failed == 0), "{stats:?}");
    assert!(outcome.0 + outcome.1 > 0, "no receipt was lost on the way: the cuts came at the wrong times");
}
