//! A log behind a URL. What comes is bounded in bytes and time; nothing of it is believed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::store::{Found, Store, StoreError, bounded};

const CONNECT_SECONDS_MAX: u64 = 10;
const REQUEST_SECONDS_MAX: u64 = 120;
const TRIES: u32 = 3;
/// Requests at once.
const THREADS: usize = 8;
/// Bundles asked for together, with their tiles.
const BUNDLES_AHEAD: u64 = 16;

/// A log behind a URL.
#[derive(Clone, Debug)]
pub struct Http {
    agent: Agent,
    base: String,
}

/// Why there is no way to a URL.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HttpError {
    /// Not http or https.
    #[error("{0} is no address of the form https://HOST/PATH")]
    Address(String),
    /// The file with an authority's certificate.
    #[error("the file given for --ca holds no certificate in PEM form: {0}")]
    Authority(String),
}

/// Makes what sends requests. `ca`: PEM of an authority to trust besides the machine's own.
///
/// # Errors
/// If `ca` holds no certificate.
pub fn agent(ca: Option<&[u8]>) -> Result<Agent, HttpError> {
    let mut roots: Vec<Certificate<'static>> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|it| Certificate::from_der(it).to_owned())
        .collect();
    if let Some(pem) = ca {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| HttpError::Authority(error.to_string()))?;
            roots.push(Certificate::from_der(&certificate).to_owned());
        }
        if roots.len() == before {
            return Err(HttpError::Authority("none is there".into()));
        }
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
        .timeout_global(Some(Duration::from_secs(REQUEST_SECONDS_MAX)))
        .http_status_as_error(false)
        .max_redirects(3)
        .max_idle_connections_per_host(THREADS)
        .user_agent(concat!("sekisho-verify/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.new_agent())
}

impl Http {
    /// A log below `base`.
    ///
    /// # Errors
    /// If it is no http or https address.
    pub fn new(agent: Agent, base: &str) -> Result<Self, HttpError> {
        let rest = base
            .strip_prefix("https://")
            .or_else(|| base.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['?', '#', ' '])) {
            return Err(HttpError::Address(base.to_owned()));
        }
        Ok(Self {
            agent,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    /// One try. The outer error is worth another one.
    fn once(&self, path: &str, max: u64) -> Result<Found, StoreError> {
        let url = format!("{}/{path}", self.base);
        let unreachable = |why: String| StoreError::Unreachable {
            path: url.clone(),
            why,
        };
        let mut response = self
            .agent
            .get(&url)
            .call()
            .map_err(|error| unreachable(error.to_string()))?;
        match response.status().as_u16() {
            200 => match bounded(response.body_mut().as_reader(), path, max, 64 << 10) {
                Err(StoreError::Unreachable { why, .. }) => Err(unreachable(why)),
                found => Ok(found),
            },
            404 | 410 => Ok(Ok(None)),
            status @ (408 | 429 | 500..) => {
                Err(unreachable(format!("the server answers {status}")))
            }
            status => {
                let why = format!("the server answers {status}");
                Ok(Err(unreachable(why)))
            }
        }
    }
}

impl Store for Http {
    fn read(&self, path: &str, max: u64) -> Found {
        let mut tries = 1;
        loop {
            match self.once(path, max) {
                Ok(found) => return found,
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(200 << tries)),
            }
            tries += 1;
        }
    }

    fn read_all(&self, paths: &[(String, u64)]) -> Vec<Found> {
        let next = AtomicUsize::new(0);
        let mut found: Vec<Option<Found>> = Vec::new();
        found.resize_with(paths.len(), || None);
        std::thread::scope(|scope| {
            let work = || {
                let mut done = Vec::new();
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((path, max)) = paths.get(at) else {
                        return done;
                    };
                    done.push((at, self.read(path, *max)));
                }
            };
            let threads = THREADS.min(paths.len());
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                for (at, it) in thread.join().unwrap_or_default() {
                    found[at] = Some(it);
                }
            }
        });
        let lost = |at: usize| {
            Err(StoreError::Unreachable {
                path: paths[at].0.clone(),
                why: "a thread that reads ended".into(),
            })
        };
        let all = found.into_iter().enumerate();
        all.map(|(at, it)| it.unwrap_or_else(|| lost(at))).collect()
    }

    fn ahead(&self) -> u64 {
        BUNDLES_AHEAD
    }
}
