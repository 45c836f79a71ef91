//! The columns of a table, as the catalog has them: which the login may read, and which can be a watermark.

use datakit_connect::changes::{Form, Measure, SourceColumn, Texts};

/// Whether the catalog says which columns are masked: older servers, and servers that are not SQL Server, do not, and naming the
/// column there is an error of the whole question. Columns: a number.
pub(super) const KNOWS_MASKS: &str = "\
SELECT CAST(COUNT(*) AS nvarchar(10)) AS known FROM sys.all_columns AS c \
INNER JOIN sys.all_objects AS o ON o.object_id = c.object_id \
WHERE o.name = 'columns' AND o.is_ms_shipped = 1 AND c.name = 'is_masked'";

/// The question, of the table whose schema and name are the parameters. `declared` is the type's name in the declaration, `base`
/// the system type below an alias, null for a CLR type. `snapshot` is 1 where row versions can be read: not of a view, which may
/// read other databases.
///
/// Columns: name, declared, base, precision, scale, readable, masked, snapshot.
pub(super) fn question(knows_masks: bool) -> String {
    let masked = if knows_masks { "c.is_masked" } else { "0" };
    format!(
        "\
SELECT CAST(c.name AS nvarchar(128)) AS name, CAST(d.name AS nvarchar(128)) AS declared, CAST(t.name AS nvarchar(128)) AS base, \
CAST(c.precision AS nvarchar(10)) AS numeric_precision, CAST(c.scale AS nvarchar(10)) AS numeric_scale, \
CAST(HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT', c.name, 'COLUMN') AS nvarchar(10)) AS readable, \
CAST({masked} AS nvarchar(10)) AS masked, \
CAST(CASE WHEN o.type = 'U' THEN (SELECT MAX(b.snapshot_isolation_state) FROM sys.databases AS b WHERE b.name = DB_NAME()) \
ELSE 0 END AS nvarchar(10)) AS snapshot \
FROM sys.columns AS c INNER JOIN sys.objects AS o ON o.object_id = c.object_id \
INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id INNER JOIN sys.types AS d ON d.user_type_id = c.user_type_id \
LEFT JOIN sys.types AS t ON t.user_type_id = c.system_type_id \
WHERE s.name = @P1 AND o.name = @P2 AND o.type IN ('U', 'V') ORDER BY c.column_id"
    )
}

/// One row of the answer, and whether the database allows snapshots.
pub(super) fn column(row: Texts) -> Option<(SourceColumn, bool)> {
    let [name, declared, base, precision, scale, readable, masked, snapshot] =
        <[Option<String>; 8]>::try_from(row).ok()?;
    let (precision, scale) = (precision?.parse().ok()?, scale?.parse().ok()?);
    let base = base.unwrap_or_default();
    let measure = match masked.as_deref() {
        Some("1") => Err("it is masked, so that the server may show other values than it holds".to_owned()),
        _ => measure(&base, precision, scale),
    };
    let type_name = if measure.is_ok() { type_name(&base, precision, scale) } else { declared? };
    // Servers that are not SQL Server may not know.
    let is_readable = readable.as_deref() != Some("0");
    Some((SourceColumn { name: name?, type_name, is_readable, measure }, snapshot.as_deref() == Some("1")))
}

/// As CAST takes it, but for rowversion.
fn type_name(base: &str, precision: u8, scale: u8) -> String {
    match base {
        "decimal" | "numeric" => format!("{base}({precision},{scale})"),
        "datetime2" | "datetimeoffset" => format!("{base}({scale})"),
        "timestamp" => "rowversion".to_owned(),
        _ => base.to_owned(),
    }
}

/// What values of a system type are as watermarks.
fn measure(base: &str, precision: u8, scale: u8) -> Result<Measure, String> {
    let of = |form: Form, least: &str| {
        let measure = Measure::new(form, 0);
        Measure { least: measure.parse(least).unwrap_or(i128::MIN), ..measure }
    };
    let moment = |digits, of_utc| of(Form::Moment { digits, of_utc }, "0001-01-01T00:00:00");
    Ok(match base {
        "tinyint" => of(Form::Integer, "0"),
        "smallint" => of(Form::Integer, "-32768"),
        "int" => of(Form::Integer, "-2147483648"),
        "bigint" => of(Form::Integer, "-9223372036854775808"),
        "decimal" | "numeric" => {
            let least = 1 - 10_i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
            Measure::new(Form::Decimal { scale }, least)
        }
        "money" => of(Form::Decimal { scale: 4 }, "-922337203685477.5808"),
        "smallmoney" => of(Form::Decimal { scale: 4 }, "-214748.3648"),
        "date" => of(Form::Date, "0001-01-01"),
        // Its values are whole minutes.
        "smalldatetime" => Measure { step: 60, ..of(Form::Moment { digits: 0, of_utc: false }, "1900-01-01T00:00:00") },
        // Of its 1/300 s every third is a whole count of milliseconds.
        "datetime" => Measure { step: 10, ..of(Form::Moment { digits: 3, of_utc: false }, "1753-01-01T00:00:00") },
        "datetime2" => moment(scale, false),
        "datetimeoffset" => moment(scale, true),
        "timestamp" => Measure::new(Form::Bytes, 0),
        _ => return Err(unfit(base).to_owned()),
    })
}

/// Why values of a type have no order that says which came later.
fn unfit(base: &str) -> &'static str {
    match base {
        "float" | "real" => "two sums of the same values may differ, and many values have no exact text",
        "char" | "varchar" | "nchar" | "nvarchar" | "text" | "ntext" => "the order of texts depends on the collation",
        "uniqueidentifier" => {
            "its values have no order in time, and the server compares their bytes in an order of its own"
        }
        "time" => "it starts again each day",
        _ => "its values are not numbers, dates, moments or row versions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_of_a_certain_order_are_watermarks() {
        let names = ["tinyint", "smallint", "int", "bigint", "decimal", "numeric", "money", "smallmoney", "date"];
        let moments = ["smalldatetime", "datetime", "datetime2", "datetimeoffset", "timestamp"];
        for base in names.into_iter().chain(moments) {
            assert!(measure(base, 38, 7).unwrap().least > i128::MIN, "{base}");
        }
        for base in ["float", "real", "nvarchar", "uniqueidentifier", "time", "bit", "varbinary", "xml", ""] {
            assert!(measure(base, 0, 0).is_err(), "{base}");
        }
    }

    #[test]
    fn masked_column_is_no_watermark() {
        let row = |masked: &str| {
            ["at", "stamp", "datetime2", "27", "7", "1", masked, "1"].map(|text| Some(text.to_owned())).to_vec()
        };
        let (fine, snapshot) = column(row("0")).unwrap();
        assert_eq!((fine.type_name.as_str(), fine.measure.is_ok(), snapshot), ("datetime2(7)", true, true));
        let (masked, _) = column(row("1")).unwrap();
        assert_eq!((masked.type_name.as_str(), masked.measure.is_ok()), ("stamp", false));
    }
}
