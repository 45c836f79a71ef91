//! Making a slot with a snapshot of its first moment, and moving the run's slot on.

use datakit_connect::pool::{Pool, give_back};
use datakit_model::source::Isolation;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use super::error::LogicalError;
use super::lsn::Lsn;
use super::position::Position;
use crate::source::config::{LogicalConfig, PostgresConfig};
use crate::source::connect::{self, PostgresConnection};
use crate::source::error::PostgresError;
use crate::source::replication::Purpose;
use crate::source::statement::{Transaction, quote, quote_text};

/// A snapshot that others can read as long as this is there, and where in the log it is: it has all that was committed before.
pub(in crate::source) struct Exported {
    pub(in crate::source) snapshot: String,
    pub(in crate::source) lsn: Lsn,
    /// The server keeps the snapshot until the next command, and a temporary slot until the end of the session.
    _session: PostgresConnection,
}

/// Makes a slot and exports the snapshot of its first moment: the slot of the connection where it is not there, else one that ends
/// with the session. SQL has no such function; only the protocol of replication has.
///
/// # Errors
/// What connecting and the server say; [`LogicalError::SlotWaits`].
pub(in crate::source) async fn export(
    config: &PostgresConfig,
    lasting: Option<&str>,
) -> Result<Exported, PostgresError> {
    let user = &config.server.user;
    let session = PostgresConnection::open_for(config, Purpose::Replication).await;
    let session = session.map_err(|error| match error {
        // The one thing that a role may lack here: the ordinary login has had the database.
        PostgresError::NoDatabaseAccess { .. } => refused(user, "it may not log in for replication"),
        other => other,
    })?;
    let (name, temporary) = match lasting {
        Some(name) => (name.to_owned(), ""),
        None => (format!("datakit_{}", Uuid::new_v4().simple()), " TEMPORARY"),
    };
    let command = format!("CREATE_REPLICATION_SLOT {}{temporary} LOGICAL pgoutput EXPORT_SNAPSHOT", quote(&name));
    let timeout = config.timeouts.of_query(None);
    let Ok(answer) = tokio::time::timeout(timeout, session.client.simple_query(&command)).await else {
        connect::cancel(config, &session.client).await;
        return Err(LogicalError::SlotWaits { slot: name, seconds: timeout.as_secs_f64() }.into());
    };
    let answer = answer.map_err(|error| match PostgresError::of_query(config, error, 0) {
        PostgresError::Server { state, message, .. } if state == "42501" => refused(user, &message),
        other => other,
    })?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get("consistent_point")?.parse().ok()?, row.get("snapshot_name")?)),
        _ => None,
    });
    let (lsn, snapshot) =
        row.ok_or_else(|| PostgresError::Internal("the server made a slot and exported no snapshot".to_owned()))?;
    Ok(Exported { snapshot: snapshot.to_owned(), lsn, _session: session })
}

fn refused(user: &str, message: &str) -> PostgresError {
    LogicalError::NoReplication { user: user.to_owned(), message: message.to_owned() }.into()
}

/// Removes a slot that the server cannot read any more.
pub(super) fn drop_question(names: &LogicalConfig) -> String {
    format!("SELECT pg_catalog.pg_drop_replication_slot({})::text AS dropped", quote_text(&names.slot))
}

/// Moves the connection's slot on to the least of these positions that are of it, so that the server may forget what lies before.
///
/// # Errors
/// What connecting and the server say.
pub(in crate::source) async fn confirm(
    config: &PostgresConfig,
    pool: &Pool<PostgresConfig>,
    positions: &[String],
) -> Result<(), PostgresError> {
    let Some(names) = &config.logical else { return Ok(()) };
    let ours = positions.iter().filter_map(|text| Position::parse(text)).filter(|it| it.of.slot == names.slot);
    let Some(least) = ours.min_by_key(|position| position.lsn) else { return Ok(()) };
    let failed = |error| match PostgresError::of_query(config, error, 0) {
        PostgresError::Server { state, message, .. } if state == "55006" => {
            LogicalError::SlotInUse { slot: names.slot.clone(), message }.into()
        }
        other => other,
    };
    let connection = pool.lease::<PostgresConnection>().await?;
    let begin = Transaction::own("confirm", Isolation::ReadCommitted, config.row_security).begin();
    connection.client.batch_execute(&begin).await.map_err(failed)?;
    connection.client.batch_execute(&advance(names, &least)).await.map_err(failed)?;
    connection.client.batch_execute("COMMIT").await.map_err(failed)?;
    give_back(connection);
    Ok(())
}

/// Does nothing where the slot is another's, or is there already.
fn advance(names: &LogicalConfig, least: &Position) -> String {
    let (slot, system, lsn) = (quote_text(&names.slot), quote_text(&least.of.system), least.lsn);
    format!(
        "SELECT pg_catalog.pg_replication_slot_advance(s.slot_name, '{lsn}') FROM pg_catalog.pg_replication_slots AS s \
         WHERE s.slot_name = {slot} AND s.database = current_database() AND s.confirmed_flush_lsn < '{lsn}' \
         AND s.wal_status IS DISTINCT FROM 'lost' \
         AND (SELECT c.system_identifier::text FROM pg_catalog.pg_control_system() AS c) = {system}"
    )
}
