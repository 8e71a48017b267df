//! A time stamp authority of OpenSSL: its keys, its certificates, its answers.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

pub mod server;

/// Extensions of certificates, as an authority's configuration has them.
const EXTENSIONS: &str = "\
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[between]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
extendedKeyUsage = timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature, nonRepudiation
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[lax]
basicConstraints = CA:FALSE
extendedKeyUsage = timeStamping
[wide]
basicConstraints = CA:FALSE
extendedKeyUsage = critical, timeStamping, codeSigning
[none]
basicConstraints = CA:FALSE
";

/// What an authority is made of.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Arguments of `openssl genpkey` for every key.
    pub key: &'static [&'static str],
    /// Section of extensions of the signer's certificate.
    pub extensions: &'static str,
    /// Days that the signer's certificate lasts.
    pub days: u32,
    /// Whether there is an authority between root and signer.
    pub between: bool,
    /// Lines for the configuration of answers, in place of the usual.
    pub answers: &'static str,
}

pub const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];

/// A usual one.
pub const USUAL: Plan = Plan {
    key: RSA,
    extensions: "tsa",
    days: 3650,
    between: false,
    answers: "signer_digest = sha256\ness_cert_id_alg = sha256\n",
};

/// An authority with its folder.
pub struct Authority {
    dir: PathBuf,
    /// What its clock shows, as `faketime` takes it; `None`: the time that it is.
    clock: Mutex<Option<String>>,
}

/// Runs OpenSSL in a folder, at a time.
fn openssl(dir: &Path, clock: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = match clock {
        None => Command::new("openssl"),
        Some(clock) => {
            let mut command = Command::new("faketime");
            command.args(["-f", clock, "openssl"]).env("TZ", "UTC");
            command
        }
    };
    let output =
        command.args(arguments).current_dir(dir).output().expect(
            "the tests need openssl and faketime (Debian: apt-get install openssl faketime)",
        );
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

impl Authority {
    /// Makes keys and certificates in a folder.
    pub fn new(dir: &Path, plan: Plan) -> Self {
        Self::new_at(dir, plan, None)
    }

    /// The same, as if it were another time.
    pub fn new_at(dir: &Path, plan: Plan, clock: Option<String>) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("extensions.cnf"), EXTENSIONS).unwrap();
        let authority = Self {
            dir: dir.to_owned(),
            clock: Mutex::new(clock),
        };
        authority.key("root", plan.key);
        authority.run(&[
            "req",
            "-new",
            "-key",
            "root.key",
            "-subj",
            "/O=Test/CN=Test Root",
            "-out",
            "root.csr",
        ]);
        authority.run(&[
            "x509",
            "-req",
            "-in",
            "root.csr",
            "-signkey",
            "root.key",
            "-days",
            "36500",
            "-extfile",
            "extensions.cnf",
            "-extensions",
            "ca",
            "-out",
            "root.pem",
        ]);
        let mut issuer = "root";
        if plan.between {
            authority.key("between", plan.key);
            authority.certify(
                "between",
                "/O=Test/CN=Test Between",
                issuer,
                "between",
                20_000,
            );
            issuer = "between";
        }
        authority.sign_with(plan, issuer);
        authority
    }

    /// Gives the authority a new signer.
    pub fn sign_with(&self, plan: Plan, issuer: &str) {
        self.key("tsa", plan.key);
        self.certify(
            "tsa",
            "/O=Test/CN=Test TSA",
            issuer,
            plan.extensions,
            plan.days,
        );
        let read = |name: &str| std::fs::read_to_string(self.dir.join(name)).unwrap();
        let mut chain = read("root.pem");
        if plan.between {
            chain = read("between.pem");
        }
        std::fs::write(self.dir.join("chain.pem"), chain).unwrap();
        let config = format!(
            "[tsa]\ndefault_tsa = one\n[one]\nserial = serial\ncrypto_device = builtin\n\
             signer_cert = tsa.pem\ncerts = chain.pem\nsigner_key = tsa.key\n\
             default_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1, millisecs:500\n\
             tsa_name = yes\nordering = yes\n{}",
            plan.answers
        );
        std::fs::write(self.dir.join("tsa.cnf"), config).unwrap();
        if !self.dir.join("serial").exists() {
            std::fs::write(self.dir.join("serial"), "01\n").unwrap();
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let clock = self.clock.lock().unwrap().clone();
        openssl(&self.dir, clock.as_deref(), arguments)
    }

    fn key(&self, name: &str, algorithm: &[&str]) {
        let file = format!("{name}.key");
        let mut arguments = vec!["genpkey", "-out", &file];
        arguments.extend(algorithm);
        self.run(&arguments);
    }

    fn certify(&self, name: &str, subject: &str, issuer: &str, extensions: &str, days: u32) {
        let file = |name: &str, kind: &str| format!("{name}.{kind}");
        let (key, csr, pem) = (file(name, "key"), file(name, "csr"), file(name, "pem"));
        self.run(&["req", "-new", "-key", &key, "-subj", subject, "-out", &csr]);
        self.run(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &file(issuer, "pem"),
            "-CAkey",
            &file(issuer, "key"),
            "-CAcreateserial",
            "-days",
            &days.to_string(),
            "-extfile",
            "extensions.cnf",
            "-extensions",
            extensions,
            "-out",
            &pem,
        ]);
    }

    /// Sets its clock.
    pub fn set_clock(&self, clock: String) {
        *self.clock.lock().unwrap() = Some(clock);
    }

    /// The certificate to trust, PEM.
    pub fn root(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("root.pem")).unwrap()
    }

    /// Its path.
    pub fn root_path(&self) -> PathBuf {
        self.dir.join("root.pem")
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The content of an answer, signed again by a signer whose certificate has other extensions:
    /// `openssl ts` itself would not use it.
    pub fn answer_with(&self, request: &[u8], key: &[&str], extensions: &str) -> Vec<u8> {
        self.key("other", key);
        self.certify("other", "/O=Test/CN=Other", "root", extensions, 3650);
        let answer = self.answer(request);
        std::fs::write(self.dir.join("old.tsr"), answer).unwrap();
        self.run(&[
            "ts",
            "-reply",
            "-in",
            "old.tsr",
            "-token_out",
            "-out",
            "old.der",
        ]);
        self.run(&[
            "cms",
            "-verify",
            "-noverify",
            "-binary",
            "-inform",
            "DER",
            "-in",
            "old.der",
            "-out",
            "tst.der",
        ]);
        self.run(&[
            "cms",
            "-sign",
            "-binary",
            "-nodetach",
            "-cades",
            "-md",
            "sha256",
            "-econtent_type",
            "1.2.840.113549.1.9.16.1.4",
            "-in",
            "tst.der",
            "-signer",
            "other.pem",
            "-inkey",
            "other.key",
            "-outform",
            "DER",
            "-out",
            "new.der",
        ]);
        let token = std::fs::read(self.dir.join("new.der")).unwrap();
        // TimeStampResp: status granted, then the token.
        let length = u16::try_from(token.len() + 5).unwrap().to_be_bytes();
        let mut answer = vec![0x30, 0x82, length[0], length[1], 0x30, 3, 2, 1, 0];
        answer.extend(token);
        answer
    }

    /// Answers a request.
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        std::fs::write(self.dir.join("request.tsq"), request).unwrap();
        self.run(&[
            "ts",
            "-reply",
            "-config",
            "tsa.cnf",
            "-queryfile",
            "request.tsq",
            "-out",
            "answer.tsr",
        ]);
        std::fs::read(self.dir.join("answer.tsr")).unwrap()
    }
}

/// What `openssl ts -verify` says of a token over data.
pub fn verifies(authority: &Authority, token: &Path, data: &Path) -> bool {
    let output = Command::new("openssl")
        .args(["ts", "-verify", "-in"])
        .arg(token)
        .arg("-data")
        .arg(data)
        .arg("-CAfile")
        .arg(authority.root_path())
        .output()
        .expect("the tests need openssl");
    output.status.success()
}
