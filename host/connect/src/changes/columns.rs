//! Which columns a table has, and which of them are asked for.

use datakit_model::changes::ChangeRequest;
use datakit_model::{NameRule, TableId};

use super::error::{ChangesError, Unfit};
use super::measure::Measure;
use super::roles;

/// A column as the server's catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Its type as the server declares it, for people and positions: without colons.
    pub type_name: String,
    /// Whether the login may read it.
    pub is_readable: bool,
    /// What its values are as watermarks, or why they cannot be any.
    pub measure: Result<Measure, String>,
}

/// The column that the strategy `watermark` goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkColumn {
    /// Its name as the server has it.
    pub name: String,
    /// Its declared type.
    pub type_name: String,
    /// Its values.
    pub measure: Measure,
}

/// What of a table is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The columns of the rows, by the server's names.
    pub columns: Vec<String>,
    /// The watermark.
    pub watermark: WatermarkColumn,
}

/// Finds the columns of a request for the strategy `watermark` among those of its table.
///
/// # Errors
/// As [`choose_columns`]; a column that cannot be a watermark.
pub fn choose(
    columns: &[SourceColumn],
    request: &ChangeRequest,
    watermark: &str,
    names: NameRule,
) -> Result<Chosen, ChangesError> {
    let table = || request.table.clone();
    if columns.is_empty() {
        return Err(ChangesError::TableMissing { table: table() });
    }
    let readable: Vec<&str> = columns.iter().filter(|it| it.is_readable).map(|it| it.name.as_str()).collect();
    let chosen = choose_columns(&readable, request, names)?;
    let name = find(&readable, watermark, names).ok_or_else(|| missing(&request.table, watermark))?;
    let column = columns.iter().find(|column| column.name == name);
    let SourceColumn { name, type_name, measure, .. } =
        column.ok_or_else(|| missing(&request.table, watermark))?.clone();
    match measure {
        Ok(measure) => Ok(Chosen { columns: chosen, watermark: WatermarkColumn { name, type_name, measure } }),
        Err(reason) => {
            Err(ChangesError::ColumnType(Box::new(Unfit { table: table(), column: name, sql_type: type_name, reason })))
        }
    }
}

/// The columns of a request's rows, by the server's names, among the `readable` ones of its table.
///
/// # Errors
/// A column that is not there or may not be read; one with a name of the host's.
pub fn choose_columns(
    readable: &[&str],
    request: &ChangeRequest,
    names: NameRule,
) -> Result<Vec<String>, ChangesError> {
    let find = |name: &String| find(readable, name, names).ok_or_else(|| missing(&request.table, name));
    let chosen: Vec<&str> = match &request.columns {
        Some(asked) => asked.iter().map(find).collect::<Result<_, ChangesError>>()?,
        None => readable.to_vec(),
    };
    match chosen.iter().find(|name| roles::is_reserved(name)) {
        Some(column) => Err(ChangesError::Reserved { table: request.table.clone(), column: (*column).to_owned() }),
        None => Ok(chosen.into_iter().map(str::to_owned).collect()),
    }
}

/// The column of this name: exactly, or the only one that differs in case where the server ignores it.
fn find<'c>(readable: &[&'c str], name: &str, names: NameRule) -> Option<&'c str> {
    let mut all = readable.iter().copied();
    let folded = name.to_lowercase();
    all.clone().find(|column| *column == name).or_else(|| match names {
        NameRule::CaseIgnored => all.find(|column| column.to_lowercase() == folded),
        NameRule::CaseCounts | NameRule::Bytes => None,
    })
}

fn missing(table: &TableId, column: &str) -> ChangesError {
    ChangesError::ColumnMissing { table: table.clone(), column: column.to_owned() }
}

#[cfg(test)]
mod tests {
    use datakit_model::changes::Strategy;

    use super::super::measure::Form;
    use super::*;

    fn column(name: &str, is_readable: bool) -> SourceColumn {
        let measure = Ok(Measure::new(Form::Integer, 0));
        SourceColumn { name: name.into(), type_name: "int".into(), is_readable, measure }
    }

    fn chosen(
        columns: &[SourceColumn],
        asked: Option<&[&str]>,
        watermark: &str,
        names: NameRule,
    ) -> Result<Chosen, String> {
        let request = ChangeRequest {
            table: TableId::new("s", "t"),
            strategy: Strategy::Watermark { column: watermark.into(), lag: 0, overlap: 0 },
            columns: asked.map(|asked| asked.iter().map(|name| (*name).to_owned()).collect()),
            position: None,
            upper: None,
        };
        choose(columns, &request, watermark, names).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_choice_all_columns_that_the_login_may_read_are_read() {
        let columns = [column("b", true), column("secret", false), column("a", true)];
        assert_eq!(chosen(&columns, None, "a", NameRule::Bytes).unwrap().columns, ["b", "a"]);
        let hidden = chosen(&columns, Some(&["secret"]), "a", NameRule::Bytes).unwrap_err();
        assert_eq!(hidden, "s.t has no column `secret`, or the login may not read it");
        assert!(chosen(&columns, None, "secret", NameRule::Bytes).is_err());
    }

    #[test]
    fn names_are_those_of_the_server_in_its_own_case() {
        let columns = [column("Id", true), column("id", true), column("Changed", true)];
        assert_eq!(
            chosen(&columns, Some(&["id"]), "changed", NameRule::CaseIgnored).unwrap().watermark.name,
            "Changed"
        );
        assert_eq!(chosen(&columns, Some(&["id"]), "Changed", NameRule::CaseIgnored).unwrap().columns, ["id"]);
        assert!(chosen(&columns, Some(&["id"]), "changed", NameRule::Bytes).is_err());
    }

    #[test]
    fn what_cannot_be_read_as_changes_is_said_with_its_names() {
        assert_eq!(
            chosen(&[], None, "a", NameRule::Bytes).unwrap_err(),
            "s.t is not there, or the login does not see it"
        );
        let host = [column("a", true), column("datakit:operation", true)];
        assert_eq!(
            chosen(&host, None, "a", NameRule::Bytes).unwrap_err(),
            "s.t has a column `datakit:operation`, which is the name of a column of the host"
        );
        assert!(chosen(&host, Some(&["a"]), "a", NameRule::Bytes).is_ok(), "left out");
        let text = SourceColumn { measure: Err("it is a text".into()), type_name: "text".into(), ..column("a", true) };
        assert_eq!(
            chosen(&[text], None, "a", NameRule::Bytes).unwrap_err(),
            "s.t: the column `a` of type text cannot be a watermark: it is a text"
        );
    }
}
