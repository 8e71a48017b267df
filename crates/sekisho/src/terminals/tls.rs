//! Mutual TLS with terminals: TLS 1.3 alone, any certificate, and the key that it proves is who it is.

use std::sync::Arc;

use anyhow::{Context, Result};
use event::Digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};
use terminal::copy::ALPN_COPY;
use terminal::wire;

use crate::folder::Folder;

/// Takes any certificate whose key signs the handshake. Who a terminal is stands in the ledger.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        public_key(end_entity)
            .map(|_| ClientCertVerified::assertion())
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo.
fn public_key(certificate: &CertificateDer<'_>) -> Option<Digest> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    Some(Digest(terminal::sha256(
        parsed.subject_public_key_info().as_ref(),
    )))
}

/// Whose key the handshake proved.
pub(super) fn who(connection: &ServerConnection) -> Option<Digest> {
    public_key(connection.peer_certificates()?.first()?)
}

/// The gate's side, with the certificate that drivers see.
pub(super) fn server(folder: &Folder) -> Result<Arc<ServerConfig>> {
    let path = folder.path("tls/key.pem");
    let key = PrivateKeyDer::from_pem_file(&path)
        .with_context(|| format!("{}: is unusable", path.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey(provider)))
        .with_single_cert(chain(folder)?, key)
        .context("tls: certificate and key do not belong together")?;
    config.alpn_protocols = [wire::ALPN_TERMINAL, wire::ALPN_SESSION, ALPN_COPY]
        .map(<[u8]>::to_vec)
        .into();
    Ok(Arc::new(config))
}

fn chain(folder: &Folder) -> Result<Vec<CertificateDer<'static>>> {
    let path = folder.path("tls/certificate.pem");
    CertificateDer::pem_file_iter(&path)
        .and_then(Iterator::collect)
        .with_context(|| format!("{}: is unusable; terminals need it", path.display()))
}

/// What an agent is told to know the gate by: SHA-256 of its certificate, in hexadecimal digits.
///
/// # Errors
/// If there is no usable certificate.
pub fn certificate_pin(folder: &Folder) -> Result<String> {
    let chain = chain(folder)?;
    let first = chain
        .first()
        .context("tls/certificate.pem holds no certificate")?;
    Ok(crate::serve::hex(&terminal::sha256(first)))
}
