//! Intune: the settings of `defender` and of device installation as OMA-URIs, in the form of a custom
//! configuration of Microsoft Graph (`windows10CustomConfiguration`).
//!
//! Published by Microsoft: "Deploy and manage device control in Microsoft Defender for Endpoint with
//! Microsoft Intune", the policy CSPs DeviceInstallation and ADMX_RemovableStorage, and the Graph types
//! `omaSettingInteger`, `omaSettingString` and `omaSettingStringXml`.

use base64_simd::STANDARD;
use serde_json::{Value, json};

use super::feature::{Said, What};
use super::{File, HEADER, defender, digest_line, gpo, xml};
use crate::kind::Kind;
use crate::policy::{Optical, Policy, Rule};

const DEFENDER: &str = "./Vendor/MSFT/Defender/Configuration";
const POLICY: &str = "./Device/Vendor/MSFT/Policy/Config";
/// Between the entries of a list in an ADMX-backed policy.
const SEPARATOR: &str = "&#xF000;";

fn integer(name: &str, uri: String, value: u32) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.omaSettingInteger",
        "displayName": name,
        "omaUri": uri,
        "value": value,
    })
}

fn string(name: &str, uri: String, value: &str) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.omaSettingString",
        "displayName": name,
        "omaUri": uri,
        "value": value,
    })
}

fn document(name: &str, uri: String, value: &str) -> Value {
    json!({
        "@odata.type": "#microsoft.graph.omaSettingStringXml",
        "displayName": name,
        "omaUri": uri,
        "fileName": format!("{}.xml", name.to_lowercase().replace(' ', "-")),
        "value": STANDARD.encode_to_string(value.as_bytes()),
    })
}

/// `{` and `}` of an id, as they stand in a URI.
fn in_uri(id: &str) -> String {
    id.replace('{', "%7B").replace('}', "%7D")
}

fn settings(policy: &Policy) -> Vec<Value> {
    let mut settings = vec![
        integer(
            "Device control",
            format!("{DEFENDER}/DeviceControlEnabled"),
            1,
        ),
        integer(
            "Default enforcement: deny",
            format!("{DEFENDER}/DefaultEnforcement"),
            2,
        ),
        string(
            "Controlled types",
            format!("{DEFENDER}/SecuredDevicesConfiguration"),
            defender::secured(policy),
        ),
    ];
    for group in defender::groups(policy) {
        let id = in_uri(&defender::id(group.name));
        let uri = format!("{DEFENDER}/DeviceControl/PolicyGroups/{id}/GroupData");
        settings.push(document(group.name, uri, &group.xml()));
    }
    for rule in defender::rules(policy) {
        let id = in_uri(&defender::id(rule.name));
        let uri = format!("{DEFENDER}/DeviceControl/PolicyRules/{id}/RuleData");
        settings.push(document(rule.name, uri, &rule.xml()));
    }
    settings.extend(installation(policy));
    if policy.optical == Optical::Refuse {
        settings.push(string(
            "All removable storage: deny",
            format!("{POLICY}/ADMX_RemovableStorage/RemovableStorageClasses_DenyAll_Access_2"),
            "<enabled/>",
        ));
    }
    settings
}

/// Device installation, as `windows-gpo` sets it.
fn installation(policy: &Policy) -> Vec<Value> {
    let area = format!("{POLICY}/DeviceInstallation");
    let mut settings = vec![
        string(
            "Layers of device installation",
            format!("{area}/EnableInstallationPolicyLayering"),
            "<enabled/><data id=\"AllowDenyLayered\" value=\"1\"/>",
        ),
        string(
            "Prevented device IDs",
            format!("{area}/PreventInstallationOfMatchingDeviceIDs"),
            &format!(
                "<enabled/><data id=\"DeviceInstall_IDs_Deny_Retroactive\" value=\"true\"/>\
                 <data id=\"DeviceInstall_IDs_Deny_List\" value=\"{}\"/>",
                list(&gpo::denied_ids(policy))
            ),
        ),
    ];
    let allowed = gpo::allowed_ids(policy);
    if !allowed.is_empty() {
        settings.push(string(
            "Allowed device IDs",
            format!("{area}/AllowInstallationOfMatchingDeviceIDs"),
            &format!(
                "<enabled/><data id=\"DeviceInstall_IDs_Allow_List\" value=\"{}\"/>",
                list(&allowed)
            ),
        ));
    }
    settings
}

/// `1&#xF000;USB\Class_08&#xF000;2&#xF000;...`.
fn list(ids: &[String]) -> String {
    let numbered: Vec<_> = (1..)
        .zip(ids)
        .map(|(number, id)| format!("{number}{SEPARATOR}{}", xml(id)))
        .collect();
    numbered.join(SEPARATOR)
}

pub(super) fn files(policy: &Policy) -> Vec<File> {
    let configuration = json!({
        "@odata.type": "#microsoft.graph.windows10CustomConfiguration",
        "displayName": "Sekisho: terminals",
        "description": format!("{HEADER} {}", digest_line(policy)),
        "omaSettings": settings(policy),
    });
    let mut text = format!("{configuration:#}");
    text.push('\n');
    vec![File::text("intune.json", text)]
}

/// What both of its halves say: the better of the two for each kind.
pub(super) fn say(policy: &Policy, what: &What<'_>) -> Said {
    match what {
        What::Kind(Kind::Storage | Kind::Phone, _) | What::Buses | What::Optical(_) => {
            defender::say(policy, what)
        }
        What::Kind(Kind::Printer, Rule::Refuse) => Said::Wholly,
        What::Model(_) => match gpo::say(policy, what) {
            // A printer's class is prevented before Defender is asked.
            not @ Said::Not(_) => not,
            partly => partly,
        },
        _ => gpo::say(policy, what),
    }
}
