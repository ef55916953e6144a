use std::sync::Arc;

use http::Uri;
use realtime_engine::{Config, Error, ErrorKind, OpenError, OpenRequest};

use crate::socket::{Io, WebSocket};
use crate::tls::Tls;
use crate::transport::Transport;
use crate::tunnel::Proxies;
use crate::{tcp, upgrade};

/// Opens sockets: TCP, a proxy's tunnel, TLS, the upgrade.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    tls: Tls,
    proxies: Arc<Proxies>,
}

impl Dialer {
    /// Fails with `invalid_option` or `unsupported` where the transport cannot work for this configuration.
    pub(crate) fn new(transport: &Transport, config: &Config) -> Result<Self, Error> {
        let dialer =
            Self { tls: Tls::new(transport.ca.as_deref())?, proxies: Arc::new(Proxies::new(&transport.proxy)?) };
        let target = Target::parse(&config.url).map_err(|why| Error::new(ErrorKind::InvalidUrl, why))?;
        if let Some(tunnel) = dialer.proxies.find(target.scheme(), &target.host) {
            tunnel.check()?;
        }
        Ok(dialer)
    }

    /// Opens a socket and tells the subprotocol that the server acknowledged.
    pub(crate) async fn open(self, request: OpenRequest) -> Result<(WebSocket, Option<String>), OpenError> {
        let target = Target::parse(&request.url).map_err(OpenError::Handshake)?;
        let mut stream = self.connect(&target).await?;
        if target.tls {
            stream = self.tls.connect(&target.host, stream).await?;
        }
        upgrade::upgrade(stream, &request).await
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Io>, OpenError> {
        let Some(tunnel) = self.proxies.find(target.scheme(), &target.host) else {
            return dial(&target.host, target.port).await;
        };
        tunnel.check().map_err(|error| OpenError::Unreachable(error.message))?;
        let mut stream = dial(tunnel.host(), tunnel.port()).await?;
        if tunnel.is_tls() {
            stream = self.tls.connect(tunnel.host(), stream).await?;
        }
        tunnel.connect(&mut stream, &target.host, target.port).await?;
        Ok(stream)
    }
}

async fn dial(host: &str, port: u16) -> Result<Box<dyn Io>, OpenError> {
    match tcp::connect(host, port).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(OpenError::Unreachable(format!("{host}:{port}: {error}"))),
    }
}

#[derive(Debug)]
struct Target {
    tls: bool,
    host: String,
    port: u16,
}

impl Target {
    fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} cannot be used as a URL: {error}"))?;
        let tls = uri.scheme_str() == Some("wss");
        let host = uri.host().ok_or_else(|| format!("{url:?} has no host"))?.to_owned();
        Ok(Self { tls, host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }) })
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "wss" } else { "ws" }
    }
}
