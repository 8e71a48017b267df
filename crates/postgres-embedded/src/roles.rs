//! The roles by which the gate logs in upstream, one for each role of actors, and the database
//! they work in.

use std::fmt;

use tokio_postgres::Client;

use crate::server::LOG_SETTINGS;
use crate::{Password, Server, ServerError};

/// A role of the gate's in PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum UpstreamRole {
    /// Operators and supervisors: read and write rows.
    Operator,
    /// Maintainers: run the database.
    Maintainer,
    /// Imports: read and write rows.
    Importer,
    /// Owns the schemas; `sekisho seal` works as it.
    Owner,
    /// Reads the catalogues, no rows.
    Catalogue,
}

impl UpstreamRole {
    /// All of them. The owner is first, for others are granted it.
    pub const ALL: [Self; 5] = [
        Self::Owner,
        Self::Operator,
        Self::Maintainer,
        Self::Importer,
        Self::Catalogue,
    ];

    /// The role's name in PostgreSQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "sekisho_operator",
            Self::Maintainer => "sekisho_maintainer",
            Self::Importer => "sekisho_importer",
            Self::Owner => "sekisho_owner",
            Self::Catalogue => "sekisho_catalogue",
        }
    }

    /// What it may do to the cluster. A superuser runs programs as the server's user: only where
    /// that is not also ours.
    fn attributes(self, isolated: bool) -> &'static str {
        match self {
            Self::Maintainer if isolated => "SUPERUSER CREATEDB CREATEROLE REPLICATION",
            Self::Maintainer | Self::Owner => {
                "NOSUPERUSER CREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            }
            _ => "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS",
        }
    }

    /// The roles it is a member of, where this version of PostgreSQL has them.
    fn member_of(self) -> &'static [&'static str] {
        match self {
            Self::Maintainer => &[
                "sekisho_owner",
                "pg_read_all_data",
                "pg_write_all_data",
                "pg_monitor",
                "pg_signal_backend",
                "pg_checkpoint", // 15
                "pg_maintain",   // 17
            ],
            Self::Catalogue => &["pg_read_all_settings"],
            _ => &[],
        }
    }
}

impl fmt::Display for UpstreamRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How the gate logs in as a role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Which.
    pub role: UpstreamRole,
    /// Its password.
    pub password: Password,
}

/// The credentials of all roles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roles(Vec<Credentials>);

impl Roles {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Credentials> {
        self.0.iter()
    }

    /// A role's password.
    pub fn password(&self, role: UpstreamRole) -> Option<&Password> {
        self.0
            .iter()
            .find(|it| it.role == role)
            .map(|it| &it.password)
    }
}

/// Makes the roles, or sets existing ones right, each with a new random password. PostgreSQL gets
/// SCRAM verifiers, never a password. `isolated` ([`Server::is_isolated`]) decides whether
/// maintainers are superusers; for a server on another machine say `true`.
///
/// # Errors
/// [`ServerError::Database`]; nothing is changed then.
pub async fn create_roles(client: &mut Client, isolated: bool) -> Result<Roles, ServerError> {
    let rows = client
        .query("SELECT rolname::text FROM pg_roles", &[])
        .await?;
    let existing: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let has = |name: &str| existing.iter().any(|it| it == name);
    let transaction = client.transaction().await?;
    let mut made = Vec::new();
    for role in UpstreamRole::ALL {
        let password =
            Password::random().map_err(ServerError::file("make a password for", role.name()))?;
        // Hexadecimal digits and base64 need no quoting.
        let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
        let verb = if has(role.name()) { "ALTER" } else { "CREATE" };
        let attributes = role.attributes(isolated);
        let mut statements =
            format!("{verb} ROLE {role} WITH LOGIN {attributes} INHERIT PASSWORD '{verifier}';");
        for (name, value) in LOG_SETTINGS {
            statements.push_str(&format!("ALTER ROLE {role} SET {name} = '{value}';"));
        }
        for group in role.member_of() {
            if has(group) || *group == UpstreamRole::Owner.name() {
                statements.push_str(&format!("GRANT {group} TO {role};"));
            }
        }
        transaction.batch_execute(&statements).await?;
        made.push(Credentials { role, password });
    }
    transaction.commit().await?;
    Ok(Roles(made))
}

/// Makes a database owned by `sekisho_owner`, if there is none of the name, and gives the roles
/// their rights in it, also on what its owner and maintainers create later. Needs
/// [`create_roles`].
///
/// # Errors
/// [`ServerError::Name`], [`ServerError::Database`].
pub async fn create_database(server: &Server, name: &str) -> Result<(), ServerError> {
    let mut bytes = name.bytes();
    let letter_first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !letter_first || !bytes.all(plain) || name.len() > 63 {
        return Err(ServerError::Name(name.chars().take(64).collect()));
    }
    let admin = server.connect("postgres").await?;
    let there = admin
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name])
        .await?;
    if there.is_none() {
        admin
            .batch_execute(&format!("CREATE DATABASE {name} OWNER sekisho_owner"))
            .await?;
    }
    let client = server.connect(name).await?;
    let rows = "sekisho_operator, sekisho_importer";
    let readers = "sekisho_operator, sekisho_importer, sekisho_catalogue";
    let mut statements = format!(
        "GRANT ALL ON SCHEMA public TO sekisho_owner;
         GRANT USAGE ON SCHEMA public TO {readers};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {rows};
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {rows};"
    );
    for creator in [UpstreamRole::Owner, UpstreamRole::Maintainer] {
        let default = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {creator} GRANT");
        statements.push_str(&format!(
            "{default} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {rows};
             {default} USAGE, SELECT ON SEQUENCES TO {rows};
             {default} USAGE ON SCHEMAS TO {readers};"
        ));
    }
    client.batch_execute(&statements).await?;
    Ok(())
}
