use std::sync::Arc;

use realtime_server::{ServerConfig, Tls};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::support::{Client, start, within};

#[tokio::test]
async fn wss_is_served() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(certified.cert.pem().as_bytes(), certified.signing_key.serialize_pem().as_bytes()).unwrap();
    let server = start(ServerConfig { host: "localhost".into(), tls: Some(tls), ..ServerConfig::default() }).await;
    assert_eq!(server.url(), format!("wss://localhost:{}", server.addr().port()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.addr()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = within(connector.connect(ServerName::try_from("localhost").unwrap(), stream)).await.unwrap();
    let mut client = Client::over(stream, "/", &[("sec-websocket-protocol", "realtime.v1")]).await.unwrap();
    client.hello("alice").await;
    server.stop().await;
    assert_eq!(client.closed().await, 4000);
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    Tls::from_pem(b"nonsense", b"nonsense").unwrap_err();
    Tls::from_files("/does/not/exist".as_ref(), "/does/not/exist".as_ref()).unwrap_err();
}
