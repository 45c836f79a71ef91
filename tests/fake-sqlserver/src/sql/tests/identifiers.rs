use proptest::prelude::*;

use super::*;
use crate::sql::parse;

fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

fn names() -> impl Strategy<Value = String> {
    // Any character but U+0000, which SQL Server refuses in names as well; spaces at the end do not count in comparisons.
    proptest::collection::vec(any::<char>().prop_filter("zero", |c| *c != '\0'), 1..20)
        .prop_map(|characters| characters.into_iter().collect::<String>())
        .prop_filter("blank", |name| !name.trim_end_matches(' ').is_empty())
        // A table of this name would be a temporary one.
        .prop_filter("temporary", |name| !name.starts_with('#'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn names_of_any_characters_work_everywhere(schema in names(), table in names(), column in names()) {
        prop_assume!(!["dbo", "sys", "guest", "information_schema"].contains(&schema.to_lowercase().trim_end()));
        let engine = engine();
        let (s, t, c) = (quoted(&schema), quoted(&table), quoted(&column));
        let mut session = engine.sql_session(&Login::default()).unwrap();
        let mut names = Vec::new();
        for text in [
            format!("CREATE SCHEMA {s}"),
            format!("CREATE TABLE {s}.{t} ({c} int NOT NULL PRIMARY KEY)"),
            format!("INSERT INTO {s}.{t} ({c}) VALUES (5)"),
            format!("SELECT {t}.{c} FROM {s}.{t} WHERE {s}.{t}.{c} = 5"),
            "SELECT s.name, t.name, c.name FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id JOIN sys.columns c ON \
             c.object_id = t.object_id WHERE t.object_id = OBJECT_ID(QUOTENAME(s.name) + '.' + QUOTENAME(t.name))".to_owned(),
        ] {
            let mut failure = None;
            session.execute(Request::Batch { text: text.clone() }, &mut |event| {
                match event {
                    Event::Error(error) => failure = Some(error),
                    Event::Columns(columns) => names.push(columns[0].name.clone()),
                    Event::Row(row) => names.extend(row.iter().filter_map(|value| match value {
                        Value::Text(text) => Some(text.clone()),
                        _ => None,
                    })),
                    _ => {}
                }
                ControlFlow::Continue(())
            });
            prop_assert_eq!(failure, None, "{}", text);
        }
        prop_assert_eq!(names, [column.clone(), "name".to_owned(), schema, table, column]);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = parse::parse_batch(&text);
    }

    #[test]
    fn no_tangle_of_keywords_panics(words in proptest::collection::vec(
        prop_oneof!["SELECT|FROM|WHERE|GROUP BY|ORDER BY|TOP|1|\\(|\\)|,|\\*|a|'x'|OPTION|UNION|CASE|WHEN|END|AS|INSERT|INTO|VALUES|SET|@x|="], 0..25)) {
        let engine = engine();
        let mut session = engine.sql_session(&Login::default()).unwrap();
        session.execute(Request::Batch { text: words.join(" ") }, &mut |_| ControlFlow::Continue(()));
    }
}
