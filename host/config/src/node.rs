//! Values with the places they came from, merged by the rules of precedence.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::store;
use crate::text::{Origin, Shown, SourceText, is_secret_key, is_shown_key, may_hold_secret};

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A value of the warehouse file.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    String(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys with their own places and their values.
pub(crate) type Table = BTreeMap<String, Entry>;

/// A key's place and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Origin,
    pub(crate) node: Node,
}

impl Value {
    /// What it is, with its article.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// The parsed file as a tree; its text learns which spans are strings and secrets.
pub(crate) fn from_toml(root: &DeTable<'_>, mut text: SourceText) -> Table {
    let mut strings = Vec::new();
    collect_strings(root, Shown::Alone, &mut strings);
    text.set_strings(strings);
    table(root, &Arc::new(text))
}

fn collect_strings(table: &DeTable<'_>, above: Shown, strings: &mut Vec<(Range<usize>, Shown)>) {
    for (key, value) in table {
        let key = key.get_ref().as_ref();
        let shown = if is_shown_key(key) {
            // A reference to a secret is no secret: `password = { env = "NAME" }`.
            Shown::Always
        } else if above == Shown::Never || is_secret_key(key) {
            Shown::Never
        } else {
            Shown::Alone
        };
        collect_strings_of(value, shown, strings);
    }
}

fn collect_strings_of(value: &Spanned<DeValue<'_>>, shown: Shown, strings: &mut Vec<(Range<usize>, Shown)>) {
    match value.get_ref() {
        DeValue::Table(table) => collect_strings(table, shown, strings),
        DeValue::Array(array) => array.iter().for_each(|value| collect_strings_of(value, shown, strings)),
        DeValue::String(text) if may_hold_secret(text) => strings.push((value.span(), Shown::Never)),
        DeValue::String(_) => strings.push((value.span(), shown)),
        _ if shown == Shown::Never => strings.push((value.span(), shown)),
        _ => {}
    }
}

fn table(from: &DeTable<'_>, text: &Arc<SourceText>) -> Table {
    let place = |span: Range<usize>| Origin::File(Arc::clone(text), span);
    from.iter()
        .map(|(key, value)| {
            let entry = Entry { key: place(key.span()), node: node(value, text) };
            (key.get_ref().clone().into_owned(), entry)
        })
        .collect()
}

fn node(from: &Spanned<DeValue<'_>>, text: &Arc<SourceText>) -> Node {
    let value = match from.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(integer) => {
            // Larger than 128 bits is out of every range there is.
            Value::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(array) => Value::Array(array.iter().map(|element| node(element, text)).collect()),
        DeValue::Table(from) => Value::Table(table(from, text)),
    };
    Node { value, origin: Origin::File(Arc::clone(text), from.span()) }
}

/// Lays `over` on `under`: tables key by key, everything else replaced.
///
/// Replaced as a whole as well: a table of another `kind` (a Postgres sink keeps no `uri` of a Delta sink), a reference
/// to a secret (`{ env }` over `{ file }`), and the settings of an object store.
///
/// A literal where a secret belongs is never covered: it stands in a file, and is refused whatever is laid over it.
pub(crate) fn merge(under: &mut Table, over: Table) {
    for (key, entry) in over {
        let Some(below) = under.get_mut(&key) else {
            under.insert(key, entry);
            continue;
        };
        if is_literal_secret(&key, below) {
            continue;
        }
        match (&mut below.node.value, entry.node.value) {
            (Value::Table(below_table), Value::Table(over)) if !replaces(below_table, &over) => {
                below.key = entry.key;
                merge(below_table, over);
            }
            (below_value, mut value) => {
                if let (Value::Table(replaced), Value::Table(over)) = (below_value, &mut value) {
                    let literals =
                        std::mem::take(replaced).into_iter().filter(|(key, entry)| is_literal_secret(key, entry));
                    over.extend(literals);
                }
                *below = Entry { key: entry.key, node: Node { value, origin: entry.node.origin } };
            }
        }
    }
}

/// Whether a secret itself stands where only a reference to one may.
fn is_literal_secret(key: &str, entry: &Entry) -> bool {
    is_secret_key(key) && !store::is_plain(key) && !matches!(entry.node.value, Value::Table(_))
}

/// Whether a table takes another's place as a whole.
pub(crate) fn replaces(under: &Table, over: &Table) -> bool {
    let kind = |table: &Table| match table.get("kind").map(|entry| &entry.node.value) {
        Some(Value::String(kind)) => Some(kind.clone()),
        _ => None,
    };
    let is_reference = |table: &Table| table.keys().any(|key| datakit_secrets::is_key(key));
    // Keys of two accounts are never laid over each other.
    let is_store = |table: &Table| table.keys().any(|key| store::is_name(key));
    let other_kind = matches!((kind(under), kind(over)), (Some(under), Some(over)) if under != over);
    other_kind || is_reference(over) || is_store(over) || is_store(under)
}

/// The tree as JSON, for a datakit's settings. Dates become their text.
pub(crate) fn to_json(node: &Node) -> serde_json::Value {
    use serde_json::Value as Json;
    match &node.value {
        Value::String(text) | Value::Datetime(text) => Json::String(text.clone()),
        Value::Integer(integer) => match (i64::try_from(*integer), u64::try_from(*integer)) {
            (Ok(integer), _) => integer.into(),
            (_, Ok(integer)) => integer.into(),
            _ => Json::String(integer.to_string()),
        },
        Value::Float(float) => serde_json::Number::from_f64(*float).map_or(Json::Null, Json::Number),
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::Array(array) => Json::Array(array.iter().map(to_json).collect()),
        Value::Table(table) => {
            Json::Object(table.iter().map(|(key, entry)| (key.clone(), to_json(&entry.node))).collect())
        }
    }
}
