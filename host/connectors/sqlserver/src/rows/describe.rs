//! The columns of a query, as the server describes them before it runs.
//!
//! tiberius tells a column's kind, but neither its precision nor its length, collation or nullability. SQL Server tells
//! all of it without running the query: `sp_describe_first_result_set`, whose result this reads.
//! `system_type_id` and `max_length` are those of `sys.types` and `sys.columns`. Only documented columns are read: servers
//! that are not SQL Server leave out those "for internal use", so the collation is known by its name.

use std::sync::Arc;

use tiberius::{ColumnData, Row};

use crate::error::SourceError;
use crate::text::TextEncoding;
use crate::types::{self, Column, Shape};

/// One row of the description, as far as we need it.
struct Described {
    name: String,
    nullable: bool,
    system_type_id: i32,
    /// `nvarchar(40)`; none for a CLR type.
    system_type_name: Option<String>,
    /// In bytes; -1: `(max)`.
    max_length: i16,
    precision: u8,
    scale: u8,
    /// Of CLR and alias types.
    user_type_name: Option<String>,
    /// The collation's name, of text.
    collation: Option<String>,
}

/// The columns that a description tells, hidden ones left out.
///
/// # Errors
/// [`SourceError::NoResult`] without a row, [`SourceError::UnsupportedType`], [`SourceError::ColumnName`], and
/// [`SourceError::Protocol`] for a description that is not as documented.
pub(super) fn columns(rows: &[Row], address: &str) -> Result<Arc<[Column]>, SourceError> {
    let fail = |reason: String| SourceError::Protocol { address: address.to_owned(), reason };
    let mut columns = Vec::with_capacity(rows.len());
    for row in rows {
        let row = Fields(row);
        if row.flag("is_hidden").map_err(fail)? == Some(false) {
            columns.push(read(&row).map_err(fail)?);
        }
    }
    if columns.is_empty() {
        return Err(SourceError::NoResult);
    }
    types::check_names(columns.iter().map(|column| column.name.as_str()))?;
    columns.into_iter().map(Described::column).collect()
}

fn read(row: &Fields<'_>) -> Result<Described, String> {
    Ok(Described {
        name: row.text("name")?.unwrap_or_default(),
        // Unknown counts as nullable.
        nullable: row.flag("is_nullable")?.unwrap_or(true),
        system_type_id: row.number("system_type_id")?.unwrap_or_default(),
        system_type_name: row.text("system_type_name")?,
        max_length: row.number("max_length")?.unwrap_or_default(),
        precision: row.number("precision")?.unwrap_or_default(),
        scale: row.number("scale")?.unwrap_or_default(),
        user_type_name: row.text("user_type_name")?,
        collation: row.text("collation_name")?,
    })
}

/// A row by the names of its columns. An error says what is not as documented.
struct Fields<'r>(&'r Row);

impl Fields<'_> {
    fn get(&self, column: &'static str) -> Result<&ColumnData<'static>, String> {
        self.0.get_column_data(column).map_err(|_| format!("a description without the column `{column}`"))
    }

    fn text(&self, column: &'static str) -> Result<Option<String>, String> {
        match self.get(column)? {
            ColumnData::String(text) => Ok(text.as_ref().map(|text| text.clone().into_owned())),
            other => Err(unexpected(column, other)),
        }
    }

    fn flag(&self, column: &'static str) -> Result<Option<bool>, String> {
        match self.get(column)? {
            ColumnData::Bit(flag) => Ok(*flag),
            other => Err(unexpected(column, other)),
        }
    }

    /// An integer of whatever size.
    fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<T>, String> {
        let data = self.get(column)?;
        let number = match data {
            ColumnData::U8(n) => n.map(i64::from),
            ColumnData::I16(n) => n.map(i64::from),
            ColumnData::I32(n) => n.map(i64::from),
            ColumnData::I64(n) => *n,
            other => return Err(unexpected(column, other)),
        };
        number.map(|n| T::try_from(n).map_err(|_| unexpected(column, data))).transpose()
    }
}

fn unexpected(column: &str, data: &ColumnData<'_>) -> String {
    format!("column `{column}` of a description holds {data:?}")
}

impl Described {
    fn column(self) -> Result<Column, SourceError> {
        let (source_type, shape) = self.source_type_and_shape();
        match shape {
            Some(shape) => Ok(Column { name: self.name, source_type, nullable: self.nullable, shape }),
            None => Err(SourceError::UnsupportedType { column: self.name, sql_type: source_type }),
        }
    }

    /// By `system_type_id`, as in `sys.types`.
    fn source_type_and_shape(&self) -> (String, Option<Shape>) {
        let plain = |name: &str, shape: Shape| (name.to_owned(), Some(shape));
        let scaled = |name: &str, shape: Shape| (format!("{name}({})", self.scale), Some(shape));
        match self.system_type_id {
            34 => plain("image", Shape::Binary),
            35 => plain("text", self.text()),
            36 => plain("uniqueidentifier", Shape::Uuid),
            40 => plain("date", Shape::Date),
            41 => scaled("time", Shape::Time),
            42 => scaled("datetime2", Shape::Timestamp),
            43 => scaled("datetimeoffset", Shape::TimestampUtc),
            48 => plain("tinyint", Shape::TinyInt),
            52 => plain("smallint", Shape::Int16),
            56 => plain("int", Shape::Int32),
            58 => plain("smalldatetime", Shape::Timestamp),
            59 => plain("real", Shape::Float32),
            60 => plain("money", Shape::Decimal { precision: 19, scale: 4 }),
            61 => plain("datetime", Shape::Timestamp),
            62 => plain("float", Shape::Float64),
            98 => plain("sql_variant", Shape::Variant),
            99 => plain("ntext", Shape::Text(TextEncoding::Utf16)),
            104 => plain("bit", Shape::Boolean),
            106 => self.decimal("decimal"),
            108 => self.decimal("numeric"),
            122 => plain("smallmoney", Shape::Decimal { precision: 10, scale: 4 }),
            127 => plain("bigint", Shape::Int64),
            165 => (self.sized("varbinary", 1), Some(Shape::Binary)),
            167 => (self.sized("varchar", 1), Some(self.text())),
            173 => (self.sized("binary", 1), Some(Shape::Binary)),
            175 => (self.sized("char", 1), Some(self.text())),
            189 => plain("rowversion", Shape::Binary),
            231 => (self.sized("nvarchar", 2), Some(Shape::Text(TextEncoding::Utf16))),
            239 => (self.sized("nchar", 2), Some(Shape::Text(TextEncoding::Utf16))),
            240 => (self.type_name(), Some(Shape::Binary)),
            241 => plain("xml", Shape::Text(TextEncoding::Utf16)),
            244 => plain("json", Shape::Text(TextEncoding::Utf8)),
            _ => (self.type_name(), None),
        }
    }

    /// The name of a CLR type, or of one that we do not know.
    fn type_name(&self) -> String {
        let name = self.user_type_name.as_ref().or(self.system_type_name.as_ref());
        name.cloned().unwrap_or_else(|| format!("type {}", self.system_type_id))
    }

    fn text(&self) -> Shape {
        Shape::Text(match &self.collation {
            Some(name) => TextEncoding::of_name(name),
            None => TextEncoding::unknown("none was described".to_owned()),
        })
    }

    fn decimal(&self, name: &str) -> (String, Option<Shape>) {
        let text = format!("{name}({},{})", self.precision, self.scale);
        let valid = (1..=38).contains(&self.precision) && self.scale <= self.precision;
        let scale = i8::try_from(self.scale).ok().filter(|_| valid);
        (text, scale.map(|scale| Shape::Decimal { precision: self.precision, scale }))
    }

    fn sized(&self, name: &str, bytes_per_unit: i16) -> String {
        match self.max_length {
            -1 => format!("{name}(max)"),
            bytes => format!("{name}({})", bytes / bytes_per_unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(system_type_id: i32) -> Described {
        Described {
            name: "c".to_owned(),
            nullable: true,
            system_type_id,
            system_type_name: Some("vector(3)".to_owned()),
            max_length: 40,
            precision: 18,
            scale: 4,
            user_type_name: None,
            collation: None,
        }
    }

    fn verdict(described: Described) -> String {
        match described.column() {
            Ok(Column { source_type, shape: Shape::Text(encoding), .. }) => {
                let encoding = format!("{encoding:?}");
                format!("{source_type} {}", encoding.split(' ').next().unwrap())
            }
            Ok(Column { source_type, shape, .. }) => format!("{source_type} {:?}", shape.data_type()),
            Err(error) => format!("{error}"),
        }
    }

    fn collated(system_type_id: i32, collation: &str) -> Described {
        Described { collation: Some(collation.to_owned()), ..described(system_type_id) }
    }

    #[test]
    fn text_is_read_by_its_collation() {
        let latin = "SQL_Latin1_General_CP1_CI_AS";
        assert_eq!(verdict(collated(167, latin)), "varchar(40) CodePage(Cp1252)");
        assert_eq!(verdict(collated(175, "Japanese_CI_AS")), "char(40) CodePage(Cp932)");
        assert_eq!(verdict(collated(35, "Latin1_General_100_CI_AS_SC_UTF8")), "text Utf8");
        assert_eq!(verdict(collated(231, latin)), "nvarchar(20) Utf16");
        assert_eq!(verdict(Described { max_length: -1, ..collated(167, latin) }), "varchar(max) CodePage(Cp1252)");
        assert_eq!(verdict(described(167)), "varchar(40) Unknown");
        assert_eq!(verdict(collated(167, "Klingon_CI_AS")), "varchar(40) Unknown");
    }

    #[test]
    fn types_are_told_by_their_id() {
        assert_eq!(verdict(described(189)), "rowversion Binary");
        assert_eq!(verdict(described(106)), "decimal(18,4) Decimal128(18, 4)");
        assert_eq!(verdict(described(43)), "datetimeoffset(4) Timestamp(Microsecond, Some(\"UTC\"))");
        let clr =
            |name: &str| Described { system_type_name: None, user_type_name: Some(name.to_owned()), ..described(240) };
        assert_eq!(verdict(clr("hierarchyid")), "hierarchyid Binary");
        let alias = Described { user_type_name: Some("OrderNumber".to_owned()), ..described(56) };
        assert_eq!(verdict(alias), "int Int32");
        assert_eq!(verdict(described(255)), "column `c` has the type vector(3), which cannot be represented");
        let wide = Described { precision: 39, ..described(108) };
        assert_eq!(verdict(wide), "column `c` has the type numeric(39,4), which cannot be represented");
    }
}
