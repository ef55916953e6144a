use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use realtime_client::{Client, ErrorKind};
use realtime_server::{RunningServer, Server, ServerConfig, Tls};
use tokio::io::AsyncWriteExt;

use crate::support::{Backend, next_error, quick, within};

/// A certificate authority, and a server with a certificate of it for `localhost`.
async fn secure_server() -> (String, RunningServer) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let mut config = ServerConfig::default();
    config.host = "localhost".into();
    config.tls = Some(Tls::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap());
    (ca_pem, Server::new(config).start().await.unwrap())
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_given() {
    let (ca, server) = secure_server().await;
    assert!(server.url().starts_with("wss://localhost:"));
    let client = within(Client::builder(server.url()).ca(ca).connect()).await.unwrap();
    let room = client.channel("room").unwrap();
    let mut messages = room.subscribe().await.unwrap();
    // More than one TLS record.
    let long = "x".repeat(100_000);
    room.publish("n", &long).await.unwrap();
    assert_eq!(within(messages.recv()).await.unwrap().json::<String>().unwrap(), long);
    within(client.disconnect()).await;
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_fails_as_tls() {
    let (_, server) = secure_server().await;
    let (other, _other_server) = secure_server().await;
    let mut config = quick(&server.url());
    config.max_attempts = Some(1);
    for settings in [Client::builder(config.clone()).ca(other), Client::builder(config)] {
        let client = settings.start().unwrap();
        let error = next_error(&mut client.events()).await;
        assert_eq!(error.kind, ErrorKind::TlsFailed, "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_fails_as_tls() {
    let (ca, server) = secure_server().await;
    let url = server.url().replace("localhost", "127.0.0.1");
    let client = Client::builder(quick(&url)).ca(ca).start().unwrap();
    let error = next_error(&mut client.events()).await;
    // Where the name stands for the IPv6 address only, nobody is there.
    let expected = if server.addr().is_ipv4() { ErrorKind::TlsFailed } else { ErrorKind::ConnectFailed };
    assert_eq!(error.kind, expected, "{error}");
}

#[tokio::test]
async fn a_server_without_tls_fails_as_tls() {
    let backend = Backend::start().await;
    let client = Client::builder(quick(&backend.url().replace("ws://", "wss://"))).ca(authority()).start().unwrap();
    let mut events = client.events();
    backend.tcp().await.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = next_error(&mut events).await;
    assert_eq!(error.kind, ErrorKind::TlsFailed, "{error}");
}

#[tokio::test]
async fn an_authority_that_is_none_is_refused_at_once() {
    for ca in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Client::builder("wss://localhost:1").ca(ca).start().unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidOption, "{ca:?}");
    }
}

fn authority() -> String {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}
