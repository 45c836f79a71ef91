//! The warehouse file, its environment overlay and its JSON Schema.
//!
//! [`load()`] lays four layers over each other: the files that `extends` names, the warehouse file, the environment, the flags
//! of the command line. Each value remembers where it came from, so that **every** error of all layers is reported at once,
//! with file, line and column ([`ConfigErrors`]). Passwords are never in the configuration, only where they are
//! ([`SecretSetting`]), and no error or excerpt shows one that stands where it should not.
//!
//! A setting is a field of a type ([`Settings`]): reader, JSON Schema, documentation, variables and errors are derived from it. What a
//! connector brings is a type with the word of its `kind` ([`SectionKind`], [`Kinds`]); nothing here knows one.

mod drift;
pub mod environment;
mod file;
mod files;
mod handed;
mod ingest;
mod kerberos;
mod kinds;
mod limits;
mod load;
mod node;
mod pool;
mod problem;
mod protection;
mod quality;
mod reader;
mod rejects;
mod schema;
mod secret;
mod secret_schema;
mod select;
mod settings;
mod store;
#[cfg(test)]
mod testing;
mod text;
mod walk;

pub use datakit_secrets::SecretRef;
pub use drift::{Drift, DriftSetting};
pub use environment::{Variable, variables};
pub use file::{Lineage, RegistryPlace, Warehouse};
pub use ingest::{Ingest, Mode};
pub use kerberos::{Kerberos, TicketCache, TicketSource};
pub use kinds::{
    Connection, ConnectionSettings, Kinds, Role, SectionKind, SectionVariables, SinkConfig, SinkSettings,
    warning_of_way,
};
pub use limits::Limits;
pub use load::{Config, Layers, Overrides, load};
pub use pool::{Pool, Timeouts};
pub use problem::{ConfigError, ConfigErrors, Problem};
pub use protection::{Hours, Protection, TimeZone};
pub use quality::{Bound, QualityRule, RuleKind, RuleSeverity};
pub use rejects::{RejectedRule, Share, ValuesOfRejected};
pub use secret::{ResolvedSecret, SecretSetting};
pub use select::{NO_MODE, Selection};
pub use settings::{Checks, Layer, Relative, SettingPath, SettingUri, Settings};
pub use store::{StoreSettings, StoreValue};
pub use text::{Excerpt, Location, Place};
