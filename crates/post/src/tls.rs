//! Who this terminal is to the gate, and how it knows the gate: a key made at enrolment, and the
//! digest of the gate's certificate. TLS 1.3 only; no authority is asked and no name is believed.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use terminal::{Digest, sha256};
use thiserror::Error;

/// Why there is no identity.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Its file.
    #[error("cannot use the terminal's key in {path}: {source}")]
    File {
        /// The folder.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The key or certificate is none.
    #[error("the terminal's key is not valid ({0}); enrol the terminal again")]
    Key(String),
    /// The settings of TLS.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] TlsError),
}

/// The terminal's key and certificate.
#[derive(Debug)]
pub struct Identity {
    key: PrivatePkcs8KeyDer<'static>,
    pair: KeyPair,
    /// SHA-256 of the key's SubjectPublicKeyInfo: what the gate knows the terminal by.
    pub id: Digest,
}

impl Identity {
    /// Reads the identity of a folder; makes one if there is none.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let file = |source| IdentityError::File {
            path: folder.display().to_string(),
            source,
        };
        let path = folder.join("terminal.key");
        let key = match fs::read(&path) {
            Ok(bytes) => KeyPair::try_from(bytes.as_slice()).map_err(invalid)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(invalid)?;
                crate::files::replace(&path, &key.serialize_der()).map_err(file)?;
                key
            }
            Err(error) => return Err(file(error)),
        };
        Ok(Self {
            id: sha256(&key.subject_public_key_info()),
            key: key.serialize_der().into(),
            pair: key,
        })
    }

    /// What a connection to the gate with this application protocol needs.
    ///
    /// # Errors
    /// The key does not fit TLS.
    pub fn client(&self, pin: Digest, protocol: &[u8]) -> Result<Arc<ClientConfig>, IdentityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        // It only carries the key; the gate looks at nothing else in it.
        let certificate = CertificateParams::new(vec!["terminal.invalid".to_owned()])
            .and_then(|params| params.self_signed(&self.pair))
            .map_err(invalid)?;
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
            .with_client_auth_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(self.key.clone_key()),
            )?;
        config.alpn_protocols = vec![protocol.to_vec()];
        // A resumed session would not show the certificate again.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn invalid(error: rcgen::Error) -> IdentityError {
    IdentityError::Key(error.to_string())
}

/// Believes one certificate, by its digest. Whoever holds it must still prove that he has its key.
#[derive(Debug)]
struct Pinned {
    pin: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if sha256(certificate) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
