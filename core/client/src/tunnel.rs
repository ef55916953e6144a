use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use realtime_engine::{Error, ErrorKind, OpenError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::Io;
use crate::transport::Proxy;

/// A proxy's answer to `CONNECT` is short.
const MAX_ANSWER: usize = 16 << 10;

/// Where to find proxies, read from the environment once.
#[derive(Debug)]
pub(crate) struct Proxies {
    matcher: Matcher,
    environment: bool,
}

impl Proxies {
    /// Fails with `invalid_option` where a proxy's URL is none.
    pub(crate) fn new(proxy: &Proxy) -> Result<Self, Error> {
        let (matcher, environment) = match proxy {
            Proxy::Environment => (Matcher::from_env(), true),
            Proxy::Direct => (Matcher::builder().build(), false),
            Proxy::Url(url) => (Matcher::builder().all(url.as_str()).build(), false),
        };
        let proxies = Self { matcher, environment };
        // The password in it must not get into logs.
        if let Proxy::Url(_) = proxy
            && proxies.find("ws", "example.com").is_none()
        {
            let message = "option proxy is not like http://host:port or http://user:password@host:port";
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
        Ok(proxies)
    }

    /// The proxy for a host. `scheme` is `ws` or `wss`.
    pub(crate) fn find(&self, scheme: &str, host: &str) -> Option<Tunnel> {
        if self.environment && is_loopback(host) {
            return None;
        }
        let scheme = if scheme == "wss" { "https" } else { "http" };
        let destination = Uri::builder().scheme(scheme).authority(host).path_and_query("/").build().ok()?;
        self.matcher.intercept(&destination).map(Tunnel)
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A proxy to go through.
#[derive(Debug)]
pub(crate) struct Tunnel(Intercept);

impl Tunnel {
    /// Fails with `unsupported` for a proxy that is not an HTTP proxy.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.0.uri().scheme_str() {
            Some("http" | "https") => Ok(()),
            scheme => {
                let scheme = scheme.unwrap_or_default();
                let message = format!(
                    "a proxy of the kind {scheme:?} is not supported, only http and https; name the host in NO_PROXY to go without"
                );
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.uri().scheme_str() == Some("https")
    }

    pub(crate) fn host(&self) -> &str {
        self.0.uri().host().unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.uri().port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// Asks the proxy at the other end of `stream` to connect to `host`.
    pub(crate) async fn connect(&self, stream: &mut Box<dyn Io>, host: &str, port: u16) -> Result<(), OpenError> {
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        if let Some(authorization) = self.0.basic_auth() {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let answer = async {
            stream.write_all(&request).await?;
            stream.flush().await?;
            read_head(stream).await
        };
        let answer = answer.await.map_err(|error| self.failed(&error.to_string()))?;
        match status(&answer) {
            Some(200..=299) => Ok(()),
            Some(status) => Err(self.failed(&format!("it answered CONNECT with HTTP status {status}"))),
            None => Err(self.failed("it did not answer CONNECT as an HTTP proxy")),
        }
    }

    fn failed(&self, why: &str) -> OpenError {
        OpenError::Unreachable(format!("through the proxy {}:{}: {why}", self.host(), self.port()))
    }
}

/// Reads up to the empty line. Byte by byte, since what follows belongs to the tunnel.
async fn read_head(stream: &mut Box<dyn Io>) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_ANSWER {
            return Err(std::io::Error::other("the answer does not end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|&byte| byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_proxy_url_is_taken_for_both_schemes() {
        let proxies = Proxies::new(&Proxy::Url("http://user:secret@proxy.test:3128".into())).unwrap();
        let tunnel = proxies.find("wss", "example.com").unwrap();
        assert_eq!((tunnel.host(), tunnel.port(), tunnel.is_tls()), ("proxy.test", 3128, false));
        assert!(proxies.find("ws", "127.0.0.1").is_some());
        assert!(tunnel.0.basic_auth().is_some());
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for url in ["", "ftp://proxy.test", "http://"] {
            assert_eq!(Proxies::new(&Proxy::Url(url.into())).unwrap_err().kind, ErrorKind::InvalidOption, "{url:?}");
        }
        let socks = Proxies::new(&Proxy::Url("socks5://proxy.test".into())).unwrap();
        let error = socks.find("ws", "example.com").unwrap().check().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }

    #[test]
    fn loopback_is_recognised() {
        assert!(["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]"].into_iter().all(is_loopback));
        assert!(!["example.com", "10.0.0.1", "localhost.example.com"].into_iter().any(is_loopback));
    }

    #[test]
    fn the_status_of_an_answer() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 No\r\nA: b\r\n\r\n"), Some(407));
        assert_eq!(status(b"SSH-2.0 200\r\n\r\n"), None);
    }
}
