//! Prints how fast a server takes publishes, in memory and with a store, and what an `fsync` costs on the disk.
//!
//! ```sh
//! cargo run --release -p realtime-server --example publish_rate -- [DIR]
//! ```
#![allow(clippy::unwrap_used)]

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use realtime_server::{RunningServer, Server, ServerConfig};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(3);
const PAYLOAD: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args_os().nth(1).map_or_else(|| ".".into(), PathBuf::from);
    let directory = base.join(format!("publish-rate-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let measured = measure(&directory);
    std::fs::remove_dir_all(&directory)?;
    measured
}

fn measure(directory: &Path) -> Result<(), Box<dyn Error>> {
    let (mean, p99) = fsync(&directory.join("fsync"))?;
    println!("fsync of 4 KiB appended: mean {mean:.0?}, p99 {p99:.0?}, {:.0} a second", 1.0 / mean.as_secs_f64());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{:>8} {:>10} {:>12} {:>12} {:>8}", "clients", "in flight", "memory/s", "durable/s", "ratio");
    for (clients, window) in [(1, 1), (1, 64), (1, 1000), (16, 64), (64, 64)] {
        let rate = |data: Option<PathBuf>| -> Result<f64, Box<dyn Error>> {
            runtime.block_on(async {
                let server = Server::new(ServerConfig { data, ..ServerConfig::default() }).start().await?;
                let rate = publishers(&server, clients, window).await?;
                server.stop().await;
                Ok(rate)
            })
        };
        let memory = rate(None)?;
        let durable = rate(Some(directory.join(format!("{clients}-{window}"))))?;
        println!("{clients:>8} {window:>10} {memory:>12.0} {durable:>12.0} {:>8.2}", durable / memory);
    }
    Ok(())
}

/// What it costs to append a page and have it on disk: the mean, and what one of a hundred exceeds.
fn fsync(path: &Path) -> std::io::Result<(Duration, Duration)> {
    let mut file = std::fs::File::create(path)?;
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < TIME / 3 || times.len() < 10 {
        let start = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort();
    let mean = times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap_or(u32::MAX);
    Ok((mean, times[times.len() * 99 / 100]))
}

/// Messages a second that were acknowledged to clients that each keep `window` publishes in flight.
async fn publishers(server: &RunningServer, clients: usize, window: u64) -> Result<f64, Box<dyn Error>> {
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let (url, addr) = (server.url(), server.addr());
        tasks.spawn(async move { publish(url, addr, client, window).await.unwrap() });
    }
    let acknowledged: u64 = tasks.join_all().await.into_iter().sum();
    Ok(acknowledged as f64 / TIME.as_secs_f64())
}

async fn publish(
    url: String,
    addr: std::net::SocketAddr,
    client: usize,
    window: u64,
) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "realtime.v1".parse()?);
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    socket.send(Message::text(format!("{{\"type\":\"hello\",\"session\":\"publisher_{client:016}\"}}"))).await?;
    let padding = "x".repeat(PAYLOAD - 2);
    let line = |id: u64| {
        let room = client % 8;
        format!(
            "{{\"type\":\"publish\",\"id\":{id},\"channel\":\"room{room}\",\"event\":\"e\",\"payload\":\"{padding}\"}}"
        )
    };
    let (mut next, mut acknowledged, begun) = (1, 0_u64, Instant::now());
    while begun.elapsed() < TIME {
        if next <= acknowledged + window {
            let lines: Vec<_> = (next..=acknowledged + window).map(line).collect();
            next = acknowledged + window + 1;
            socket.send(Message::text(lines.join("\n"))).await?;
        }
        let message = socket.next().await.ok_or("the server is gone")??;
        let text = message.into_text()?;
        assert!(!text.contains("\"error\""), "{text}");
        acknowledged += text.lines().filter(|line| line.contains("\"receipt\"")).count() as u64;
    }
    Ok(acknowledged)
}
