//! Handles that were given back, given away, or never there.

#![expect(unsafe_code, reason = "attacks: handles that the datakit does not have")]

use crate::attacks::{Attack, by_watermark};
use crate::bindings::datakit::kit::batches::Batch;
use crate::bindings::datakit::kit::changes::{ChangeFeed, ChangeRequest};
use crate::bindings::datakit::kit::files::{Folder, Format, ReadRequest};
use crate::bindings::datakit::kit::plans::{Partition, TableDescription, TablePlan};
use crate::bindings::datakit::kit::sql::{Connection, Query};
use crate::bindings::datakit::kit::types::Error;
use crate::{QUERY, source, table};

/// The attacks on handles that need nothing but a source.
pub fn misuse(attack: &Attack) -> Result<(), Error> {
    match attack.name() {
        "use-after-drop" => {
            let connection = source()?;
            let handle = connection.handle();
            drop(connection);
            drop(self::connection(handle).execute(Query::new(QUERY))?);
        }
        "forged-handle" => drop(batch(4_000_000_000)),
        "query-handed-over-twice" => {
            let (connection, query) = (source()?, Query::new(QUERY));
            let again = self::query(query.handle());
            drop(connection.execute(query)?);
            drop(connection.execute(again)?);
        }
        "format-handed-over-twice" => {
            let format = Format::new("csv");
            let again = self::format(format.handle());
            drop(ReadRequest::new(&table("t"), format));
            drop(ReadRequest::new(&table("t"), again));
        }
        "read-handed-over-twice" => {
            let folder = Folder::open("source")?;
            let request = ReadRequest::new(&table("t"), Format::new("csv"));
            let again = read(request.handle());
            drop(folder.read(request)?);
            drop(folder.read(again)?);
        }
        "changes-handed-over-twice" => {
            let request = by_watermark("t");
            let again = changes(request.handle());
            drop(ChangeFeed::open("source", request)?);
            drop(ChangeFeed::open("source", again)?);
        }
        _ => {}
    }
    Ok(())
}

macro_rules! forged {
    ($($function:ident = $resource:ty,)*) => {
        $(
            /// Whatever the handle is of.
            pub fn $function(handle: u32) -> $resource {
                // SAFETY: it is not sound, which is the point; the host has to notice.
                unsafe { <$resource>::from_handle(handle) }
            }
        )*
    };
}

forged! {
    batch = Batch,
    changes = ChangeRequest,
    connection = Connection,
    format = Format,
    partition = Partition,
    plan = TablePlan,
    query = Query,
    read = ReadRequest,
    table_description = TableDescription,
}
