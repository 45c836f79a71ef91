//! Which columns are compared: those whose values are the source's.

use std::collections::HashSet;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use datakit_model::datakit::RoleColumns;
use datakit_model::{ColumnOrigin, Derivation};

/// What is known of the rows of a table before one is compared.
#[derive(Debug)]
pub(super) struct Output<'a> {
    /// The columns of the datakit's rows.
    pub(super) schema: &'a SchemaRef,
    /// What each is made of, as far as the datakit has said it.
    pub(super) origins: &'a [ColumnOrigin],
    /// Those that the host fills.
    pub(super) roles: &'a RoleColumns,
    /// The columns of the source's table.
    pub(super) source: &'a Schema,
    /// Those that the sink's table does not have.
    pub(super) absent: &'a HashSet<String>,
    /// The columns that identify a row.
    pub(super) keys: &'a [String],
}

/// The columns that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    /// In the order of the datakit's rows.
    pub(super) fields: Vec<FieldRef>,
    /// Their places in the datakit's rows.
    pub(super) places: Vec<usize>,
    /// The places of the key's columns among them, in key order; empty: the table has no key.
    pub(super) keys: Vec<usize>,
    /// Columns of the source that the sink does not have.
    pub(super) not_in_sink: Vec<String>,
}

impl Output<'_> {
    /// The columns to compare.
    pub(super) fn columns(&self) -> Columns {
        let (mut fields, mut places, mut not_in_sink) = (Vec::new(), Vec::new(), Vec::new());
        for (place, field) in self.schema.fields().iter().enumerate().filter(|(_, field)| self.is_of_source(field)) {
            if self.absent.contains(field.name()) {
                not_in_sink.push(field.name().clone());
            } else {
                fields.push(FieldRef::clone(field));
                places.push(place);
            }
        }
        let place = |key: &String| fields.iter().position(|field| field.name() == key);
        let keys = self.keys.iter().map(place).collect::<Option<Vec<_>>>().unwrap_or_default();
        Columns { fields, places, keys, not_in_sink }
    }

    /// Where the start of a load may stand: columns of times that are the same in all rows.
    pub(super) fn load_times(&self) -> Vec<usize> {
        let is_time = |field: &FieldRef| matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _));
        let fields = self.schema.fields().iter().enumerate();
        let times = fields.filter(|(_, field)| is_time(field) && !self.has_role(field) && !self.is_of_source(field));
        times.filter(|(_, field)| !self.absent.contains(field.name())).map(|(place, _)| place).collect()
    }

    fn has_role(&self, field: &FieldRef) -> bool {
        self.roles.named().any(|(_, name)| name == field.name())
    }

    fn is_of_source(&self, field: &FieldRef) -> bool {
        let origin = self.origins.iter().find(|origin| origin.column == *field.name());
        match origin {
            _ if self.has_role(field) => false,
            None => self.source.column_with_name(field.name()).is_some(),
            Some(origin) if origin.inputs.is_empty() => false,
            Some(origin) if origin.derivation == Derivation::Hash => !self.are_passed(&origin.inputs),
            Some(_) => true,
        }
    }

    /// A hash of values that are compared themselves says nothing more, and may be of other columns than those of now.
    fn are_passed(&self, inputs: &[String]) -> bool {
        let passed: HashSet<&String> = self
            .origins
            .iter()
            .filter(|origin| origin.derivation == Derivation::Identity)
            .flat_map(|origin| &origin.inputs)
            .collect();
        inputs.iter().all(|input| passed.contains(input))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    fn origin(column: &str, inputs: &[&str], derivation: Derivation) -> ColumnOrigin {
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        ColumnOrigin { column: column.to_owned(), inputs, derivation }
    }

    fn text(name: &str) -> Field {
        Field::new(name, DataType::Utf8, true)
    }

    fn time(name: &str) -> Field {
        Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
    }

    fn names(columns: &Columns) -> Vec<&str> {
        columns.fields.iter().map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn columns_of_the_host_and_of_the_datakit_are_left_out() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            text("id"),
            text("name"),
            text("masked"),
            text("new"),
            time("loaded_at"),
            text("batch"),
            text("hash"),
            time("committed"),
        ]));
        let origins = [
            origin("id", &["id"], Derivation::Identity),
            origin("name", &["name"], Derivation::Expression),
            origin("masked", &["secret"], Derivation::Hash),
            origin("new", &["new"], Derivation::Identity),
            origin("loaded_at", &[], Derivation::Expression),
            origin("batch", &[], Derivation::Expression),
            origin("hash", &["id", "new"], Derivation::Hash),
            origin("committed", &["datakit:commit-time"], Derivation::Identity),
        ];
        let (batch, committed) = (Some("batch".to_owned()), Some("committed".to_owned()));
        let roles = RoleColumns { load_id: batch, commit_time: committed, ..RoleColumns::default() };
        let absent = HashSet::from(["new".to_owned()]);
        let keys = ["id".to_owned()];
        let source = Schema::empty();
        let output =
            Output { schema: &schema, origins: &origins, roles: &roles, source: &source, absent: &absent, keys: &keys };
        let columns = output.columns();
        assert_eq!(names(&columns), ["id", "name", "masked"]);
        assert_eq!((&columns.places, &columns.keys), (&vec![0, 1, 2], &vec![0]));
        assert_eq!(columns.not_in_sink, ["new"]);
        assert_eq!(output.load_times(), [4]);
    }

    #[test]
    fn column_of_which_nothing_is_said_is_compared_where_the_source_has_its_name() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![text("id"), text("made")]));
        let source = Schema::new(vec![text("id"), text("other")]);
        let (roles, absent) = (RoleColumns::default(), HashSet::new());
        let keys = ["other".to_owned()];
        let output =
            Output { schema: &schema, origins: &[], roles: &roles, source: &source, absent: &absent, keys: &keys };
        let columns = output.columns();
        assert_eq!(names(&columns), ["id"]);
        assert!(columns.keys.is_empty(), "a key of which a column is not compared identifies no row");
    }
}
