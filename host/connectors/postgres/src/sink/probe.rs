//! Who is on the other side, and whether a table could be written there: asked, not tried.

use datakit_net::Traffic;
use tokio_postgres::Client;

use super::connection::{connect, no_way, statement_error};
use super::ledger::{LEDGER, SCHEMA};
use super::names::quote;
use crate::server::Server;
use crate::wire::{self, ServerInfo, WHO};
use datakit_connect::sink::SinkError;

/// What the first statements of a run need, from one row of the catalog's answers.
const RIGHTS: &str = "\
SELECT current_setting('transaction_read_only') = 'on', has_database_privilege(current_database(), 'CREATE'), \
n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false), coalesce(has_schema_privilege(n.oid, 'CREATE'), false), \
c.oid IS NOT NULL, coalesce(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
AND has_table_privilege(c.oid, 'UPDATE'), false) \
FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = '_datakit' \
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'ledger'";

/// Whether somebody listens, without a word of PostgreSQL.
pub(crate) async fn reach(config: &Server) -> Result<(), SinkError> {
    wire::reach(config, Traffic::Writes).await.map_err(|trouble| no_way(config, trouble))
}

/// Logs in and asks.
pub(crate) async fn who(config: &Server) -> Result<ServerInfo, SinkError> {
    let failed = |error| statement_error(config, "ask", &config.address(), error);
    let row = connect(config).await?.query_typed_one(WHO, &[]).await.map_err(failed)?;
    ServerInfo::of(&row).map_err(failed)
}

/// Logs in and asks whether a run could make what it makes first.
pub(crate) async fn write(config: &Server) -> Result<(), SinkError> {
    Rights::of(&connect(config).await?, config).await?.check(config)
}

struct Rights {
    read_only: bool,
    create_schemas: bool,
    has_schema: bool,
    use_schema: bool,
    create_tables: bool,
    has_ledger: bool,
    write_ledger: bool,
}

impl Rights {
    async fn of(client: &Client, config: &Server) -> Result<Self, SinkError> {
        let row = client.query_typed_one(RIGHTS, &[]).await.map_err(|e| statement_error(config, "ask", LEDGER, e))?;
        Ok(Self {
            read_only: row.get(0),
            create_schemas: row.get(1),
            has_schema: row.get(2),
            use_schema: row.get(3),
            create_tables: row.get(4),
            has_ledger: row.get(5),
            write_ledger: row.get(6),
        })
    }

    fn check(&self, config: &Server) -> Result<(), SinkError> {
        let (schema, user, database) = (quote(SCHEMA), quote(&config.user), quote(&config.database));
        let refuse = |action, location: &str, grant: String| {
            let (user, location) = (config.user.clone(), location.to_owned());
            Err(SinkError::Permission { user, action, location, source: format!("it lacks what {grant} gives").into() })
        };
        if self.read_only {
            return Err(SinkError::ReadOnly { server: config.address() });
        }
        if !self.has_schema {
            let grant = format!("GRANT CREATE ON DATABASE {database} TO {user}");
            return if self.create_schemas { Ok(()) } else { refuse("create", &schema, grant) };
        }
        if !self.use_schema {
            return refuse("use", &schema, format!("GRANT USAGE ON SCHEMA {schema} TO {user}"));
        }
        if !self.has_ledger && !self.create_tables {
            return refuse("create", LEDGER, format!("GRANT CREATE ON SCHEMA {schema} TO {user}"));
        }
        if self.has_ledger && !self.write_ledger {
            return refuse("write to", LEDGER, format!("GRANT SELECT, INSERT, UPDATE ON {LEDGER} TO {user}"));
        }
        Ok(())
    }
}
