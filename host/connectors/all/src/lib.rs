//! Every connector there is. This list is all that a connector is added to.

use std::sync::Arc;

use datakit_config::Kinds;
use datakit_connect::connector::Connector;

/// Every connector, in the order of the documentation.
#[must_use]
pub fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(datakit_sqlserver::SqlServer),
        Arc::new(datakit_delta::Delta),
        Arc::new(datakit_postgres::Postgres),
        Arc::new(datakit_files::Files),
    ]
}

/// The kinds of connections and sinks that they bring to the warehouse file.
///
/// ```
/// use std::collections::BTreeMap;
/// use datakit_config::{Layers, Selection, load};
///
/// let environment = [("MSSQL_SERVER", "sql01"), ("MSSQL_DATABASE", "ERP"), ("MSSQL_USER", "svc"),
///     ("MSSQL_PASSWORD", "…"), ("BRONZE_URI", "./bronze"), ("DATAKIT_TABLES", "dbo.*")];
/// let environment: BTreeMap<String, String> = environment.map(|(k, v)| (k.into(), v.into())).into();
/// let config = load(&Layers { environment, ..Layers::default() }, &datakit_connectors::kinds())?;
/// let ingest = config.ingest(&Selection { datakit: Some("sqlserver-bronze@0.1.0".into()), ..Selection::default() })?;
/// assert_eq!(ingest.roles["source"], "mssql");
/// # Ok::<(), datakit_config::ConfigErrors>(())
/// ```
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::new(all().iter().flat_map(|connector| connector.sections()).collect())
}
