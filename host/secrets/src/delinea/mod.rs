//! Secrets in Delinea: `{ delinea = { … } }`, a field of a secret in Secret Server, also behind the Delinea Platform.

mod client;
mod error;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datakit_model::{Credential, Failure, Secret};

pub use self::client::{Client, ClientSettings, Login};
pub use self::error::DelineaError;
use crate::address;
use crate::environment::Variable;
use crate::fields::{Fields, Key};
use crate::kind::{Fetched, Reference, SecretKind, SecretRef, Unavailable};
use crate::opening::{Keytab, Opening};

/// The variable of `client_id`, where the reference does not say.
pub const CLIENT_ID_VARIABLE: &str = "DELINEA_CLIENT_ID";
/// The variable of `client_secret`, where the reference does not say.
pub const CLIENT_SECRET_VARIABLE: &str = "DELINEA_CLIENT_SECRET";

/// Ids are positive 32-bit integers.
const MAX_SECRET_ID: u64 = i32::MAX as u64;

const URL: Key = Key::new("url");
const SECRET_ID: Key = Key::or("secret_id", "secret-id");
const FIELD: Key = Key::new("field");
const LOGIN: Key = Key::new("login");
const CLIENT_ID: Key = Key::or("client_id", "client-id");
const CLIENT_SECRET: Key = Key::or("client_secret", "client-secret");
const CERTIFICATE_FILE: Key = Key::or("certificate_file", "certificate-file");

const LOGINS: [Login; 3] = [Login::ClientCredentials, Login::Password, Login::Platform];
const LOGIN_WORDS: [&str; 3] = ["client_credentials", "password", "platform"];

/// The kind.
#[derive(Debug)]
pub struct Kind;

impl SecretKind for Kind {
    fn key(&self) -> &'static str {
        "delinea"
    }

    fn form(&self) -> &'static str {
        "{ delinea = { … } }"
    }

    fn is_vault(&self) -> bool {
        true
    }

    fn read(&self, fields: &mut dyn Fields) -> Option<SecretRef> {
        let mut found = None;
        fields.table(self.key(), &mut |fields| found = read(fields));
        found.map(SecretRef::from)
    }
}

fn read(fields: &mut dyn Fields) -> Option<DelineaField> {
    let url = read_url(fields);
    let hint = "the secret's number, as its page's address shows it";
    let secret_id = fields.required_integer(SECRET_ID, 1, MAX_SECRET_ID, hint);
    let field = fields.required_text(FIELD, "the slug of the secret's field, for example `password`");
    let login = fields.word(LOGIN, &LOGIN_WORDS).map_or(Login::default(), |index| LOGINS[index]);
    let variable = |name: &str| Some(Variable(name.to_owned()).into());
    let client_id = fields.secret(CLIENT_ID, variable(CLIENT_ID_VARIABLE));
    let client_secret = fields.secret(CLIENT_SECRET, variable(CLIENT_SECRET_VARIABLE));
    let certificate_file = fields.path(CERTIFICATE_FILE);
    Some(DelineaField {
        url: url?,
        secret_id: secret_id?,
        field: field?,
        login,
        client_id: client_id.ok()??,
        client_secret: client_secret.ok()??,
        certificate_file,
    })
}

fn read_url(fields: &mut dyn Fields) -> Option<String> {
    const FORM: &str = "write `https://HOST` or `https://HOST/SecretServer`, without user, query or fragment";
    let text = fields.required_text(URL, "write `url = \"https://HOST/SecretServer\"`")?;
    let checked = address::checked(&text, FORM);
    checked.map_err(|refusal| fields.refuse(URL, refusal.problem, refusal.hint)).ok()
}

/// A field of a secret in Delinea Secret Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelineaField {
    /// The server, with the application's path and without a slash at its end: `https://vault.corp.example/SecretServer`.
    pub url: String,
    /// The secret's number.
    pub secret_id: u64,
    /// The field's slug or name.
    pub field: String,
    /// How the host logs in.
    pub login: Login,
    /// Who it logs in as.
    pub client_id: SecretRef,
    /// With what.
    pub client_secret: SecretRef,
    /// Certificates (PEM) that are taken besides the system's.
    pub certificate_file: Option<PathBuf>,
}

impl DelineaField {
    /// The client of the vault, which has asked nothing yet.
    fn client(&self, opening: &Opening<'_>) -> Result<Arc<Client>, Failure> {
        let Self { url, login, client_id, client_secret, certificate_file, .. } = self;
        let key = format!("{:?}", (url, login, client_id, client_secret, certificate_file));
        opening.vaults.client(key, || {
            Ok(Client::new(ClientSettings {
                url: url.clone(),
                login: *login,
                client_id: Secret::clone(opening.need(CLIENT_ID.name)?.get()?.as_ref()),
                client_secret: opening.need(CLIENT_SECRET.name)?,
                certificate_file: certificate_file.clone(),
            }))
        })
    }
}

impl Reference for DelineaField {
    fn kind(&self) -> &'static dyn SecretKind {
        &Kind
    }

    fn place(&self) -> String {
        format!("field `{}` of secret {} of {}", self.field, self.secret_id, self.url)
    }

    fn fetch(&self, _: &BTreeMap<String, String>) -> Result<Option<Fetched>, Unavailable> {
        Ok(None)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Credential, Failure> {
        let (client, id, field) = (self.client(opening)?, self.secret_id, self.field.clone());
        Ok(Credential::new(move || client.text(id, &field).map_err(Failure::from)))
    }

    fn keytab(&self, opening: &Opening<'_>) -> Result<Keytab, Failure> {
        let (client, id, field) = (self.client(opening)?, self.secret_id, self.field.clone());
        let keytab = Credential::new(move || client.keytab(id, &field).map_err(Failure::from));
        Ok(Keytab::Vault { place: self.place(), keytab })
    }
}
