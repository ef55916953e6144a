use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::application::Application;
use crate::hub::HubConfig;

/// How a server listens, and what it serves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Paths where WebSockets are accepted; empty is every path.
    pub paths: Vec<String>,
    /// Origins that browsers may come from; empty is every origin. Clients that send no `Origin` are no browsers.
    pub allowed_origins: Vec<String>,
    /// Serves `wss` instead of `ws`.
    pub tls: Option<Tls>,
    /// Takes the messages that clients send to the server itself.
    pub application: Option<Arc<dyn Application>>,
    /// Directory where histories, collections and receipts are kept over restarts; `None` keeps them in memory.
    pub data: Option<PathBuf>,
    /// Limits, history, timeouts, tokens.
    pub hub: HubConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 0,
            paths: vec!["/".into(), "/realtime".into()],
            allowed_origins: Vec::new(),
            tls: None,
            application: None,
            data: None,
            hub: HubConfig::default(),
        }
    }
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) config: Arc<rustls::ServerConfig>,
}

impl Tls {
    /// Reads both from PEM text.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(error.to_string()))?;
        let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self { config: Arc::new(config) })
    }

    /// Reads both from PEM files.
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| TlsError::File { path: path.display().to_string(), source: error })
        };
        Self::from_pem(&read(certificates)?, &read(key)?)
    }
}

/// Why a certificate or its key was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not a certificate chain in PEM.
    #[error("the certificate chain cannot be read: {0}")]
    Certificate(String),
    /// Not a private key in PEM.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// They do not belong together, or are of a kind that is not supported.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}
