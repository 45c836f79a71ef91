//! Types of SQL Server, and the Arrow types their values arrive in.

use std::fmt;

use datakit_sdk::ranges::KeyType;

/// The type of a column as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlType {
    /// The system type's name; of a CLR type, its own.
    pub name: String,
    /// In bytes; -1 for MAX.
    pub max_length: i64,
    /// Decimal digits, of numbers.
    pub precision: i64,
    /// Digits after the point; of times, fractional digits of a second.
    pub scale: i64,
}

impl SqlType {
    /// The Arrow type in the text form of the WIT; none for a type that cannot be represented. docs/types.md has the table.
    #[must_use]
    pub fn arrow_type(&self) -> Option<String> {
        Some(match self.name.as_str() {
            "bit" => "Boolean".into(),
            "tinyint" | "smallint" => "Int16".into(),
            "int" => "Int32".into(),
            "bigint" => "Int64".into(),
            "real" => "Float32".into(),
            "float" => "Float64".into(),
            "decimal" | "numeric" => format!("Decimal128({}, {})", self.precision, self.scale),
            "money" => "Decimal128(19, 4)".into(),
            "smallmoney" => "Decimal128(10, 4)".into(),
            "date" => "Date32".into(),
            "time" => "Time64(ns)".into(),
            "datetime" | "smalldatetime" | "datetime2" => "Timestamp(us)".into(),
            "datetimeoffset" => "Timestamp(us, UTC)".into(),
            "char" | "varchar" | "nchar" | "nvarchar" | "text" | "ntext" | "xml" | "json" | "sql_variant" => {
                "Utf8".into()
            }
            "binary" | "varbinary" | "image" | "timestamp" | "rowversion" | "hierarchyid" | "geometry"
            | "geography" => "Binary".into(),
            "uniqueidentifier" => "FixedSizeBinary(16)".into(),
            _ => return None,
        })
    }

    /// The type of a key that ranges can be cut from.
    #[must_use]
    pub fn key_type(&self) -> Option<KeyType> {
        match self.name.as_str() {
            "int" => Some(KeyType::Int),
            "bigint" => Some(KeyType::Bigint),
            "date" => Some(KeyType::Date),
            "uniqueidentifier" => Some(KeyType::Uuid),
            _ => None,
        }
    }

    /// Metadata of the Arrow field.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, String)> {
        let mut metadata = vec![("datakit.source-type".to_owned(), self.to_string())];
        if self.name == "uniqueidentifier" {
            metadata.push(("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned()));
        }
        metadata
    }

    /// Whether values have a seventh fractional digit, which a timestamp in microseconds cannot hold.
    #[must_use]
    pub fn is_finer_than_microseconds(&self) -> bool {
        self.name == "datetime2" && self.scale > 6
    }

    /// Whether values carry an offset from UTC.
    #[must_use]
    pub fn has_offset(&self) -> bool {
        self.name == "datetimeoffset"
    }
}

impl fmt::Display for SqlType {
    /// As it is declared: `nvarchar(40)`, `decimal(18,4)`, `varbinary(max)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.name.as_str() {
            "decimal" | "numeric" => write!(f, "({},{})", self.precision, self.scale),
            "time" | "datetime2" | "datetimeoffset" => write!(f, "({})", self.scale),
            "char" | "varchar" | "binary" | "varbinary" | "nchar" | "nvarchar" if self.max_length < 0 => {
                f.write_str("(max)")
            }
            "char" | "varchar" | "binary" | "varbinary" => write!(f, "({})", self.max_length),
            // The catalog counts bytes, the declaration UTF-16 code units.
            "nchar" | "nvarchar" => write!(f, "({})", self.max_length / 2),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql_type(name: &str, max_length: i64, precision: i64, scale: i64) -> SqlType {
        SqlType { name: name.into(), max_length, precision, scale }
    }

    #[test]
    fn the_type_table_of_the_contract() {
        for (sql_type, declared, arrow) in [
            (sql_type("bit", 1, 1, 0), "bit", Some("Boolean")),
            (sql_type("tinyint", 1, 3, 0), "tinyint", Some("Int16")),
            (sql_type("smallint", 2, 5, 0), "smallint", Some("Int16")),
            (sql_type("int", 4, 10, 0), "int", Some("Int32")),
            (sql_type("bigint", 8, 19, 0), "bigint", Some("Int64")),
            (sql_type("real", 4, 24, 0), "real", Some("Float32")),
            (sql_type("float", 8, 53, 0), "float", Some("Float64")),
            (sql_type("decimal", 17, 38, 38), "decimal(38,38)", Some("Decimal128(38, 38)")),
            (sql_type("numeric", 9, 18, 4), "numeric(18,4)", Some("Decimal128(18, 4)")),
            (sql_type("money", 8, 19, 4), "money", Some("Decimal128(19, 4)")),
            (sql_type("smallmoney", 4, 10, 4), "smallmoney", Some("Decimal128(10, 4)")),
            (sql_type("date", 3, 10, 0), "date", Some("Date32")),
            (sql_type("time", 5, 16, 7), "time(7)", Some("Time64(ns)")),
            (sql_type("datetime", 8, 23, 3), "datetime", Some("Timestamp(us)")),
            (sql_type("smalldatetime", 4, 16, 0), "smalldatetime", Some("Timestamp(us)")),
            (sql_type("datetime2", 8, 26, 6), "datetime2(6)", Some("Timestamp(us)")),
            (sql_type("datetimeoffset", 10, 34, 7), "datetimeoffset(7)", Some("Timestamp(us, UTC)")),
            (sql_type("char", 10, 0, 0), "char(10)", Some("Utf8")),
            (sql_type("varchar", -1, 0, 0), "varchar(max)", Some("Utf8")),
            (sql_type("nchar", 20, 0, 0), "nchar(10)", Some("Utf8")),
            (sql_type("nvarchar", 80, 0, 0), "nvarchar(40)", Some("Utf8")),
            (sql_type("text", 16, 0, 0), "text", Some("Utf8")),
            (sql_type("xml", -1, 0, 0), "xml", Some("Utf8")),
            (sql_type("json", -1, 0, 0), "json", Some("Utf8")),
            (sql_type("binary", 8, 0, 0), "binary(8)", Some("Binary")),
            (sql_type("varbinary", -1, 0, 0), "varbinary(max)", Some("Binary")),
            (sql_type("image", 16, 0, 0), "image", Some("Binary")),
            (sql_type("timestamp", 8, 0, 0), "timestamp", Some("Binary")),
            (sql_type("uniqueidentifier", 16, 0, 0), "uniqueidentifier", Some("FixedSizeBinary(16)")),
            (sql_type("sql_variant", 8016, 0, 0), "sql_variant", Some("Utf8")),
            (sql_type("hierarchyid", 892, 0, 0), "hierarchyid", Some("Binary")),
            (sql_type("geometry", -1, 0, 0), "geometry", Some("Binary")),
            (sql_type("geography", -1, 0, 0), "geography", Some("Binary")),
            (sql_type("vector", 20, 0, 0), "vector", None),
            (sql_type("ComplexNumber", -1, 0, 0), "ComplexNumber", None),
        ] {
            assert_eq!(sql_type.to_string(), declared);
            assert_eq!(sql_type.arrow_type().as_deref(), arrow, "{declared}");
        }
    }

    #[test]
    fn metadata_names_the_declared_type_and_uuids() {
        let uuid = sql_type("uniqueidentifier", 16, 0, 0).metadata();
        assert!(uuid.contains(&("ARROW:extension:name".into(), "arrow.uuid".into())));
        assert_eq!(sql_type("nvarchar", 80, 0, 0).metadata(), [("datakit.source-type".into(), "nvarchar(40)".into())]);
    }
}
