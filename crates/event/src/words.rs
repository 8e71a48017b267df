//! The closed sets of words: class, mode, outcome, role. Each has a code that is written to disk
//! (never renumbered) and a name that people read and write.

use std::fmt;
use std::str::FromStr;

/// A code or name that is not in the set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {set} `{given}`; allowed: {allowed}")]
pub struct UnknownCode {
    /// Which set: "class", "mode", ...
    pub set: &'static str,
    /// What was given.
    pub given: String,
    /// The names of the set.
    pub allowed: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident $set:literal { $($(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }

        impl $name {
            /// All of them, in order of code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code on disk.
            pub fn code(self) -> u8 { self as u8 }

            /// The name in commands, configuration and messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The inverse of `code`.
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.name()) }
        }

        impl FromStr for $name {
            type Err = UnknownCode;
            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownCode { set: $set, given: text.chars().take(40).collect(), allowed: [$($text),+].join(", ") }),
                }
            }
        }
    };
}

words!(
    /// The kind of a personal value.
    Class "class" {
        /// A person's name.
        Name = 1 "name",
        /// The name's reading in kana.
        Kana = 2 "kana",
        /// A postal address.
        Address = 3 "address",
        /// A telephone number.
        Phone = 4 "phone",
        /// An e-mail address.
        Email = 5 "email",
        /// A date of birth.
        BirthDate = 6 "birth-date",
        /// A number the client gave the customer.
        CustomerNumber = 7 "customer-number",
        /// Free text about a person.
        FreeText = 8 "free-text",
    }
);

words!(
    /// How a cell is sealed.
    Mode "mode" {
        /// A fresh nonce: equal values give different cells.
        Random = 1 "random",
        /// A nonce derived from the canonical value: within a client equal values give equal cells.
        Exact = 2 "exact",
    }
);

words!(
    /// What an actor gets for a class of a client, from least to most.
    Outcome "outcome" {
        /// An error.
        Refused = 0 "refused",
        /// The ciphertext as stored.
        Sealed = 1 "sealed",
        /// A part, such as 090-****-1234.
        Masked = 2 "masked",
        /// The value.
        Clear = 3 "clear",
    }
);

words!(
    /// What an actor does.
    Role "role" {
        /// Answers calls.
        Operator = 1 "operator",
        /// Leads operators.
        Supervisor = 2 "supervisor",
        /// Runs databases and machines; moves cells, opens none.
        Maintainer = 3 "maintainer",
        /// Configures Sekisho; sees no customer data.
        Administrator = 4 "administrator",
        /// Reads findings and cases.
        Security = 5 "security",
        /// Reads the ledger.
        Auditor = 6 "auditor",
        /// Works at the client.
        ClientOfficer = 7 "client-officer",
        /// Holds a key and signs grants and changes.
        Approver = 8 "approver",
        /// Brings a client's data in, under a grant.
        Importer = 9 "importer",
    }
);

words!(
    /// What is done about a case besides telling people; the greater one is the stricter.
    #[derive(Default)]
    Response "response" {
        /// Nothing: people are told.
        #[default]
        Nothing = 0 "none",
        /// The actor sees and searches only with a purpose that it set since the newest finding.
        AskReason = 1 "ask-reason",
        /// The actor's budgets are a tenth until a person has closed the case.
        LowerBudget = 2 "lower-budget",
        /// The actor sees nothing in clear until a person has closed the case.
        Suspend = 3 "suspend",
    }
);

words!(
    /// Why a case was closed.
    CloseReason "reason" {
        /// The work was as it should be, and there is an explanation.
        Explained = 1 "explained",
        /// The finding was wrong.
        FalseAlarm = 2 "false-alarm",
        /// It was what it looked like, and something was done about it.
        Acted = 3 "acted",
        /// Another case holds it.
        Duplicate = 4 "duplicate",
    }
);

words!(
    /// What a terminal says.
    TerminalEvent "event of a terminal" {
        /// A file was written that may hold a list.
        FileWritten = 1 "file-written",
        /// Removable media were attached.
        MediaAttached = 2 "media-attached",
        /// Removable media were refused.
        MediaRefused = 3 "media-refused",
        /// Something was written to removable media.
        MediaWritten = 4 "media-written",
        /// Something was sent to a foreign place by network.
        Sent = 5 "sent",
    }
);

words!(
    /// What refuses storage on a terminal.
    System "system of a terminal" {
        /// Linux, by the agent.
        Linux = 1 "linux",
        /// Windows, by its own policies; evidence is brought in.
        Windows = 2 "windows",
        /// macOS, by its own policies; evidence is brought in.
        Macos = 3 "macos",
    }
);

impl Class {
    /// Whether exact cells are allowed: only for nearly unique classes. Equality shows
    /// frequencies, and names or birth dates would be read off them.
    pub fn may_be_exact(self) -> bool {
        matches!(self, Self::Phone | Self::Email | Self::CustomerNumber)
    }
}
