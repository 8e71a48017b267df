//! macOS: a profile, and the declaration that follows it.
//!
//! Published by Apple (github.com/apple/device-management): `com.apple.applicationaccess`
//! (`allowUSBRestrictedMode`, macOS 13), `com.apple.systemuiserver` (`mount-controls`, deprecated with
//! macOS 11), and the declaration `com.apple.configuration.diskmanagement.settings` (macOS 15), which
//! takes the place of the second and comes by declarative device management alone.

use serde_json::json;

use super::feature::{Said, What};
use super::{File, HEADER, digest_line, uuid, xml};
use crate::kind::Kind;
use crate::policy::{Company, Optical, Policy, Rule};

/// Media that are neither mounted nor left in.
const REFUSED: [&str; 1] = ["harddisk-external"];
const DISCS: [&str; 3] = ["cd", "dvd", "bd"];
/// Media that are there to be written.
const BLANK: [&str; 4] = ["blankcd", "blankdvd", "blankbd", "dvdram"];

pub(super) fn files(policy: &Policy) -> Vec<File> {
    vec![
        File::text("sekisho.mobileconfig", profile(policy)),
        File::text("diskmanagement.json", declaration(policy)),
    ]
}

fn profile(policy: &Policy) -> String {
    let restrictions = payload(
        "com.apple.applicationaccess",
        "USB accessories ask while it is locked",
        "<key>allowUSBRestrictedMode</key>\n<true/>\n",
    );
    let media = payload(
        "com.apple.systemuiserver",
        "Media (deprecated with macOS 11)",
        &format!(
            "<key>mount-controls</key>\n<dict>\n{}</dict>\n",
            controls(policy)
        ),
    );
    let description = xml(&format!("{HEADER} {}", digest_line(policy)));
    let uuid = uuid("macos profile").to_uppercase();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\
         <key>PayloadContent</key>\n<array>\n{restrictions}{media}</array>\n\
         <key>PayloadDescription</key>\n<string>{description}</string>\n\
         <key>PayloadDisplayName</key>\n<string>Sekisho: terminals</string>\n\
         <key>PayloadIdentifier</key>\n<string>sekisho.terminal</string>\n\
         <key>PayloadRemovalDisallowed</key>\n<true/>\n\
         <key>PayloadScope</key>\n<string>System</string>\n\
         <key>PayloadType</key>\n<string>Configuration</string>\n\
         <key>PayloadUUID</key>\n<string>{uuid}</string>\n\
         <key>PayloadVersion</key>\n<integer>1</integer>\n\
         </dict>\n</plist>\n"
    )
}

fn payload(kind: &str, name: &str, keys: &str) -> String {
    let uuid = uuid(&format!("macos {kind}")).to_uppercase();
    format!(
        "<dict>\n{keys}\
         <key>PayloadDisplayName</key>\n<string>{name}</string>\n\
         <key>PayloadIdentifier</key>\n<string>sekisho.terminal.{kind}</string>\n\
         <key>PayloadType</key>\n<string>{kind}</string>\n\
         <key>PayloadUUID</key>\n<string>{uuid}</string>\n\
         <key>PayloadVersion</key>\n<integer>1</integer>\n\
         </dict>\n"
    )
}

fn controls(policy: &Policy) -> String {
    let refused: &[&str] = &["deny", "eject"];
    let discs = match policy.optical {
        Optical::Refuse => refused,
        Optical::ReadOnly => &["read-only"],
    };
    let mut text = String::new();
    for (media, actions) in [
        (REFUSED.as_slice(), refused),
        (&DISCS, discs),
        (&BLANK, refused),
    ] {
        for medium in media {
            text.push_str(&format!("<key>{medium}</key>\n<array>\n"));
            for action in actions {
                text.push_str(&format!("<string>{action}</string>\n"));
            }
            text.push_str("</array>\n");
        }
    }
    text
}

fn declaration(policy: &Policy) -> String {
    let declaration = json!({
        "Type": "com.apple.configuration.diskmanagement.settings",
        "Identifier": format!("sekisho.terminal.{}", uuid("macos declaration")),
        "ServerToken": digest_line(policy),
        "Payload": { "Restrictions": { "ExternalStorage": "Disallowed" } },
    });
    format!("{declaration:#}\n")
}

pub(super) fn say(_: &Policy, what: &What<'_>) -> Said {
    match what {
        What::Kind(Kind::Storage, _) => Said::partly(
            "external storage is not mounted; whoever opens the raw device reads it (before macOS 15: by a deprecated profile)",
        ),
        What::Kind(_, Rule::Allow) => Said::partly(
            "macOS asks whoever works there before a new accessory is used while it is locked, and no kind apart",
        ),
        What::Kind(_, Rule::Refuse | Rule::Confirm) => {
            Said::not("macOS has no rules for kinds of devices: it works")
        }
        What::Unknown => Said::not("macOS has no rules for kinds of devices: it works"),
        What::Interfaces => Said::not("macOS has no rules for interfaces"),
        What::Buses => Said::partly(
            "external storage of any bus is not mounted; shared folders of a network are",
        ),
        What::Identity => Said::not("macOS judges a device that comes back as another one anew"),
        What::Company(Company::Refuse) => Said::Wholly,
        What::Company(Company::ReadOnly | Company::Broker) => {
            Said::not("macOS reads no token: company media are not mounted, like any other")
        }
        What::Keys([]) => Said::Wholly,
        What::Keys(_) => Said::not("macOS reads no token"),
        What::Optical(Optical::Refuse) => Said::Wholly,
        What::Optical(Optical::ReadOnly) => Said::partly(
            "the deprecated profile says so; the declaration of macOS 15 does not tell discs from disks and refuses both",
        ),
        What::Model(_) => Said::not("macOS has no rules for models"),
        What::Guard(_) => Said::not("there is no guard on macOS"),
        What::Heartbeat(_) | What::Queue(_) => Said::not("there is no agent on macOS"),
    }
}
