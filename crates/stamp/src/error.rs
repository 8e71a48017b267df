//! What can be wrong with a token, a root, an index.

/// Why a token does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StampError {
    /// Longer than any token.
    #[error("it is longer than {0} bytes, which no time stamp is")]
    TooLong(usize),
    /// Not the DER of an answer.
    #[error("it is no answer of a time stamp authority: {0}")]
    Malformed(String),
    /// The authority refused.
    #[error("the authority refused (status {status}): {text}")]
    Refused {
        /// PKIStatus.
        status: u8,
        /// What it said.
        text: String,
    },
    /// The digest is another one.
    #[error("it stamps something else than it should (another digest)")]
    Imprint,
    /// The nonce is another one.
    #[error("it answers another request (the nonce differs)")]
    Nonce,
    /// There is not exactly one signer.
    #[error("it has {0} signers in place of one")]
    Signers(usize),
    /// An algorithm that is not taken.
    #[error("its {0} is not one that is taken")]
    Algorithm(&'static str),
    /// What the signature covers is not the content.
    #[error("its signed attributes do not fit its content: {0}")]
    Attributes(&'static str),
    /// The signer's certificate is not in it, or is not the one that it names.
    #[error("the certificate of its signer is not in it, or is not the one it commits to")]
    Certificate,
    /// The certificate is not for time stamping alone.
    #[error(
        "its signer's certificate is not for time stamping alone (critical extended key usage)"
    )]
    Usage,
    /// The signature does not verify.
    #[error("its signature does not verify: it was altered or forged")]
    Signature,
    /// The certificate does not chain to a root at the token's time.
    #[error("its authority is not one of those to trust: {0}")]
    Chain(String),
}

/// Why a file holds no roots.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RootsError {
    /// Not PEM.
    #[error("is no PEM file: {0}")]
    Pem(String),
    /// None there.
    #[error("holds no certificate (PEM)")]
    None,
    /// A certificate that cannot be read.
    #[error("its certificate {0} cannot be read: {1}")]
    Certificate(usize, String),
}

/// Why a text is no index of tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IndexError {
    /// A line.
    #[error("line {0} is no line of an index of time stamps")]
    Line(usize),
    /// Times or sizes go back.
    #[error("line {0} goes back behind the one before it")]
    Order(usize),
    /// More renewals than any ledger has.
    #[error("line {0} is one renewal too many")]
    TooMany(usize),
}
