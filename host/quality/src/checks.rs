//! The rules of a table, compiled for the schema of its rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use datakit_columnar::TextPattern;
use datakit_model::TableId;
use datakit_model::datakit::RoleColumns;
use datakit_model::quality::{Check, DeclaredBy, Rule, TableRule};

use crate::bounds::{Bounds, BoundsError};
use crate::error::{QualityError, RuleName};
use crate::hashes::KeyHasher;
use crate::scope::Roles;
use crate::spool::Spool;

/// A name is similar to another that differs in one of so many characters.
const LIKENESS: usize = 3;

/// The rules of a table, compiled once for the schema of its rows.
#[derive(Debug)]
pub struct Checks {
    pub(crate) table: String,
    pub(crate) rules: Vec<Compiled>,
    pub(crate) roles: Roles,
    /// A merge replaces rows of the same key: that the target holds them is no fault.
    replaces: bool,
}

/// A rule with what its check needs.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) of: TableRule,
    /// The places of its columns.
    pub(crate) places: Vec<usize>,
    /// It is about no column but those of the key: rows that are deleted count.
    pub(crate) is_of_key: bool,
    pub(crate) test: Test,
}

#[derive(Debug)]
pub(crate) enum Test {
    /// The operator switched it off.
    Off,
    NotNull,
    Range(Vec<Bounds>),
    Pattern(TextPattern),
    Keys(KeyHasher, Spool),
    RowCount,
    Newest,
}

/// Keys that a rule needs of a table that the sink holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRead {
    /// The place of the rule, for [`crate::HeldKeys::new`].
    pub rule: usize,
    /// The table; none: the target itself.
    pub table: Option<TableId>,
    /// Its columns.
    pub columns: Vec<String>,
}

impl Checks {
    /// Compiles the rules. `keys` are the columns that identify a row; `replaces`: rows of the target that have the keys of the load
    /// go, by a merge or an overwrite.
    ///
    /// # Errors
    /// A rule about a column that the rows do not have, or whose type it does not take; bounds and patterns that are invalid.
    pub fn new(
        table: &TableId,
        rules: &[TableRule],
        schema: &SchemaRef,
        (keys, replaces): (&[String], bool),
        roles: &RoleColumns,
    ) -> Result<Self, QualityError> {
        let context = Compiling { table: table.to_string(), schema, keys };
        let rules = rules.iter().map(|rule| context.compile(rule)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { table: context.table, rules, roles: Roles::new(schema, roles), replaces })
    }

    /// There is no rule to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The keys that rules need of tables in the sink, before [`Checks::results`].
    #[must_use]
    pub fn key_reads(&self) -> Vec<KeyRead> {
        let read = |(rule, compiled): (usize, &Compiled)| match (&compiled.test, &compiled.of.rule.check) {
            (Test::Keys(..), Check::Unique { in_target: true }) if !self.replaces => {
                Some(KeyRead { rule, table: None, columns: compiled.of.rule.columns.clone() })
            }
            (Test::Keys(..), Check::Reference { table, columns }) => {
                Some(KeyRead { rule, table: Some(table.clone()), columns: columns.clone() })
            }
            _ => None,
        };
        self.rules.iter().enumerate().filter_map(read).collect()
    }

    /// The rows of the last load are compared.
    #[must_use]
    pub fn compares_last_load(&self) -> bool {
        self.rules.iter().any(|compiled| {
            matches!(compiled.test, Test::RowCount)
                && matches!(compiled.of.rule.check, Check::RowCount { max_change_percent: Some(_), .. })
        })
    }

    /// The target's rows of the same key go: they are not compared.
    pub(crate) fn replaces(&self) -> bool {
        self.replaces
    }

    pub(crate) fn keys_of(&self, rule: usize) -> Option<(&KeyHasher, &Spool)> {
        match &self.rules.get(rule)?.test {
            Test::Keys(hasher, spool) => Some((hasher, spool)),
            _ => None,
        }
    }

    pub(crate) fn spool_failed(&self, source: std::io::Error) -> QualityError {
        QualityError::Spool { table: self.table.clone(), source }
    }

    pub(crate) fn check_failed(&self, source: ArrowError) -> QualityError {
        QualityError::Check { table: self.table.clone(), source }
    }

    /// The referenced table is not in the sink.
    #[must_use]
    pub fn not_in_sink(&self, read: &KeyRead) -> QualityError {
        let other = read.table.as_ref().map(ToString::to_string).unwrap_or_default();
        QualityError::NoReferencedTable { table: self.table.clone(), rule: self.name_of(read.rule), other }
    }

    pub(crate) fn incomparable(&self, rule: usize, place: usize, found: &Schema) -> QualityError {
        let column = self.rules.get(rule).and_then(|compiled| compiled.of.rule.columns.get(place));
        let other = found.fields().get(place);
        let problem = format!(
            "`{}` cannot be compared with `{}`, which is of type {}",
            column.map(String::as_str).unwrap_or_default(),
            other.map(|field| field.name().as_str()).unwrap_or_default(),
            other.map(|field| field.data_type().to_string()).unwrap_or_default(),
        );
        QualityError::Invalid { table: self.table.clone(), rule: self.name_of(rule), problem }
    }

    fn name_of(&self, rule: usize) -> RuleName {
        let unknown = || RuleName { name: String::new(), declared_by: DeclaredBy::Operator };
        self.rules.get(rule).map_or_else(unknown, |compiled| RuleName::from(&compiled.of))
    }
}

struct Compiling<'a> {
    table: String,
    schema: &'a Schema,
    keys: &'a [String],
}

impl Compiling<'_> {
    fn compile(&self, of: &TableRule) -> Result<Compiled, QualityError> {
        let rule = &of.rule;
        let compares_rows = matches!(rule.check, Check::Unique { .. } | Check::Reference { .. });
        let is_of_key = !compares_rows && rule.columns.iter().all(|column| self.keys.contains(column));
        if of.is_off {
            return Ok(Compiled { of: of.clone(), places: Vec::new(), is_of_key, test: Test::Off });
        }
        self.check_shape(of)?;
        let places: Vec<usize> = rule.columns.iter().map(|column| self.place(of, column)).collect::<Result<_, _>>()?;
        let test = self.test(of, &places)?;
        Ok(Compiled { of: of.clone(), places, is_of_key, test })
    }

    fn test(&self, of: &TableRule, places: &[usize]) -> Result<Test, QualityError> {
        let type_of = |place: &usize| self.schema.field(*place).data_type();
        let refused = |place: &usize| self.column_type(of, *place);
        Ok(match &of.rule.check {
            Check::NotNull => Test::NotNull,
            Check::RowCount { .. } => Test::RowCount,
            Check::Range { min, max } => {
                let bounds = places.iter().map(|place| {
                    Bounds::new(type_of(place), min.as_deref(), max.as_deref()).map_err(|error| match error {
                        BoundsError::Type => refused(place),
                        BoundsError::Bound(problem) => self.bound(of, *place, &problem),
                    })
                });
                Test::Range(bounds.collect::<Result<_, _>>()?)
            }
            Check::Pattern(pattern) => {
                if let Some(place) = places.iter().find(|place| !TextPattern::takes(type_of(place))) {
                    return Err(refused(place));
                }
                let compiled = TextPattern::compile(pattern);
                Test::Pattern(compiled.map_err(|problem| QualityError::Pattern { rule: of.into(), problem })?)
            }
            Check::Freshness { .. } => {
                let is_time = |place: &&usize| matches!(type_of(place), DataType::Timestamp(..) | DataType::Date32);
                if let Some(place) = places.iter().find(|place| !is_time(place)) {
                    return Err(refused(place));
                }
                Test::Newest
            }
            Check::Unique { .. } | Check::Reference { .. } => {
                let types: Vec<DataType> = places.iter().map(|place| type_of(place).clone()).collect();
                let first = places.first().copied().unwrap_or_default();
                let hasher = KeyHasher::new(types).map_err(|_| self.column_type(of, first))?;
                Test::Keys(hasher, Spool::default())
            }
        })
    }

    /// What a rule is without.
    fn check_shape(&self, of: &TableRule) -> Result<(), QualityError> {
        let Rule { columns, check, .. } = &of.rule;
        let problem = match check {
            Check::RowCount { min: None, max: None, max_change_percent: None } => "it bounds nothing",
            Check::RowCount { .. } if !columns.is_empty() => "the number of rows is not of columns",
            Check::RowCount { .. } => return Ok(()),
            _ if columns.is_empty() => "it names no column",
            Check::Range { min: None, max: None } => "it bounds nothing",
            Check::Freshness { .. } if columns.len() > 1 => "freshness is of one column",
            Check::Reference { columns: others, .. } if others.len() != columns.len() => {
                "it names another number of columns in the other table"
            }
            _ => return Ok(()),
        };
        Err(QualityError::Invalid { table: self.table.clone(), rule: of.into(), problem: problem.to_owned() })
    }

    fn place(&self, of: &TableRule, column: &str) -> Result<usize, QualityError> {
        self.schema.index_of(column).map_err(|_| {
            let mut known: Vec<String> = self.schema.fields().iter().map(|field| field.name().clone()).collect();
            let distance = |other: &String| strsim::osa_distance(&column.to_lowercase(), &other.to_lowercase());
            known.sort_by_key(distance);
            let is_near = known.first().is_some_and(|first| distance(first) <= column.chars().count() / LIKENESS);
            let (table, column) = (self.table.clone(), column.to_owned());
            QualityError::UnknownColumn { table, rule: of.into(), column, known, is_near }
        })
    }

    fn column_type(&self, of: &TableRule, place: usize) -> QualityError {
        let field = self.schema.field(place);
        let found = format!("`{}` of {} is of type {}", field.name(), self.table, field.data_type());
        QualityError::ColumnType { rule: of.into(), kind: of.rule.check.kind(), found }
    }

    fn bound(&self, of: &TableRule, place: usize, problem: &str) -> QualityError {
        let field = self.schema.field(place);
        let problem = format!("{problem}; `{}` is of type {}", field.name(), field.data_type());
        QualityError::Bound { table: self.table.clone(), rule: of.into(), problem }
    }
}

/// Shared by the partitions of a table.
pub(crate) type Shared = Arc<Checks>;
