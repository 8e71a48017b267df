//! The authorities to trust.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::error::RootsError;
use crate::sha256;

/// Certificates of authorities to trust, in their order.
#[derive(Clone, Default)]
pub struct Roots {
    certificates: Vec<CertificateDer<'static>>,
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Roots({})", self.certificates.len())
    }
}

impl Roots {
    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootsError> {
        let mut roots = Self::default();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| RootsError::Pem(error.to_string()))?;
            roots.add(certificate)?;
        }
        match roots.is_empty() {
            true => Err(RootsError::None),
            false => Ok(roots),
        }
    }

    /// One more, as DER.
    ///
    /// # Errors
    /// If it is no certificate.
    pub fn add_der(&mut self, der: Vec<u8>) -> Result<(), RootsError> {
        self.add(CertificateDer::from(der))
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), RootsError> {
        let number = self.certificates.len() + 1;
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| RootsError::Certificate(number, error.to_string()))?
            .to_owned();
        self.anchors.push(anchor);
        self.certificates.push(certificate);
        Ok(())
    }

    /// The certificates, DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(AsRef::as_ref)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Names these certificates: SHA-256 over their SHA-256, in their order.
    pub fn digest(&self) -> [u8; 32] {
        let each: Vec<u8> = self.certificates().flat_map(sha256).collect();
        sha256(&each)
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Roots {}
