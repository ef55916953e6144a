//! What the Rust client costs in allocations: something for what is read at once, nothing for each message in it.
#![allow(clippy::unwrap_used)]

#[path = "../../engine/tests/support/allocator.rs"]
mod allocator;

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use allocator::{Counting, allocations};
use realtime_client::{Client, Subscription};
use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept_hdr};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A server on a thread of its own, which sends what it is told to.
struct Peer {
    url: String,
    /// So many frames with so many messages each.
    orders: Sender<(usize, usize)>,
    thread: JoinHandle<()>,
}

impl Peer {
    fn start(channels: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (orders, ordered) = channel();
        let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0, channels, &ordered));
        Self { url, orders, thread }
    }
}

#[allow(clippy::result_large_err)] // The library wants its own type here.
fn serve(stream: TcpStream, channels: usize, ordered: &Receiver<(usize, usize)>) {
    let mut socket = accept_hdr(stream, |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", "realtime.v1".parse().unwrap());
        Ok(response)
    })
    .unwrap();
    let session = next(&mut socket)["session"].to_string();
    let welcome = format!(
        r#"{{"type":"welcome","session":{session},"connection":"c","resumed":false,"heartbeat":30000,"timeout":60000,"encoding":"binary","time":1,"limits":{{"frame":1048576,"payload":1048576,"channels":100,"inflight":1000,"rate":0}},"server":"test"}}"#
    );
    socket.send(Message::text(welcome)).unwrap();
    for _ in 0..channels {
        let asked = next(&mut socket);
        let (id, channel) = (&asked["id"], &asked["channel"]);
        let answer = format!(r#"{{"type":"subscribed","id":{id},"channel":{channel},"epoch":"e","offset":0}}"#);
        socket.send(Message::text(answer)).unwrap();
    }
    let mut sent = 0;
    for (frames, messages) in ordered {
        for _ in 0..frames {
            let mut lines = String::new();
            for _ in 0..messages {
                let (channel, offset) = (sent % channels, sent / channels + 1);
                lines += &format!(
                    "{{\"type\":\"message\",\"channel\":\"room-{channel}\",\"event\":\"said\",\"offset\":{offset},\"timestamp\":1,\"payload\":{offset}}}\n"
                );
                sent += 1;
            }
            socket.send(Message::binary(lines)).unwrap();
        }
    }
}

fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    // No two of them share a frame: each waits for the answer to the one before.
    serde_json::from_slice(&socket.read().unwrap().into_data()).unwrap()
}

struct World {
    runtime: tokio::runtime::Runtime,
    peer: Peer,
    client: Client,
    rooms: Vec<Subscription>,
}

impl World {
    fn new(channels: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let peer = Peer::start(channels);
        let (client, rooms) = runtime.block_on(async {
            let client = Client::connect(&*peer.url).await.unwrap();
            let mut rooms = Vec::new();
            for n in 0..channels {
                rooms.push(client.channel(&format!("room-{n}")).unwrap().subscribe().await.unwrap());
            }
            (client, rooms)
        });
        Self { runtime, peer, client, rooms }
    }

    /// What the client's thread allocates while so many frames with so many messages come.
    fn receive(&mut self, frames: usize, messages: usize) -> u64 {
        let (runtime, rooms) = (&self.runtime, &mut self.rooms);
        let orders = &self.peer.orders;
        allocations(|| {
            orders.send((frames, messages)).unwrap();
            runtime.block_on(async {
                for n in 0..frames * messages {
                    let room = n % rooms.len();
                    rooms[room].recv().await.unwrap();
                }
            });
        })
    }
}

#[test]
fn what_is_allocated_goes_by_frames_and_not_by_messages() {
    for channels in [1, 16] {
        let mut world = World::new(channels);
        for messages in [1, 16, 160] {
            world.receive(2000, messages);
            let allocated = world.receive(1000, messages);
            assert!(allocated <= 4 * 1000, "{channels} channels, 1000 frames of {messages}: {allocated}");
        }
        let World { runtime, peer, client, rooms } = world;
        runtime.block_on(async {
            drop(rooms);
            client.disconnect().await;
        });
        drop(peer.orders);
        peer.thread.join().unwrap();
    }
}
