//! What each fault does to bytes.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use realtime_testing::FaultProxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn within<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), event).await.expect("it did not happen within 20 s")
}

/// A server that sends back what it gets, behind a proxy.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(&format!("ws://{}", listener.local_addr().unwrap())).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    proxy
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.url().strip_prefix("ws://").unwrap()).await.unwrap()
}

async fn round_trip(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    within(stream.read_exact(&mut back)).await.unwrap();
    assert!(back == bytes);
}

/// Reads until the connection is reset; what came before.
async fn until_reset(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let error = within(stream.read_to_end(&mut bytes)).await.expect_err("an orderly end instead of a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    bytes
}

#[tokio::test]
async fn without_faults_bytes_pass_and_an_end_is_an_end() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    let long: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    let (mut read, mut write) = stream.split();
    let mut back = Vec::new();
    let (sent, got) = tokio::join!(
        async {
            write.write_all(&long).await?;
            write.shutdown().await
        },
        within(read.read_to_end(&mut back)),
    );
    sent.unwrap();
    got.unwrap();
    assert!(back == long);
    within(proxy.until_open(0)).await;
    assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
}

#[tokio::test]
async fn a_cut_lasts_until_it_is_restored() {
    let proxy = echo().await;
    let (mut first, mut second) = (connect(&proxy).await, connect(&proxy).await);
    round_trip(&mut first, b"a").await;
    round_trip(&mut second, b"b").await;
    assert_eq!(proxy.open_connections(), 2);
    proxy.cut();
    until_reset(&mut first).await;
    until_reset(&mut second).await;
    until_reset(&mut connect(&proxy).await).await;
    assert_eq!((proxy.connections(), proxy.cuts()), (2, 2));
    proxy.restore();
    round_trip(&mut connect(&proxy).await, b"c").await;
    assert_eq!((proxy.connections(), proxy.cuts()), (3, 2));
}

#[tokio::test]
async fn connections_can_be_cut_without_refusing_others() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"a").await;
    proxy.cut_connections();
    until_reset(&mut stream).await;
    round_trip(&mut connect(&proxy).await, b"b").await;
    assert_eq!((proxy.connections(), proxy.cuts()), (2, 1));
}

#[tokio::test]
async fn a_stall_holds_bytes_and_connections() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"a").await;
    proxy.stall();
    stream.write_all(b"held").await.unwrap();
    let mut late = connect(&proxy).await;
    late.write_all(b"too").await.unwrap();
    let mut back = [0; 4];
    let quiet = Duration::from_millis(50);
    assert!(tokio::time::timeout(quiet, stream.read(&mut back)).await.is_err(), "a byte came through");
    assert!(tokio::time::timeout(quiet, late.read(&mut back)).await.is_err(), "a byte came through");
    proxy.restore();
    within(stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"held");
    within(late.read_exact(&mut back[..3])).await.unwrap();
    assert_eq!(&back[..3], b"too");
    assert_eq!(proxy.cuts(), 0);
}

#[tokio::test]
async fn a_stalled_connection_can_be_cut() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"a").await;
    proxy.stall();
    proxy.cut_connections();
    until_reset(&mut stream).await;
}

#[tokio::test]
async fn a_delay_adds_to_each_way_and_keeps_the_order() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"a").await;
    proxy.delay(Duration::from_millis(40));
    let start = Instant::now();
    round_trip(&mut stream, b"slow").await;
    assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
    let long: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    round_trip(&mut stream, &long).await;
}

#[tokio::test]
async fn a_limit_slows_bytes_down() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"a").await;
    proxy.limit(100_000);
    let start = Instant::now();
    round_trip(&mut stream, &[7; 20_000]).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(180), "{took:?}");
    proxy.restore();
    round_trip(&mut stream, &[7; 500_000]).await;
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes_once() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"before").await;
    proxy.drop_after(1000);
    stream.write_all(&[7; 5000]).await.unwrap();
    assert_eq!(until_reset(&mut stream).await, [7; 1000]);
    within(proxy.until_open(0)).await;
    assert_eq!(proxy.cuts(), 1);
    round_trip(&mut connect(&proxy).await, &[8; 5000]).await;
    // It counts over connections.
    proxy.drop_after(10);
    round_trip(&mut connect(&proxy).await, &[8; 6]).await;
    let mut stream = connect(&proxy).await;
    stream.write_all(&[9; 6]).await.unwrap();
    assert_eq!(until_reset(&mut stream).await, [9; 4]);
}

#[tokio::test]
async fn a_server_that_is_not_there_resets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let proxy = FaultProxy::start(&target).await.unwrap();
    until_reset(&mut connect(&proxy).await).await;
    within(proxy.until_open(0)).await;
    assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
}

#[tokio::test]
async fn the_end_of_a_proxy_is_the_end_of_its_connections_and_its_port() {
    let proxy = echo().await;
    let address = proxy.url().strip_prefix("ws://").unwrap().to_owned();
    let mut stream = connect(&proxy).await;
    round_trip(&mut stream, b"a").await;
    drop(proxy);
    until_reset(&mut stream).await;
    within(async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn its_methods_work_from_any_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let proxy = std::sync::Arc::new(runtime.block_on(echo()));
    let mut stream = runtime.block_on(connect(&proxy));
    runtime.block_on(round_trip(&mut stream, b"a"));
    let other = std::sync::Arc::clone(&proxy);
    std::thread::spawn(move || other.cut()).join().unwrap();
    runtime.block_on(until_reset(&mut stream));
    assert_eq!(proxy.cuts(), 1);
}
