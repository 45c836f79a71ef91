//! The environment: every variable there is, and the layer they make over the file.

mod overlay;
mod replaced;

pub(crate) use overlay::{Environment, put, put_table};
pub(crate) use replaced::replaced;

use crate::kinds::{Kinds, Role, SectionKind};
use crate::schema::View;
use crate::walk::listed;

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it does.
    pub meaning: String,
}

macro_rules! variables {
    ($($(#[doc = $meaning:literal])+ $name:ident)*) => {
        $($(#[doc = $meaning])+ pub const $name: &str = stringify!($name);)*

        /// The variables that set no key of the file, each with its meaning.
        const OTHERS: &[(&str, &str)] = &[$((stringify!($name), concat!($($meaning),+).trim_ascii())),*];
    };
}

variables! {
    /// Delinea: who the host logs in as, where a secret's `delinea` does not say
    DELINEA_CLIENT_ID
    /// Delinea: with what
    DELINEA_CLIENT_SECRET
    /// Settings of the datakit: a JSON object, laid over those of the file
    DATAKIT_SETTINGS
    /// Tables to read, comma-separated patterns: `dbo.*,!dbo.audit_*`
    DATAKIT_TABLES
    /// What happens to the rows a table already has: `append`, `overwrite` or `merge`
    DATAKIT_MODE
    /// What happens where the columns of a table are not those of its source: `evolve`, `freeze` or `fail`
    DATAKIT_DRIFT
    /// What is compared between source and sink before rows become visible: `off`, `count` or `full`
    DATAKIT_RECEIPT
    /// What is logged, as in `info,datakit=debug`; drivers never log below `info`
    DATAKIT_LOG
    /// Certificate authorities (PEM) besides the system's; for registries and object stores instead of them, unless SSL_CERT_DIR names the system's folder
    SSL_CERT_FILE
    /// Kerberos: the library's configuration files (`/etc/krb5.conf`)
    KRB5_CONFIG
    /// Kerberos: the ticket cache that logins use, where no keytab or cache is configured
    KRB5CCNAME
    /// Where the docker configuration with registry credentials is (`~/.docker`)
    DOCKER_CONFIG
    /// Any value: no colours
    NO_COLOR
    /// The folder `datakit/` for caches is made in (`~/.cache`)
    XDG_CACHE_HOME
    /// The folder `datakit/` for data is made in (`~/.local/share`)
    XDG_DATA_HOME
}

/// The folder of pulled datakits and compiled code; it sets `warehouse.cache`.
pub const DATAKIT_CACHE: &str = "DATAKIT_CACHE";

/// Every variable that the host heeds, in the order of the documentation. An empty one counts as not set.
#[must_use]
pub fn variables(kinds: &Kinds) -> Vec<Variable> {
    let mut found = Vec::new();
    for role in [Role::Connection, Role::Sink] {
        for kind in kinds.of(role) {
            if let Some(schema) = kinds.schema().section(role, kind.kind()) {
                let mut own = Vec::new();
                collect_variables(schema, Scope::of(kind), &mut own);
                own.retain(|variable| found.iter().all(|known: &Variable| known.name != variable.name));
                // First those that are called after the kind.
                own.sort_by_key(|variable| kind.prefix().is_some_and(|prefix| !variable.name.starts_with(prefix)));
                found.append(&mut own);
            }
        }
    }
    for schema in FIXED.iter().filter_map(|path| fixed(kinds, path)) {
        collect_variables(schema, Scope::NONE, &mut found);
    }
    found.extend(OTHERS.iter().map(|(name, meaning)| Variable { name: (*name).into(), meaning: (*meaning).into() }));
    found
}

/// The tables of the file that are no sections of a kind, and whose keys variables set.
const FIXED: &[(&str, Option<&str>)] = &[("warehouse", None), ("lineage", None), ("limits", Some("run"))];

fn fixed<'k>(kinds: &'k Kinds, (first, within): &(&str, Option<&str>)) -> Option<View<'k>> {
    let table = kinds.schema().root().property(first)?;
    within.map_or(Some(table), |key| table.property(key))
}

fn collect_variables(schema: View<'_>, scope: Scope<'_>, found: &mut Vec<Variable>) {
    for (_, property) in schema.properties() {
        let is_new = |name: &String| found.iter().all(|variable: &Variable| variable.name != *name);
        if let (Some(name), Some((_, meaning))) = (scope.variable(property).filter(is_new), property.pair("x-env")) {
            let meaning = if is_suffix(property) { format!("{}: {meaning}", scope.title) } else { meaning.to_owned() };
            found.push(Variable { name, meaning });
        }
        collect_variables(property.table_or_word().map_or(property, |(table, _)| table), scope, found);
    }
}

/// Whether a variable's name follows the prefix of the section's kind.
fn is_suffix(property: View<'_>) -> bool {
    property.pair("x-env").is_some_and(|(name, _)| name.starts_with('_'))
}

/// How the variables of a section are called.
#[derive(Clone, Copy)]
struct Scope<'a> {
    prefix: Option<&'a str>,
    title: &'a str,
}

impl<'a> Scope<'a> {
    const NONE: Self = Self { prefix: None, title: "" };

    fn of(kind: &'a SectionKind) -> Self {
        Self { prefix: kind.prefix(), title: kind.title() }
    }

    /// The variable that sets a key.
    fn variable(self, property: View<'_>) -> Option<String> {
        let (name, _) = property.pair("x-env")?;
        if is_suffix(property) { self.prefix.map(|prefix| format!("{prefix}{name}")) } else { Some(name.to_owned()) }
    }
}

/// The variables that set a required key: where it is a table or a word, those of the table.
pub(crate) fn required(property: View<'_>, prefix: Option<&str>) -> Vec<String> {
    let scope = Scope { prefix, title: "" };
    match property.table_or_word() {
        Some((table, _)) => required_of(table, prefix),
        None => scope.variable(property).into_iter().collect(),
    }
}

fn required_of(table: View<'_>, prefix: Option<&str>) -> Vec<String> {
    table.required().filter_map(|key| table.property(key)).flat_map(|property| required(property, prefix)).collect()
}

/// The variables that make a connection where there is none: `MSSQL_SERVER, … and MSSQL_PASSWORD`.
pub(crate) fn makers_of_connection(kinds: &Kinds) -> Option<String> {
    let kind = kinds.of(Role::Connection).find(|kind| kind.variables().is_some())?;
    let schema = kinds.schema().section(Role::Connection, kind.kind())?;
    Some(listed(&required_of(schema, kind.prefix()), "and"))
}

/// The variables that make a sink where there is none: `BRONZE_URI (Delta) or …`.
pub(crate) fn makers_of_sinks(kinds: &Kinds) -> Option<String> {
    let makers = Maker::all(kinds, Role::Sink);
    let texts: Vec<String> = makers.iter().map(|maker| format!("{} ({})", maker.text(), maker.kind.title())).collect();
    (!texts.is_empty()).then(|| listed(&texts, "or"))
}

/// A kind whose section a variable makes.
struct Maker<'k> {
    kind: &'k SectionKind,
    schema: View<'k>,
    name: &'static str,
    variable: String,
}

impl<'k> Maker<'k> {
    fn all(kinds: &'k Kinds, role: Role) -> Vec<Self> {
        let makers = kinds.of(role).filter_map(|kind| {
            let variables = kind.variables()?;
            let schema = kinds.schema().section(role, kind.kind())?;
            let variable = Scope::of(kind).variable(schema.property(variables.makes)?)?;
            Some(Self { kind, schema, name: variables.name, variable })
        });
        makers.collect()
    }

    /// The variable, and whether there are more.
    fn text(&self) -> String {
        let mut all = Vec::new();
        collect_variables(self.schema, Scope::of(self.kind), &mut all);
        if all.len() > 1 { format!("{} and its like", self.variable) } else { self.variable.clone() }
    }
}
