//! The policy: which one is in force, and how another one comes into force, or does not.

use std::fs;
use std::path::Path;

use terminal::device::Device;
use terminal::policy::{self, Policy};
use terminal::report::Said;
use terminal::sha256;

use super::Agent;
use crate::config::hex;
use crate::link::News;
use crate::log::say;
use crate::reporter::short;

impl Agent {
    /// The policy that is in force at the start. Where a gate hands it out, the last one that was
    /// taken; else the configured file's; else the standard one.
    pub(super) fn first_policy(&mut self) {
        let last = self.config.state.join("policy.toml");
        let mut paths = [self.config.policy.clone(), last];
        if self.gate.is_some() {
            paths.reverse();
        }
        for path in paths {
            match read_policy(&path).and_then(|it| it.map(|it| self.safe(it)).transpose()) {
                Ok(Some(policy)) => {
                    self.put_in_force(policy);
                    return;
                }
                Ok(None) => {}
                Err(why) => self.reject_policy(&path.display().to_string(), b"", &why),
            }
        }
        self.put_in_force(Policy::standard());
    }

    pub(super) fn reload_policy(&mut self) {
        let path = self.config.policy.clone();
        let taken = match read_policy(&path) {
            Ok(Some(policy)) => self.take_policy(policy),
            Ok(None) => Err("there is no such file".to_owned()),
            Err(why) => Err(why),
        };
        if let Err(why) = taken {
            let text = fs::read(&path).unwrap_or_default();
            self.reject_policy(&path.display().to_string(), &text, &why);
        }
    }

    /// The policy, if it would lock nobody out of the devices that are present.
    fn safe(&self, policy: Policy) -> Result<Policy, String> {
        let present: Vec<Device> = self
            .sysfs
            .usb_devices()
            .iter()
            .filter(|name| self.works(name))
            .filter_map(|name| self.sysfs.usb_device(name).ok())
            .collect();
        policy::check(&policy, &present).map_err(|error| error.to_string())?;
        Ok(policy)
    }

    /// Whether somebody may be using the device: what was refused cannot be missed.
    fn works(&self, name: &str) -> bool {
        self.sysfs.usb_authorized(name).unwrap_or(false)
    }

    fn take_policy(&mut self, policy: Policy) -> Result<(), String> {
        let policy = self.safe(policy)?;
        // A gate sends it at each connection: what was decided by it stays, tokens that were read too.
        let again = policy.digest() == self.policy.digest();
        let path = self.config.state.join("policy.toml");
        if let Err(error) = crate::files::replace(&path, policy.canonical().as_bytes()) {
            say(
                "trouble",
                &[("what", format!("{}: {error}", path.display()).into())],
            );
        }
        self.put_in_force(policy);
        if !again {
            self.token_states.clear();
            self.company_disks.clear();
            self.judge_everything("policy");
        }
        self.beat();
        Ok(())
    }

    fn put_in_force(&mut self, policy: Policy) {
        self.heartbeat_ms = u64::from(policy.heartbeat_s) * 1000;
        self.reporter.set_bytes_max(policy.queue_bytes_max);
        self.policy = policy;
        let digest = self.policy.digest();
        say("policy-taken", &[("policy", hex(&digest).into())]);
        self.reporter.say(Said::PolicyTaken { digest });
    }

    /// The one before stays in force.
    fn reject_policy(&mut self, from: &str, text: &[u8], why: &str) {
        say(
            "policy-rejected",
            &[
                ("from", from.into()),
                ("reason", why.into()),
                ("policy", hex(&self.policy.digest()).into()),
            ],
        );
        self.reporter.say(Said::PolicyRejected {
            digest: sha256(text),
            why: short(why),
        });
    }

    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::Welcome(_, heartbeat_ms) => {
                let own = u64::from(self.policy.heartbeat_s) * 1000;
                self.heartbeat_ms = own.min(u64::from(heartbeat_ms).max(1000));
            }
            News::Policy(text) => {
                let taken = Policy::parse(&text)
                    .map_err(|error| error.to_string())
                    .and_then(|policy| self.take_policy(policy));
                if let Err(why) = taken {
                    self.reject_policy("gate", text.as_bytes(), &why);
                }
            }
        }
    }
}

/// A policy's file; `None` if there is none.
fn read_policy(path: &Path) -> Result<Option<Policy>, String> {
    let bytes = match crate::sysfs::read_bytes(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let text =
        std::str::from_utf8(&bytes).map_err(|_| format!("{} is no UTF-8 text", path.display()))?;
    Policy::parse(text)
        .map(Some)
        .map_err(|error| format!("{}: {error}", path.display()))
}
