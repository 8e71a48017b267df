//! The company medium: which one it is, and opening it for the broker's thread alone.

use std::sync::mpsc::Sender;

use terminal::decide::{Outcome, TokenState};
use terminal::report::{Channel, Said};

use super::Agent;
use crate::block::{self, Disk, Number};
use crate::broker::{Asked, Medium, Opened, Written};
use crate::clock::now_ms;
use crate::guard::Key;
use crate::log::say;
use crate::reporter::short;

impl Agent {
    /// Does what the broker's thread asks for, and answers.
    pub(super) fn on_asked(&mut self, asked: Asked) {
        fn answer<T>(to: &Sender<Result<T, String>>, with: Result<T, String>) {
            // The thread gave up waiting: what was opened is closed below all the same.
            let _ = to.send(with);
        }
        match asked {
            Asked::Medium(to) => answer(&to, self.medium().map(|(medium, _)| medium)),
            Asked::Open(medium, to) => {
                let opened = self.open_medium(&medium);
                if let Err(why) = &opened {
                    say("trouble", &[("what", why.as_str().into())]);
                    self.close_medium();
                }
                if to.send(opened).is_err() {
                    self.close_medium();
                }
            }
            Asked::Close(disk, to) => {
                let closed = self.brokered.as_ref().is_none_or(|it| *it == disk);
                self.close_medium();
                answer(
                    &to,
                    match closed {
                        true => Ok(()),
                        false => Err("another medium was open".to_owned()),
                    },
                );
            }
            Asked::Written(written) => self.say_copied(written),
            Asked::Refused(count) => {
                self.reporter.counters.refused += count;
                self.reporter.say(Said::Refused {
                    channel: Channel::Broker,
                    key: "broker".to_owned(),
                    count,
                });
            }
        }
    }

    fn say_copied(&mut self, written: Written) {
        say(
            "copied",
            &[
                ("grant", written.grant.into()),
                ("bytes", written.bytes.into()),
            ],
        );
        self.reporter.say(Said::Written {
            grant: written.grant.into(),
            medium: written.medium,
            files: 1,
            bytes: written.bytes,
            findings: written.findings,
        });
    }

    /// The one medium that is plugged in, whose token counts and which the policy gives the broker.
    fn medium(&self) -> Result<(Medium, Disk), String> {
        let mut found = Vec::new();
        for (key, judged) in &self.usb {
            let Some(TokenState::Read(Ok(token))) = self.token_states.get(key) else {
                continue;
            };
            if judged.verdict.outcome != Outcome::Broker || now_ms() > token.until_ms {
                continue;
            }
            let disks = self.sysfs.disks().into_iter();
            found.extend(
                disks
                    .filter(|disk| disk.usb.as_ref() == Some(key))
                    .map(|disk| {
                        let medium = Medium {
                            disk: disk.name.clone(),
                            client: token.client.clone(),
                            id: token.id,
                        };
                        (medium, disk)
                    }),
            );
        }
        match found.len() {
            1 => found.pop().ok_or_else(String::new),
            0 => Err("no company medium that the broker may write to is plugged in".to_owned()),
            _ => Err("several company media are plugged in; leave one".to_owned()),
        }
    }

    /// Lets this process, and no other, write to this medium.
    fn open_medium(&mut self, wanted: &Medium) -> Result<Opened, String> {
        let (found, disk) = self.medium()?;
        if found != *wanted {
            return Err("the medium was changed".to_owned());
        }
        let (node, number) = match disk.partitions.as_slice() {
            [] => (disk.name.clone(), disk.number),
            [(partition, number)] => (partition.clone(), *number),
            _ => return Err("the medium has several partitions; make it one".to_owned()),
        };
        let open = |name: &str, number| {
            block::open(&self.dev, name, number).map_err(|error| error.to_string())
        };
        let device = disk.usb.as_ref().and_then(|usb| self.usb.get(usb));
        let opened = Opened {
            node: open(&node, number)?,
            disk: open(&disk.name, disk.number)?,
            serial: device.map_or(String::new(), |it| it.device.serial.clone()),
            size: disk.size,
            keys: self.policy.keys.clone(),
        };
        let guard = self.guard.as_mut().map_err(|why| why.clone())?;
        // Where nothing keeps the others out, nothing is opened.
        if !guard.is_on() {
            return Err("the guard is off".to_owned());
        }
        self.brokered = Some(disk.name.clone());
        let process = crate::guard::this_process().map_err(|error| error.to_string())?;
        for number in numbers(&disk) {
            let told = guard.set_broker(Key::Block(number.kernel()), process);
            told.map_err(|error| error.to_string())?;
        }
        let flags = self.set_read_only_all(&disk, false);
        flags.map_err(|error| format!("the medium stays read-only: {error}"))?;
        Ok(opened)
    }

    /// Closes the medium that is open, if one is.
    pub(super) fn close_medium(&mut self) {
        let Some(name) = self.brokered.take() else {
            return;
        };
        if let Some(disk) = self.sysfs.disk(&name)
            && let Err(error) = self.set_read_only_all(&disk, true)
        {
            // Said again, and in every heartbeat, by whoever holds the disks.
            say("trouble", &[("what", format!("{name}: {error}").into())]);
        }
        if let Ok(guard) = &mut self.guard
            && let Err(error) = guard.close_brokers()
        {
            let what = format!("the guard: {error}");
            say("trouble", &[("what", what.as_str().into())]);
            self.reporter.say(Said::Tampered { what: short(&what) });
        }
    }

    fn set_read_only_all(&self, disk: &Disk, on: bool) -> std::io::Result<()> {
        let mut parts = vec![(disk.name.clone(), disk.number)];
        parts.extend(disk.partitions.iter().cloned());
        // The disk is opened first and closed last.
        if on {
            parts.reverse();
        }
        for (name, number) in parts {
            let file = block::open(&self.dev, &name, number)?;
            ioctls::set_read_only(&file, on)?;
        }
        Ok(())
    }
}

fn numbers(disk: &Disk) -> impl Iterator<Item = Number> {
    let partitions = disk.partitions.iter().map(|(_, number)| *number);
    std::iter::once(disk.number).chain(partitions)
}
