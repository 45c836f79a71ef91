//! What a layer of variables replaces of the file.

use crate::node::{Table, Value};
use crate::text::Origin;

/// What a layer of variables is about to replace: each setting with its variable, in the order of their names.
pub(crate) fn replaced(file: &Table, over: &Table) -> Vec<String> {
    let mut found = Vec::new();
    collect_replaced(file, over, "", &mut found);
    found
}

fn collect_replaced(file: &Table, over: &Table, path: &str, found: &mut Vec<String>) {
    // Says nothing by itself: it is laid over so that another kind replaces the whole table.
    for (key, entry) in over.iter().filter(|(key, _)| *key != "kind") {
        let Some(below) = file.get(key) else { continue };
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (&below.node.value, &entry.node.value) {
            (Value::Table(below), Value::Table(over)) if !crate::node::replaces(below, over) => {
                collect_replaced(below, over, &path, found);
            }
            (below, over) if !is_same(below, over) => {
                if let Origin::Variable(variable) = &entry.key {
                    found.push(format!("`{path}` ({variable})"));
                }
            }
            _ => {}
        }
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Integer(one), Value::Integer(other)) => one == other,
        (Value::Boolean(one), Value::Boolean(other)) => one == other,
        (Value::Table(one), Value::Table(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((key, value), (other_key, other_value))| {
                    key == other_key && is_same(&value.node.value, &other_value.node.value)
                })
        }
        _ => false,
    }
}
