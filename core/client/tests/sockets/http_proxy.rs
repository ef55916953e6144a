use realtime_client::{Client, ErrorKind, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{next_error, quick, server, within};

/// An HTTP proxy that answers with this and, where that is a success, connects to `instead` or to what it is asked for.
/// Tells the requests.
async fn http_proxy(answer: &'static str, instead: Option<String>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(client.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let target = instead.clone().unwrap_or_else(|| request.split(' ').nth(1).unwrap().to_owned());
            requests.send(request).unwrap();
            client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.unwrap();
            if answer.starts_with("200") {
                let mut server = TcpStream::connect(target).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        }
    });
    (format!("{address}"), seen)
}

#[tokio::test]
async fn a_proxy_is_asked_to_connect() {
    let server = server().await;
    let (address, mut requests) = http_proxy("200 OK", None).await;
    let proxy = Proxy::Url(format!("http://user:secret@{address}"));
    let client = within(Client::builder(server.url()).proxy(proxy).connect()).await.unwrap();
    client.channel("room").unwrap().publish("n", &1).await.unwrap();
    let request = requests.recv().await.unwrap();
    let target = server.addr();
    assert!(request.starts_with(&format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n")), "{request}");
    assert!(request.contains("\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{request}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_connect_failed() {
    let server = server().await;
    let (address, _requests) = http_proxy("407 Proxy Authentication Required", None).await;
    let settings = Client::builder(quick(&server.url())).proxy(Proxy::Url(format!("http://user:secret@{address}")));
    let client = settings.start().unwrap();
    let error = next_error(&mut client.events()).await;
    assert_eq!(error.kind, ErrorKind::ConnectFailed);
    assert!(error.message.contains("407") && !error.message.contains("secret"), "{error}");
}

#[tokio::test]
async fn other_kinds_of_proxies_are_refused_at_once() {
    let settings = Client::builder("ws://example.com").proxy(Proxy::Url("socks5://127.0.0.1:1080".into()));
    assert_eq!(settings.start().unwrap_err().kind, ErrorKind::Unsupported);
    let settings = Client::builder("ws://example.com").proxy(Proxy::Url("nonsense://".into()));
    assert_eq!(settings.start().unwrap_err().kind, ErrorKind::InvalidOption);
}

/// The environment belongs to the whole process, so that the client of this test has one of its own.
#[tokio::test]
async fn the_environment_names_a_proxy() {
    let server = server().await;
    let (address, mut requests) = http_proxy("200 OK", Some(server.addr().to_string())).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "http_proxy::connects_as_its_environment_says", "--ignored"]);
    child.env("HTTP_PROXY", format!("http://{address}")).env_remove("NO_PROXY").env_remove("no_proxy");
    let output = within(tokio::task::spawn_blocking(move || child.output())).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("CONNECT server.test:80 HTTP/1.1\r\n"), "{request}");
    assert!(requests.try_recv().is_err(), "loopback was asked for, too: {request}");
}

#[tokio::test]
#[ignore = "the child process of the test above"]
async fn connects_as_its_environment_says() {
    within(Client::connect("ws://server.test")).await.unwrap();
    let server = server().await;
    within(Client::connect(server.url())).await.unwrap();
}
