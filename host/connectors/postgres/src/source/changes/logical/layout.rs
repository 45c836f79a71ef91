//! A table as it was at a change: where its columns are, and which row a change is of.

use super::message::{Old, Relation, Tuple, Value};

/// The columns of a table's rows from one message on.
pub(super) struct Layout {
    pub(super) names: Vec<String>,
    /// The columns of the replica identity.
    is_key: Vec<bool>,
    /// The columns that tell rows apart where changes have the whole old row.
    identifying: Vec<usize>,
}

impl Layout {
    /// `keys` are the columns of the table's key; none: all columns together tell rows apart.
    pub(super) fn new(relation: Relation, keys: &[String]) -> Self {
        let identifies = |name: &String| keys.is_empty() || keys.contains(name);
        let identifying = relation.columns.iter().enumerate().filter(|(_, column)| identifies(&column.name));
        Self {
            identifying: identifying.map(|(at, _)| at).collect(),
            is_key: relation.columns.iter().map(|column| column.is_key).collect(),
            names: relation.columns.into_iter().map(|column| column.name).collect(),
        }
    }

    /// Whether a row has a value for each column.
    pub(super) fn fits(&self, row: &Tuple<'_>) -> bool {
        row.len() == self.names.len()
    }

    /// Whether an old row says what it had in a column.
    pub(super) fn says(&self, old: &Old<'_>, column: usize) -> bool {
        old.is_whole || self.is_key.get(column) == Some(&true)
    }

    /// Takes what a new row does not carry from the old one, as far as that has it.
    pub(super) fn complete<'a>(&self, old: &Old<'a>, new: &mut Tuple<'a>) {
        for (column, (value, before)) in new.iter_mut().zip(&old.values).enumerate() {
            if *value == Value::Unchanged && self.says(old, column) {
                *value = *before;
            }
        }
    }

    /// Whether a complete new row is another one than the old: its key has changed.
    pub(super) fn is_moved(&self, old: &Old<'_>, new: &Tuple<'_>) -> bool {
        let differs = |column: usize| old.values.get(column) != new.get(column);
        match old.is_whole {
            true => self.identifying.iter().any(|column| differs(*column)),
            false => (0..self.is_key.len()).any(|column| self.is_key[column] && differs(column)),
        }
    }

    /// The columns whose values a row does not carry.
    pub(super) fn unsent(&self, row: &Tuple<'_>) -> Vec<&str> {
        let names = self.names.iter().zip(row);
        names.filter(|(_, value)| **value == Value::Unchanged).map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::RelationColumn;
    use super::*;

    fn layout(keys: &[&str], columns: &[(&str, bool)]) -> Layout {
        let columns = columns.iter().map(|(name, is_key)| RelationColumn { name: (*name).into(), is_key: *is_key });
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        Layout::new(Relation { id: 1, columns: columns.collect() }, &keys)
    }

    const A: Value<'_> = Value::Binary(b"a");
    const B: Value<'_> = Value::Binary(b"b");

    #[test]
    fn old_key_is_compared_and_what_is_not_of_it_has_no_meaning() {
        let layout = layout(&["k"], &[("k", true), ("v", false)]);
        let old = Old { is_whole: false, values: vec![A, Value::Null] };
        let mut same = vec![Value::Unchanged, Value::Unchanged];
        layout.complete(&old, &mut same);
        assert_eq!(same, [A, Value::Unchanged], "a long key is sent as the old one alone");
        assert!(!layout.is_moved(&old, &same));
        assert_eq!(layout.unsent(&same), ["v"]);
        assert!(layout.is_moved(&old, &vec![B, A]));
    }

    #[test]
    fn whole_old_row_has_every_value_and_is_compared_by_the_key_if_there_is_one() {
        let old = Old { is_whole: true, values: vec![A, B] };
        let keyed = layout(&["k"], &[("k", true), ("v", true)]);
        let mut new = vec![A, Value::Unchanged];
        keyed.complete(&old, &mut new);
        assert_eq!(new, [A, B]);
        assert!(!keyed.is_moved(&old, &vec![A, A]));
        let keyless = layout(&[], &[("k", true), ("v", true)]);
        assert!(keyless.is_moved(&old, &vec![A, A]));
        assert!(!keyless.is_moved(&old, &new));
    }
}
