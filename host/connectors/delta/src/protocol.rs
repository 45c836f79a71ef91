//! Table features: which ones a table must list, and which of them this sink honours.
//!
//! The rules are those of the protocol document, and of delta-spark where the document leaves room
//! (`Protocol.extractAutomaticallyEnabledFeatures`): a column that may not be null makes `invariants` a feature of the table, a
//! timestamp without zone `timestampNtz`, `delta.appendOnly` `appendOnly`. Spark and Databricks do not open a table whose protocol has
//! lists of features, and whose lists lack one of these (docs/decisions/0151).

use std::collections::BTreeSet;

use deltalake::kernel::{Metadata, Protocol, StructField, StructType, contains_timestampntz};
use serde::{Deserialize, Serialize};

/// From this version on the features that readers need are a list.
const READER_WITH_LIST: i32 = 3;
/// From this version on the features that writers need are a list.
const WRITER_WITH_LIST: i32 = 7;

const APPEND_ONLY: &str = "appendOnly";
const CHANGE_DATA_FEED: &str = "changeDataFeed";
const CHECK_CONSTRAINTS: &str = "checkConstraints";
const COLUMN_MAPPING: &str = "columnMapping";
const GENERATED_COLUMNS: &str = "generatedColumns";
const IDENTITY_COLUMNS: &str = "identityColumns";
const INVARIANTS: &str = "invariants";
const TIMESTAMP_NTZ: &str = "timestampNtz";

/// What a writer version without a list means: each feature with the first version that has it.
const IMPLIED: [(&str, i32); 7] = [
    (APPEND_ONLY, 2),
    (INVARIANTS, 2),
    (CHECK_CONSTRAINTS, 3),
    (CHANGE_DATA_FEED, 4),
    (GENERATED_COLUMNS, 4),
    (COLUMN_MAPPING, 5),
    (IDENTITY_COLUMNS, 6),
];

/// Features that ask nothing of a writer that appends whole rows or replaces them all, or that the library sees to.
const ALWAYS_HONOURED: [&str; 9] = [
    APPEND_ONLY,
    INVARIANTS,
    TIMESTAMP_NTZ,
    "allowColumnDefaults",
    "checkpointProtection",
    "deletionVectors",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
];

/// A protocol action, with its features as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    min_reader_version: i32,
    min_writer_version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reader_features: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer_features: Option<BTreeSet<String>>,
}

impl Versions {
    fn of(protocol: &Protocol) -> Result<Self, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(protocol)?)
    }

    fn protocol(&self) -> Result<Protocol, serde_json::Error> {
        serde_json::from_value(serde_json::to_value(self)?)
    }

    /// Every feature that a writer must heed, listed or implied.
    fn features(&self) -> BTreeSet<String> {
        let listed = self.writer_features.iter().chain(&self.reader_features).flatten().cloned();
        let has_list = self.min_writer_version >= WRITER_WITH_LIST;
        let implied = IMPLIED.iter().filter(|(_, version)| !has_list && *version <= self.min_writer_version);
        listed.chain(implied.map(|(name, _)| (*name).to_owned())).collect()
    }

    /// The same with more features: without lists for as long as versions can say it, as old readers read those.
    fn with(&self, missing: &BTreeSet<&str>) -> Self {
        let implied_by = |name: &str| IMPLIED.iter().find(|(implied, _)| *implied == name).map(|(_, version)| *version);
        let versions: Option<Vec<i32>> = missing.iter().map(|name| implied_by(name)).collect();
        if let (true, Some(versions)) = (self.min_writer_version < WRITER_WITH_LIST, versions) {
            let highest = versions.into_iter().max().unwrap_or_default();
            return Self { min_writer_version: self.min_writer_version.max(highest), ..self.clone() };
        }
        let mut features = self.features();
        features.extend(missing.iter().map(|name| (*name).to_owned()));
        let for_readers = [TIMESTAMP_NTZ, COLUMN_MAPPING].map(str::to_owned);
        let mut reader_features = self.reader_features.clone().unwrap_or_default();
        reader_features.extend(for_readers.into_iter().filter(|name| features.contains(name)));
        let readers_need_a_list = self.min_reader_version >= READER_WITH_LIST || !reader_features.is_empty();
        Self {
            min_reader_version: if readers_need_a_list { READER_WITH_LIST } else { self.min_reader_version },
            min_writer_version: WRITER_WITH_LIST,
            reader_features: readers_need_a_list.then_some(reader_features),
            writer_features: Some(features),
        }
    }
}

/// The oldest protocol that the columns allow, so that many readers can read.
pub(crate) fn of_new_table(schema: &StructType) -> Result<Protocol, serde_json::Error> {
    let oldest =
        Versions { min_reader_version: 1, min_writer_version: 2, reader_features: None, writer_features: None };
    let needed = required(schema, false);
    if needed.iter().all(|name| oldest.features().contains(*name)) {
        return oldest.protocol();
    }
    // With lists nothing is implied: they name what this table has, and no more.
    let bare = Versions { min_writer_version: 1, ..oldest };
    bare.with(&needed).protocol()
}

/// The protocol that the table should have by its metadata; none: it has it.
pub(crate) fn upgraded(
    protocol: &Protocol,
    metadata: &Metadata,
    schema: &StructType,
) -> Result<Option<Protocol>, serde_json::Error> {
    let versions = Versions::of(protocol)?;
    let is_append_only = is_true(metadata, "delta.appendOnly");
    let features = versions.features();
    let missing: BTreeSet<&str> =
        required(schema, is_append_only).into_iter().filter(|name| !features.contains(*name)).collect();
    if missing.is_empty() { Ok(None) } else { versions.with(&missing).protocol().map(Some) }
}

/// What a table needs that this sink would not do; empty: it may be written.
pub(crate) fn not_honoured(
    protocol: &Protocol,
    metadata: &Metadata,
    schema: &StructType,
) -> Result<Vec<String>, serde_json::Error> {
    let versions = Versions::of(protocol)?;
    let mut needs = Vec::new();
    if versions.min_reader_version > READER_WITH_LIST {
        needs.push(format!("readers of version {}", versions.min_reader_version));
    }
    if versions.min_writer_version > WRITER_WITH_LIST {
        needs.push(format!("writers of version {}", versions.min_writer_version));
    }
    needs.extend(versions.features().into_iter().filter(|name| !is_honoured(name, metadata, schema)));
    Ok(needs)
}

/// By the metadata: a feature that is listed, and not used, asks nothing.
fn required(schema: &StructType, is_append_only: bool) -> BTreeSet<&'static str> {
    let needed = [
        (APPEND_ONLY, is_append_only),
        (INVARIANTS, schema.fields().any(|field| !field.is_nullable())),
        (TIMESTAMP_NTZ, contains_timestampntz(schema.fields())),
    ];
    needed.into_iter().filter_map(|(name, is_needed)| is_needed.then_some(name)).collect()
}

fn is_honoured(feature: &str, metadata: &Metadata, schema: &StructType) -> bool {
    let no_field_has = |prefix: &str| {
        let has = |field: &StructField| field.metadata().keys().any(|key| key.starts_with(prefix));
        !schema.fields().any(has)
    };
    match feature {
        CHANGE_DATA_FEED => !is_true(metadata, "delta.enableChangeDataFeed"),
        CHECK_CONSTRAINTS => !metadata.configuration().keys().any(|key| key.starts_with("delta.constraints.")),
        COLUMN_MAPPING => metadata.configuration().get("delta.columnMapping.mode").is_none_or(|mode| mode == "none"),
        GENERATED_COLUMNS => no_field_has("delta.generationExpression"),
        IDENTITY_COLUMNS => no_field_has("delta.identity."),
        other => ALWAYS_HONOURED.contains(&other),
    }
}

fn is_true(metadata: &Metadata, property: &str) -> bool {
    metadata.configuration().get(property).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use deltalake::kernel::{DataType, new_metadata};
    use serde_json::{Value, json};

    use super::*;

    fn schema(columns: &[(&str, DataType, bool)]) -> StructType {
        let field = |(name, data_type, is_nullable): &(&str, DataType, bool)| {
            StructField::new(*name, data_type.clone(), *is_nullable)
        };
        StructType::try_new(columns.iter().map(field).collect::<Vec<_>>()).unwrap()
    }

    fn protocol(json: Value) -> Protocol {
        serde_json::from_value(json).unwrap()
    }

    fn text(protocol: &Protocol) -> Value {
        serde_json::to_value(Versions::of(protocol).unwrap()).unwrap()
    }

    #[test]
    fn new_table_lists_what_its_columns_need() {
        let new = |columns: &[(&str, DataType, bool)]| text(&of_new_table(&schema(columns)).unwrap());
        let legacy = json!({ "minReaderVersion": 1, "minWriterVersion": 2 });
        assert_eq!(new(&[("a", DataType::INTEGER, true)]), legacy);
        assert_eq!(new(&[("a", DataType::INTEGER, false)]), legacy, "version 2 implies `invariants`");
        let lists = |writers: Value| json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"], "writerFeatures": writers });
        assert_eq!(new(&[("t", DataType::TIMESTAMP_NTZ, true)]), lists(json!(["timestampNtz"])));
        let both = [("a", DataType::INTEGER, false), ("t", DataType::TIMESTAMP_NTZ, true)];
        assert_eq!(new(&both), lists(json!(["invariants", "timestampNtz"])));
    }

    #[test]
    fn existing_table_gets_what_its_metadata_needs_and_keeps_the_rest() {
        let both = schema(&[("a", DataType::INTEGER, false), ("t", DataType::TIMESTAMP_NTZ, true)]);
        let plain = schema(&[("a", DataType::INTEGER, false)]);
        let none: [(String, String); 0] = [];
        let append_only = [("delta.appendOnly".to_owned(), "true".to_owned())];
        let upgrade = |from: Value, schema: &StructType, properties: &[(String, String)]| {
            let metadata = new_metadata(schema, Vec::<String>::new(), properties.to_vec()).unwrap();
            upgraded(&protocol(from), &metadata, schema).unwrap().map(|protocol| text(&protocol))
        };
        let without_invariants = json!({
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": ["deletionVectors", "timestampNtz"], "writerFeatures": ["deletionVectors", "timestampNtz"],
        });
        assert_eq!(
            upgrade(without_invariants, &both, &none),
            Some(json!({
                "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors", "timestampNtz"],
                "writerFeatures": ["deletionVectors", "invariants", "timestampNtz"],
            }))
        );
        let writers =
            |features: Value| json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features });
        assert_eq!(
            upgrade(writers(json!([])), &plain, &append_only),
            Some(writers(json!(["appendOnly", "invariants"])))
        );
        assert_eq!(upgrade(writers(json!(["invariants"])), &plain, &none), None);
        let legacy = |writer: i32| json!({ "minReaderVersion": 1, "minWriterVersion": writer });
        assert_eq!(upgrade(legacy(1), &plain, &none), Some(legacy(2)));
        assert_eq!(upgrade(legacy(4), &plain, &append_only), None);
        assert_eq!(
            upgrade(legacy(2), &both, &none),
            Some(json!({
                "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"],
                "writerFeatures": ["appendOnly", "invariants", "timestampNtz"],
            }))
        );
    }

    #[test]
    fn feature_is_refused_only_where_the_table_uses_it() {
        let plain = schema(&[("a", DataType::INTEGER, true)]);
        let refused = |from: Value, properties: &[(&str, &str)]| {
            let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let metadata = new_metadata(&plain, Vec::<String>::new(), properties).unwrap();
            not_honoured(&protocol(from), &metadata, &plain).unwrap()
        };
        let legacy = |reader: i32, writer: i32| json!({ "minReaderVersion": reader, "minWriterVersion": writer });
        assert_eq!(refused(legacy(2, 6), &[]), Vec::<String>::new());
        assert_eq!(refused(legacy(2, 5), &[("delta.columnMapping.mode", "name")]), ["columnMapping"]);
        assert_eq!(refused(legacy(1, 4), &[("delta.enableChangeDataFeed", "true")]), ["changeDataFeed"]);
        assert_eq!(refused(legacy(1, 3), &[("delta.constraints.positive", "a > 0")]), ["checkConstraints"]);
        let lists = json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["rowTracking", "invariants", "domainMetadata"] });
        assert_eq!(refused(lists, &[]), ["domainMetadata", "rowTracking"]);
    }
}
