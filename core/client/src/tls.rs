use std::io;
use std::sync::{Arc, OnceLock};

use realtime_engine::{Error, ErrorKind, OpenError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::TlsConnector;

use crate::socket::Io;

/// Makes TLS of bytes. The settings are built on first use, since the platform's certificates take a while to load.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    roots: Option<Arc<RootCertStore>>,
    config: Arc<OnceLock<Result<Arc<ClientConfig>, String>>>,
}

impl Tls {
    /// Trusts the authorities in `ca`, or else the platform's. Fails with `invalid_option` where there are none in it.
    pub(crate) fn new(ca: Option<&[u8]>) -> Result<Self, Error> {
        let roots = ca.map(parse_roots).transpose()?.map(Arc::new);
        Ok(Self { roots, config: Arc::default() })
    }

    pub(crate) async fn connect(&self, host: &str, stream: Box<dyn Io>) -> Result<Box<dyn Io>, OpenError> {
        let config = self.config().await.map_err(OpenError::Tls)?;
        // URLs write IPv6 addresses in brackets, certificates do not.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| OpenError::Tls(error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| open_error(&error))?;
        Ok(Box::new(stream))
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return config.clone();
        }
        let tls = self.clone();
        let build = tokio::task::spawn_blocking(move || tls.config.get_or_init(|| tls.build()).clone());
        build.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    fn build(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(Arc::clone(roots)),
            None => builder.with_platform_verifier().map_err(|error| error.to_string())?,
        };
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

fn parse_roots(pem: &[u8]) -> Result<RootCertStore, Error> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidOption, format!("option ca {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| invalid(format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("has a certificate that cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid("has no certificate in it; it must be PEM (-----BEGIN CERTIFICATE-----)".into()));
    }
    Ok(roots)
}

/// A handshake that was refused is one thing, a connection that broke meanwhile another.
fn open_error(error: &io::Error) -> OpenError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(refused) => OpenError::Tls(refused.to_string()),
        None => OpenError::Unreachable(format!("the connection broke during the TLS handshake: {error}")),
    }
}
