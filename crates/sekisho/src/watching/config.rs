//! The table `[watch]` of `sekisho.toml`: a security team sets cases a day, the response, and who is told.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use event::Response;
use serde::{Deserialize, Serialize};

use crate::config::ReceiverUrl;

/// What `watch.cases_per_day` may be.
const CASES_PER_DAY: std::ops::RangeInclusive<u32> = 1..=1000;
/// What `watch.counters_s` may be: rarer looks see less beside a day's work.
const COUNTERS_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// Webhooks at most.
const WEBHOOKS_MAX: usize = 16;
/// Addresses of one notice at most.
const ADDRESSES_MAX: usize = 16;

/// Detection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Cases a day for 1,000 actors; fewer loosens, and takes two approvers.
    pub cases_per_day: u32,
    /// What is done about a case about an actor; less loosens, and takes two approvers.
    pub response: ResponseName,
    /// Minutes that the place's days are ahead of UTC.
    pub offset_minutes: i32,
    /// Seconds between two looks at PostgreSQL's own counters.
    pub counters_s: u64,
    /// Who is told by HTTPS.
    pub webhooks: Vec<WebhookConfig>,
    /// Who is told by e-mail.
    pub mail: Option<MailConfig>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            cases_per_day: 1,
            response: ResponseName::None,
            offset_minutes: 540,
            counters_s: 300,
            webhooks: Vec::new(),
            mail: None,
        }
    }
}

/// A [`Response`] by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResponseName {
    /// People are told.
    None,
    /// The actor sees and searches only with a purpose that it set since the newest finding.
    AskReason,
    /// The actor's budgets are a tenth until a person has closed the case.
    LowerBudget,
    /// The actor sees nothing in clear until a person has closed the case.
    Suspend,
}

impl From<ResponseName> for Response {
    fn from(name: ResponseName) -> Self {
        match name {
            ResponseName::None => Self::Nothing,
            ResponseName::AskReason => Self::AskReason,
            ResponseName::LowerBudget => Self::LowerBudget,
            ResponseName::Suspend => Self::Suspend,
        }
    }
}

/// A place that takes notices as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// `https://...`, or `http://` with a loopback address.
    pub url: ReceiverUrl,
    /// A file with the secret that signs notices (HMAC-SHA-256), relative to the folder.
    pub secret: PathBuf,
    /// Certificates (PEM) that vouch for it beside the machine's authorities, relative to the folder.
    pub root_certificates: Option<PathBuf>,
}

/// How a mail server is talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MailTls {
    /// In clear first, then TLS, or nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// In clear; on loopback only.
    None,
}

/// A mail server, and who is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// `HOST` or `HOST:PORT`.
    pub server: String,
    /// How it is talked to.
    #[serde(default = "starttls")]
    pub tls: MailTls,
    /// The account there.
    pub user: Option<String>,
    /// A file with its password, relative to the folder.
    pub password: Option<PathBuf>,
    /// From whom.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

fn starttls() -> MailTls {
    MailTls::Starttls
}

impl MailConfig {
    /// Host and port.
    ///
    /// # Errors
    /// If the port is none.
    pub fn place(&self) -> Result<(String, u16)> {
        let usual = match self.tls {
            MailTls::Starttls => 587,
            MailTls::Implicit => 465,
            MailTls::None => 25,
        };
        let Some((host, port)) = self.server.rsplit_once(':') else {
            return Ok((self.server.clone(), usual));
        };
        let port = port.parse().with_context(|| {
            format!(
                "watch.mail.server: {:?}; allowed: HOST or HOST:PORT",
                self.server
            )
        })?;
        Ok((host.to_owned(), port))
    }
}

impl WatchConfig {
    /// Whether it can be.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn check(&self) -> Result<()> {
        if !CASES_PER_DAY.contains(&self.cases_per_day) {
            let (least, most) = CASES_PER_DAY.into_inner();
            bail!(
                "watch.cases_per_day: {}; allowed: {least} to {most}",
                self.cases_per_day
            );
        }
        if !(-840..=840).contains(&self.offset_minutes) {
            bail!(
                "watch.offset_minutes: {}; allowed: -840 to 840",
                self.offset_minutes
            );
        }
        if !COUNTERS_S.contains(&self.counters_s) {
            let (least, most) = COUNTERS_S.into_inner();
            bail!(
                "watch.counters_s: {}; allowed: {least} to {most}",
                self.counters_s
            );
        }
        if self.webhooks.len() > WEBHOOKS_MAX {
            bail!(
                "watch.webhooks: {} tables; allowed: {WEBHOOKS_MAX}",
                self.webhooks.len()
            );
        }
        let Some(mail) = &self.mail else {
            return Ok(());
        };
        let (host, _) = mail.place()?;
        let loopback = matches!(host.as_str(), "localhost" | "127.0.0.1");
        if mail.tls == MailTls::None && !loopback {
            bail!(
                "watch.mail.tls: none, and {host} is not loopback; allowed: starttls or implicit there"
            );
        }
        if mail.to.is_empty() || mail.to.len() > ADDRESSES_MAX {
            bail!(
                "watch.mail.to: {} addresses; allowed: 1 to {ADDRESSES_MAX}",
                mail.to.len()
            );
        }
        if mail.user.is_some() != mail.password.is_some() {
            bail!("watch.mail: user and password go together");
        }
        Ok(())
    }
}

/// The lines for the file that `sekisho init` writes.
pub const TEMPLATE: &str = "\
[watch]
# Detection folds the ledger into cases (`sekisho case list`). Three things to set: cases a day for
# 1,000 people, what is done about a case, and who is told. Fewer cases or less response loosens: it
# waits for two approvers, and until then what is in force goes on.
# cases_per_day = 1
# response = \"none\"                        # or, until people close the case: \"ask-reason\" (a purpose first),
#                                          # \"lower-budget\" (a tenth), \"suspend\" (clear values)
# offset_minutes = 540                     # the place's days, ahead of UTC
# counters_s = 300                         # between two looks at PostgreSQL's own counters
# [[watch.webhooks]]
# url = \"https://soc.example.jp/sekisho\"   # JSON, signed (docs/watch.md)
# secret = \"secrets/webhook\"               # a file with 16 bytes or more, shared with the receiver
# [watch.mail]
# server = \"mail.example.jp:587\"
# tls = \"starttls\"                         # or \"implicit\"
# user = \"sekisho\"
# password = \"secrets/mail\"
# from = \"sekisho@example.jp\"
# to = [\"security@example.jp\"]
";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<WatchConfig, String> {
        let config: WatchConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn what_is_wrong_says_what_is_allowed() {
        assert_eq!(read("").unwrap().cases_per_day, 1);
        let mail = "[mail]\nfrom = \"a@b\"\nto = [\"c@d\"]\n";
        for (text, says) in [
            ("cases_per_day = 0", "allowed: 1 to 1000"),
            ("counters_s = 0", "allowed: 1 to 3600"),
            (
                "response = \"dismiss\"",
                "`ask-reason`, `lower-budget`, `suspend`",
            ),
            (
                &format!("{mail}server = \"h\"\ntls = \"none\""),
                "is not loopback",
            ),
            (
                &format!("{mail}server = \"h:x\""),
                "allowed: HOST or HOST:PORT",
            ),
            (
                &format!("{mail}server = \"h\"\nuser = \"u\""),
                "user and password",
            ),
        ] {
            let wrong = read(text).unwrap_err();
            assert!(wrong.contains(says), "{wrong}");
        }
        let good = read(&format!(
            "{mail}server = \"127.0.0.1:2525\"\ntls = \"none\""
        ))
        .unwrap();
        assert_eq!(
            good.mail.unwrap().place().unwrap(),
            ("127.0.0.1".to_owned(), 2525)
        );
    }
}
