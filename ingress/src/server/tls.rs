//! TLS on the webhooks' port: optional, for installations without a proxy. A renewed certificate is loaded
//! automatically.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use shared::throttle::Throttle;
use tokio_util::sync::CancellationToken;

/// How often the two files are read.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// How often an unusable file is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(3600);

/// What is wrong with `TLS_CERT` and `TLS_KEY`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One without the other.
    #[error("TLS_CERT and TLS_KEY belong together: set both, or neither for plain HTTP")]
    Half,
    /// A file cannot be read, or holds something else.
    #[error("{name}: {path} cannot be used: {error}")]
    File {
        name: &'static str,
        path: PathBuf,
        /// Never repeats the file's content.
        error: String,
    },
    /// They do not belong together.
    #[error("TLS_KEY is not the key of the first certificate in TLS_CERT, or of a kind that is not supported: {0}")]
    Pair(rustls::Error),
    /// The TLS library refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The certificate in force, and its files.
#[derive(Debug)]
pub struct Certificate {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    files: Files,
}

impl Certificate {
    /// Reads `TLS_CERT` and `TLS_KEY`; `None` when neither is set.
    ///
    /// # Errors
    /// When one is missing, cannot be read, or they are no pair.
    pub fn open(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<Self>, TlsError> {
        let files = match (cert, key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => Files { cert: cert.to_owned(), key: key.to_owned() },
            _ => return Err(TlsError::Half),
        };
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read()?.certified(&provider)?))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { config: Arc::new(config), current, files }))
    }

    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Loads renewed files until `stop`. Unusable ones are logged, and the last good certificate stays in force.
    pub async fn watch(self, stop: CancellationToken) {
        let failures = Throttle::new(LOG_INTERVAL);
        let mut seen = self.files.read().ok();
        while stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await.is_some() {
            let files = self.files.clone();
            // A slow disk must not block the event loop.
            let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { continue };
            let renewed = match read {
                Ok(pair) if seen.as_ref() == Some(&pair) => continue,
                Ok(pair) => {
                    let certified = pair.certified(self.config.crypto_provider());
                    seen = Some(pair);
                    certified
                }
                Err(error) => Err(error),
            };
            match renewed {
                Ok(certified) => {
                    *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    failures.reset();
                    tracing::info!(path = %self.files.cert.display(), "took up a renewed certificate");
                }
                Err(error) => {
                    if let Some(more) = failures.open() {
                        tracing::warn!(%error, more, "a renewed certificate cannot be used; the one before stays in force");
                    }
                }
            }
        }
    }
}

/// The certificate that new connections get.
struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(set)")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// The content of the two files. Without `Debug`: one is a secret.
#[derive(PartialEq, Eq)]
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Files {
    fn read(&self) -> Result<Pair, TlsError> {
        let of = |name: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: String| TlsError::File { name, path: path.clone(), error }
        };
        let (bad_cert, bad_key) = (of("TLS_CERT", &self.cert), of("TLS_KEY", &self.key));
        let cert = fs::read(&self.cert).map_err(|error| bad_cert(error.to_string()))?;
        let key = fs::read(&self.key).map_err(|error| bad_key(error.to_string()))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
            .collect::<Result<_, _>>()
            .map_err(|_| bad_cert("it is not PEM".to_owned()))?;
        if chain.is_empty() {
            return Err(bad_cert("it holds no certificate in PEM".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_slice(&key).map_err(|_| bad_key("it holds no private key in PEM".to_owned()))?;
        Ok(Pair { chain, key })
    }
}

impl Pair {
    fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(self.chain.clone(), self.key.clone_key(), provider).map_err(TlsError::Pair)
    }
}
