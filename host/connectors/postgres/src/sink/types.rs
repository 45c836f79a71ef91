//! Arrow columns as Postgres columns, decided once a table, and the comparison with the table that is there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datakit_model::TableId;

use super::encode::Form;
use super::names::{self, TableName, quote, quote_literal};
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::{check_columns, is_uuid};

/// What a table of Postgres takes (`MaxHeapAttributeNumber`).
pub(super) const MAX_COLUMNS: usize = 1_600;

/// How the columns of one source table are written.
#[derive(Debug)]
pub(crate) struct TableSchema {
    /// The source's table, for messages.
    pub(crate) table: TableId,
    /// What batches look like.
    pub(crate) source: SchemaRef,
    /// In the order of the batches.
    pub(crate) columns: Vec<Column>,
}

/// One column in Postgres.
#[derive(Debug)]
pub(crate) struct Column {
    /// Not quoted.
    pub(crate) name: String,
    /// The source's name, where it is another.
    original: Option<String>,
    pub(crate) form: Form,
    /// As `format_type` spells it.
    pub(crate) type_name: String,
    pub(crate) nullable: bool,
}

impl Column {
    /// The statement that keeps the source's name, where it is another.
    pub(crate) fn comment(&self, table: &TableName) -> Option<String> {
        let comment = quote_literal(&format!("datakit.original_name={}", self.original.as_ref()?));
        Some(format!(" COMMENT ON COLUMN {table}.{} IS {comment};", quote(&self.name)))
    }
}

/// A column of the table that is there.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) not_null: bool,
    /// Its values are computed or numbered by the server.
    pub(crate) generated: bool,
    pub(crate) has_default: bool,
}

impl TableSchema {
    pub(crate) fn new(table: &TableId, source: &SchemaRef) -> Result<Self, SinkError> {
        check_columns(table, source)?;
        let columns = source.fields().len();
        if columns > MAX_COLUMNS {
            let table = table.to_string();
            return Err(SinkError::TooManyColumns { table, columns, limit: MAX_COLUMNS, sink: "postgres" });
        }
        let columns = source.fields().iter().map(|field| {
            let (form, type_name) = map_type(field).ok_or_else(|| SinkError::UnsupportedType {
                table: table.to_string(),
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                sink: "postgres",
            })?;
            let name = names::column(field.name())?;
            let original = (name != *field.name()).then(|| field.name().clone());
            Ok(Column { name, original, form, type_name, nullable: field.is_nullable() })
        });
        let columns = columns.collect::<Result<_, SinkError>>()?;
        Ok(Self { table: table.clone(), source: Arc::clone(source), columns })
    }

    /// Names and types of the columns, and which may not be null.
    pub(crate) fn definitions(&self) -> Vec<String> {
        let null = |column: &Column| if column.nullable { "" } else { " NOT NULL" };
        self.columns.iter().map(|c| format!("{} {}{}", quote(&c.name), c.type_name, null(c))).collect()
    }

    /// The index of a table that is merged into by these columns. Not unique: other loads may add what they like.
    pub(crate) fn create_index(&self, name: &TableName, keys: &[usize]) -> String {
        let keys: Vec<String> = keys.iter().map(|at| quote(&self.columns[*at].name)).collect();
        format!("CREATE INDEX ON {name} ({})", keys.join(", "))
    }

    /// `CREATE TABLE`, and the original names as comments.
    pub(crate) fn create(&self, name: &TableName) -> String {
        let mut sql = format!("CREATE TABLE {name} ({});", self.definitions().join(", "));
        sql.extend(self.columns.iter().filter_map(|column| column.comment(name)));
        sql
    }

    /// Whether a table has these columns and no others.
    pub(crate) fn is_of(&self, existing: &[Existing]) -> bool {
        let found = existing.iter().map(|column| (&column.name, &column.type_name));
        found.eq(self.columns.iter().map(|column| (&column.name, &column.type_name)))
    }

    /// The COPY that all partitions feed.
    pub(crate) fn copy(&self, name: &TableName) -> String {
        let columns: Vec<String> = self.columns.iter().map(|c| quote(&c.name)).collect();
        format!("COPY {name} ({}) FROM STDIN (FORMAT binary)", columns.join(", "))
    }
}

/// The counterpart of a column's type, by the type table of the contract.
fn map_type(field: &Field) -> Option<(Form, String)> {
    let (form, name) = match field.data_type() {
        DataType::Boolean => (Form::Boolean, "boolean"),
        DataType::Int8 => (Form::Int8, "smallint"),
        DataType::Int16 => (Form::Int16, "smallint"),
        DataType::Int32 => (Form::Int32, "integer"),
        DataType::Int64 => (Form::Int64, "bigint"),
        DataType::Float32 => (Form::Float32, "real"),
        DataType::Float64 => (Form::Float64, "double precision"),
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).ok().filter(|scale| scale <= precision)?;
            return Some((Form::Decimal { scale: scale.into() }, format!("numeric({precision},{scale})")));
        }
        DataType::Date32 => (Form::Date, "date"),
        DataType::Time64(TimeUnit::Nanosecond) => (Form::TimeNanoseconds, "time without time zone"),
        DataType::Time64(TimeUnit::Microsecond) => (Form::TimeMicroseconds, "time without time zone"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => (Form::Timestamp, "timestamp without time zone"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => (Form::Timestamp, "timestamp with time zone"),
        DataType::Utf8 => (Form::Text, "text"),
        DataType::LargeUtf8 => (Form::LargeText, "text"),
        DataType::Utf8View => (Form::TextView, "text"),
        DataType::Binary => (Form::Binary, "bytea"),
        DataType::LargeBinary => (Form::LargeBinary, "bytea"),
        DataType::BinaryView => (Form::BinaryView, "bytea"),
        DataType::FixedSizeBinary(_) if is_uuid(field) => (Form::Uuid, "uuid"),
        _ => return None,
    };
    Some((form, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    fn schema(fields: Vec<Field>) -> TableSchema {
        TableSchema::new(&TableId::new("dbo", "t"), &Arc::new(Schema::new(fields))).unwrap()
    }

    #[test]
    fn tables_are_created_with_quoted_names_and_their_originals() {
        let schema = schema(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("amount \"net\"", DataType::Decimal128(18, 4), true),
            Field::new("", DataType::Utf8, true),
            Field::new("xmin", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ]);
        let name = TableName::new("ERP", &TableId::new("dbo", "t'x")).unwrap();
        insta::assert_snapshot!(schema.create(&name).replace("; ", ";\n"), @r#"
        CREATE TABLE "ERP_dbo"."t'x" ("id" integer NOT NULL, "amount ""net""" numeric(18,4), "%" text, "%xmin" timestamp with time zone);
        COMMENT ON COLUMN "ERP_dbo"."t'x"."%" IS 'datakit.original_name=';
        COMMENT ON COLUMN "ERP_dbo"."t'x"."%xmin" IS 'datakit.original_name=xmin';
        "#);
        assert_eq!(
            schema.copy(&name),
            r#"COPY "ERP_dbo"."t'x" ("id", "amount ""net""", "%", "%xmin") FROM STDIN (FORMAT binary)"#
        );
    }

    #[test]
    fn more_columns_than_postgres_takes_are_refused() {
        let new = |columns: usize| {
            let fields = (0..columns).map(|i| Field::new(format!("c{i}"), DataType::Int32, true)).collect::<Vec<_>>();
            TableSchema::new(&TableId::new("dbo", "wide"), &Arc::new(Schema::new(fields)))
        };
        assert!(new(1_600).is_ok());
        let error = new(1_601).unwrap_err();
        assert!(matches!(error, SinkError::TooManyColumns { columns: 1_601, limit: 1_600, .. }), "{error}");
    }
}
