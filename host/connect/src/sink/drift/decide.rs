//! The rules: what becomes of each column.

use std::collections::HashSet;

use datakit_model::sink::{Target, WriteMode};
use datakit_model::{ChangeKind, ColumnChange, DriftRule};

use super::{Alteration, DefaultValue, Load, SinkColumn, Table, holds};

/// What becomes of a column of the load.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    /// It is written as it is.
    Same,
    /// It is written in the type of the table, which holds all of its values.
    Cast(arrow::datatypes::DataType),
    /// It is not written.
    LeftOut,
}

/// What was decided.
#[derive(Debug)]
pub(super) struct Decision {
    /// Of each column of the load.
    pub(super) fates: Vec<Fate>,
    pub(super) alterations: Vec<Alteration>,
    pub(super) changes: Vec<ColumnChange>,
    /// What keeps the load out of the table, a text each.
    pub(super) problems: Vec<String>,
}

/// Holds the columns of a load against those of the table.
pub(super) fn decide(target: &Target, load: &Load<'_>, table: &Table<'_>) -> Decision {
    let fates = vec![Fate::Same; load.columns.len()];
    let decision = Decision { fates, alterations: Vec::new(), changes: Vec::new(), problems: Vec::new() };
    let mut rules = Rules { target, table, decision };
    for (at, column) in load.columns.iter().enumerate() {
        match table.columns.iter().find(|there| there.name == column.name) {
            Some(there) => rules.same_name(at, column, there),
            None => rules.only_in_load(at, column),
        }
    }
    if !load.is_part {
        let names: HashSet<String> = load.columns.iter().map(|column| column.name.to_lowercase()).collect();
        let unknown = table.columns.iter().filter(|there| !names.contains(&there.name.to_lowercase()));
        unknown.for_each(|there| rules.only_in_table(there));
    }
    rules.decision
}

struct Rules<'a> {
    target: &'a Target,
    table: &'a Table<'a>,
    decision: Decision,
}

impl Rules<'_> {
    /// Rows that stay are of the columns that the table has.
    fn rule(&self) -> DriftRule {
        match (self.target.drift, self.target.mode) {
            (DriftRule::Replace, WriteMode::Append | WriteMode::Merge) => DriftRule::Evolve,
            (rule, _) => rule,
        }
    }

    fn merges(&self) -> bool {
        self.target.mode == WriteMode::Merge
    }

    fn problem(&mut self, text: String) {
        self.decision.problems.push(text);
    }

    fn alter(&mut self, alteration: Alteration) {
        self.decision.alterations.push(alteration);
    }

    fn change(&mut self, column: &str, change: ChangeKind, from: Option<&SinkColumn>, to: Option<&SinkColumn>) {
        let type_of = |column: Option<&SinkColumn>| column.map(|column| column.type_name.clone());
        let (column, from, to) = (column.to_owned(), type_of(from), type_of(to));
        self.decision.changes.push(ColumnChange { column, change, from, to });
    }

    /// The column's name in the source.
    fn source_name(&self, at: usize) -> String {
        self.target.schema.field(at).name().clone()
    }

    /// Whether a merge goes by the column: it is of the key, or says what a row does.
    fn is_needed(&self, at: usize) -> bool {
        let name = self.source_name(at);
        let roles = [&self.target.roles.operation, &self.target.roles.missing_columns];
        self.merges() && (self.target.keys.contains(&name) || roles.into_iter().flatten().any(|column| *column == name))
    }

    fn partitions(&self, column: &SinkColumn) -> bool {
        self.table.partition_columns.contains(&column.name)
    }

    fn only_in_load(&mut self, at: usize, column: &SinkColumn) {
        let lower = column.name.to_lowercase();
        if let Some(other) = self.table.columns.iter().find(|there| there.name.to_lowercase() == lower) {
            return self.problem(format!("`{}` is called `{}` in the table", column.name, other.name));
        }
        let is_key = self.merges() && self.target.keys.contains(&self.source_name(at));
        match self.rule() {
            DriftRule::Fail => self.problem(format!("`{}` is not in the table", column.name)),
            DriftRule::Freeze if self.is_needed(at) => {
                self.problem(format!("`{}` is not in the table, and the load is merged by it", column.name));
            }
            DriftRule::Freeze if self.target.updates_only => {
                self.problem(format!("`{}` is not in the table, which keeps its columns", column.name));
            }
            DriftRule::Freeze => {
                self.decision.fates[at] = Fate::LeftOut;
                self.change(&self.source_name(at), ChangeKind::LeftOut, None, Some(column));
            }
            DriftRule::Evolve if is_key => {
                self.problem(format!("`{}` is of the key, and the rows of the table do not have it", column.name));
            }
            DriftRule::Evolve | DriftRule::Replace => {
                self.alter(Alteration::Add(column.name.clone()));
                self.change(&self.source_name(at), ChangeKind::Added, None, Some(column));
            }
        }
    }

    fn same_name(&mut self, at: usize, column: &SinkColumn, there: &SinkColumn) {
        if there.default == DefaultValue::Generated {
            return self.problem(format!("`{}` is generated in the table", column.name));
        }
        if there.type_name != column.type_name {
            self.other_type(at, column, there);
        }
        if column.nullable && !there.nullable {
            self.may_be_null(at, column);
        }
    }

    fn other_type(&mut self, at: usize, column: &SinkColumn, there: &SinkColumn) {
        let types = (&there.data_type, &column.data_type);
        let is_narrower = matches!(types, (Some(wide), Some(narrow)) if holds(wide, narrow));
        let name = self.source_name(at);
        let text = || format!("`{}` is {} in the table, not {}", column.name, there.type_name, column.type_name);
        match (self.rule(), &there.data_type) {
            (DriftRule::Replace, _) => {
                self.alter(Alteration::Retype(column.name.clone()));
                self.change(&name, ChangeKind::Replaced, Some(there), Some(column));
            }
            (DriftRule::Evolve | DriftRule::Freeze, Some(wide)) if is_narrower => {
                self.decision.fates[at] = Fate::Cast(wide.clone());
                let read = self.target.schema.field(at).data_type().to_string();
                if self.table.last.get(&column.name) != Some(&read) {
                    self.change(&name, ChangeKind::Kept, Some(there), Some(column));
                }
            }
            (DriftRule::Evolve, _) if self.partitions(column) => {
                self.problem(format!("{}, and it partitions the table", text()));
            }
            // Of a backfill the key stays as it is: rows that are not filled have it too.
            (DriftRule::Evolve, _) if self.target.updates_only && self.is_needed(at) => self.problem(text()),
            (DriftRule::Evolve, _) if (self.table.widens)(there, column) => {
                self.alter(Alteration::Retype(column.name.clone()));
                self.change(&name, ChangeKind::Widened, Some(there), Some(column));
            }
            _ => self.problem(text()),
        }
    }

    /// A column of the load may be null, that of the table not. Rows of changes may have nulls wherever a deleted row has no value:
    /// a merge looks at each row.
    fn may_be_null(&mut self, at: usize, column: &SinkColumn) {
        let is_of_changes = self.merges() && self.target.roles.operation.is_some();
        match self.rule() {
            _ if is_of_changes || self.target.updates_only => {}
            DriftRule::Evolve | DriftRule::Replace => {
                self.alter(Alteration::Relax(column.name.clone()));
                self.change(&self.source_name(at), ChangeKind::Relaxed, None, Some(column));
            }
            DriftRule::Freeze | DriftRule::Fail if self.merges() => {}
            DriftRule::Freeze | DriftRule::Fail => {
                self.problem(format!("`{}` may be null, but not in the table", column.name));
            }
        }
    }

    fn only_in_table(&mut self, there: &SinkColumn) {
        let name = &there.name;
        if self.target.updates_only && there.default != DefaultValue::Writer {
            return;
        }
        let is_filled = matches!(there.default, DefaultValue::Server | DefaultValue::Generated);
        let rest = if is_filled { ", filled in by the server" } else { "" };
        let can_stay = is_filled || there.nullable;
        // Else the operator has added it.
        let was_loaded = self.table.last.is_empty() || self.table.last.contains_key(name);
        match self.rule() {
            DriftRule::Fail if !(self.merges() && can_stay) => {
                self.problem(format!("`{name}` is only in the table{rest}"));
            }
            _ if there.default == DefaultValue::Writer => {
                self.problem(format!("`{name}` is only in the table"));
            }
            _ if self.partitions(there) => {
                self.problem(format!("`{name}` partitions the table, and the rows do not have it"));
            }
            _ if is_filled => {}
            DriftRule::Replace => {
                self.alter(Alteration::Drop(name.clone()));
                self.change(name, ChangeKind::Dropped, Some(there), None);
            }
            DriftRule::Evolve if !can_stay && was_loaded => {
                self.alter(Alteration::Relax(name.clone()));
                self.change(name, ChangeKind::Dropped, Some(there), None);
            }
            _ if !can_stay => self.problem(format!("`{name}` is only in the table, and may not be null")),
            DriftRule::Evolve | DriftRule::Freeze if was_loaded => {
                self.change(name, ChangeKind::Dropped, Some(there), None);
            }
            DriftRule::Evolve | DriftRule::Freeze | DriftRule::Fail => {}
        }
    }
}
