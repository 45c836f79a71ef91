//! A secret in Delinea Secret Server, by reference.

use std::path::PathBuf;

use url::Url;

use crate::environment::{DELINEA_CLIENT_ID, DELINEA_CLIENT_SECRET};
use crate::node::Entry;
use crate::problem::{Problem, Problems};
use crate::reader::{Located, TableReader};
use crate::secret::{self, SecretRef, SecretSetting};
use crate::text::Place;

/// Ids are positive 32-bit integers.
const MAX_SECRET_ID: u64 = i32::MAX as u64;

pub(crate) const LOGINS: [(&str, DelineaLogin); 3] = [
    ("client_credentials", DelineaLogin::ClientCredentials),
    ("password", DelineaLogin::Password),
    ("platform", DelineaLogin::Platform),
];

/// A field of a secret in Delinea Secret Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delinea {
    /// The server, with the application's path and without a slash at its end: `https://vault.corp.example/SecretServer`.
    pub url: String,
    /// The secret's number.
    pub secret_id: u64,
    /// The field's slug or name.
    pub field: String,
    /// How the host logs in.
    pub login: DelineaLogin,
    /// Who it logs in as.
    pub client_id: SecretSetting,
    /// With what.
    pub client_secret: SecretSetting,
    /// Certificates (PEM) that are taken besides the system's.
    pub certificate_file: Option<PathBuf>,
}

/// How the host logs in to Delinea.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DelineaLogin {
    /// OAuth2 client credentials at Secret Server itself.
    #[default]
    ClientCredentials,
    /// OAuth2 password grant at Secret Server: name and password of an application account.
    Password,
    /// OAuth2 client credentials at the Delinea Platform, which says where its vault is.
    Platform,
}

/// Reads `{ delinea = { … } }`.
pub(crate) fn read(outer: &mut TableReader<'_>) -> Option<Delinea> {
    let mut table = outer.table("delinea")?;
    let place = table.origin().place();
    let url = table.required_string("url", "write `url = \"https://HOST/SecretServer\"`");
    let url = url.and_then(|found| read_url(&table, found));
    let key = table.either("secret_id", "secret-id");
    let secret_id = match table.entry(key) {
        Some(_) => table.integer(key, 1, MAX_SECRET_ID),
        None => {
            table.missing(key, "the secret's number, as its page's address shows it");
            None
        }
    };
    let field = table.required_string("field", "the slug of the secret's field, for example `password`");
    let login = table.choice("login", &LOGINS);
    let client_id = read_credential(&mut table, ["client_id", "client-id"], DELINEA_CLIENT_ID, &place);
    let client_secret = read_credential(&mut table, ["client_secret", "client-secret"], DELINEA_CLIENT_SECRET, &place);
    let key = table.either("certificate_file", "certificate-file");
    let certificate_file = table.path(key);
    table.finish();
    Some(Delinea {
        url: url?,
        secret_id: secret_id?.value,
        field: field?.value,
        login: login.map(|found| found.value).unwrap_or_default(),
        client_id: client_id?,
        client_secret: client_secret?,
        certificate_file: certificate_file.map(|found| found.value),
    })
}

/// Without the key: the variable.
fn read_credential(
    table: &mut TableReader<'_>,
    [key, alias]: [&'static str; 2],
    variable: &'static str,
    place: &Place,
) -> Option<SecretSetting> {
    let key = table.either(key, alias);
    match table.entry(key) {
        Some(entry) => read_local(table.path_of(key), entry, table.problems()),
        None => Some(SecretSetting {
            path: table.path_of(key),
            from: SecretRef::Env(variable.to_owned()),
            place: place.clone(),
        }),
    }
}

/// A reference that is not to a vault: what opens it cannot be in it.
fn read_local(path: String, entry: &Entry, problems: &Problems) -> Option<SecretSetting> {
    let setting = secret::read_entry(path, entry, problems)?;
    if let SecretRef::Delinea(_) = setting.from {
        let hint = "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";
        let problem = "comes from the vault that it opens";
        problems.at(Problem::Name { path: setting.path, problem, hint }, &entry.node.origin);
        return None;
    }
    Some(setting)
}

/// An https URL, or one of this machine.
fn read_url(table: &TableReader<'_>, found: Located<String>) -> Option<String> {
    const FORM: &str = "write `https://HOST` or `https://HOST/SecretServer`, without user, query or fragment";
    let refuse = |problem, hint| {
        table.problems().at(Problem::Server { path: table.path_of("url"), problem, hint }, &found.origin);
        None
    };
    let Ok(url) = Url::parse(&found.value) else { return refuse("is no URL", FORM) };
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let has_more = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
    match url.scheme() {
        _ if url.host().is_none() || has_more || url.fragment().is_some() => {
            refuse("is not the plain URL of a server", FORM)
        }
        "https" => Some(url.as_str().trim_end_matches('/').to_owned()),
        "http" if is_loopback => Some(url.as_str().trim_end_matches('/').to_owned()),
        _ => refuse("is not encrypted", "write `https://`: secrets do not leave this machine in the clear"),
    }
}
