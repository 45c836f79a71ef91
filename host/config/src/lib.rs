//! The warehouse file, its environment overlay and its JSON Schema.
//!
//! [`load()`] lays four layers over each other: the files that `extends` names, the warehouse file, the environment, the flags
//! of the command line. Each value remembers where it came from, so that **every** error of all layers is reported at once,
//! with file, line and column ([`ConfigErrors`]). Passwords are never in the configuration, only where they are
//! ([`SecretSetting`]), and no error or excerpt shows one that stands where it should not.
//!
//! ```
//! use std::collections::BTreeMap;
//! use datakit_config::{Layers, Selection, load};
//!
//! let environment = [("MSSQL_SERVER", "sql01"), ("MSSQL_DATABASE", "ERP"), ("MSSQL_USER", "svc"),
//!     ("MSSQL_PASSWORD", "…"), ("BRONZE_URI", "./bronze"), ("DATAKIT_TABLES", "dbo.*")];
//! let environment: BTreeMap<String, String> = environment.map(|(k, v)| (k.into(), v.into())).into();
//! let config = load(&Layers { environment, ..Layers::default() })?;
//! let ingest = config.ingest(&Selection { datakit: Some("sqlserver-bronze@0.1.0".into()), ..Selection::default() })?;
//! assert_eq!(ingest.roles["source"], "mssql");
//! # Ok::<(), datakit_config::ConfigErrors>(())
//! ```

mod connection;
pub mod environment;
mod file_source;
mod files;
mod ingest;
mod kerberos;
mod limits;
mod load;
mod node;
mod pool;
mod problem;
mod reader;
mod schema;
mod secret;
mod select;
mod sink;
mod store;
mod text;

pub use connection::{
    ApplicationIntent, Auth, Connection, Encrypt, PostgresConnection, Reader, RowSecurity, SqlServerConnection,
};
pub use datakit_secrets::SecretRef;
pub use environment::{VARIABLES, Variable};
pub use file_source::FilesConnection;
pub use ingest::{Ingest, Mode};
pub use kerberos::{Kerberos, TicketSource};
pub use limits::Limits;
pub use load::{Config, Layers, Overrides, Warehouse, load};
pub use pool::{Pool, Timeouts};
pub use problem::{ConfigError, ConfigErrors, Problem};
pub use schema::json_schema;
pub use secret::{ResolvedSecret, SecretSetting};
pub use select::{NO_MODE, Selection};
pub use sink::{DeltaConfig, PostgresConfig, SinkConfig};
pub use store::{StoreSettings, StoreValue};
pub use text::{Excerpt, Location, Place};
