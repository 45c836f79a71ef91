use datakit_model::Diagnostic as _;

use super::*;

fn part() -> filled::Part {
    filled::Part { state: Vec::new(), estimated_rows: None }
}

fn plan(table: &str, partitions: Vec<filled::Part>) -> filled::TablePlan {
    filled::TablePlan { partitions, ..filled::TablePlan::new(TableId::new("dbo", table)) }
}

fn refused(returned: Vec<filled::TablePlan>) -> String {
    let requested = [TableId::new("dbo", "a"), TableId::new("dbo", "b")];
    plans(returned, &requested, &GuestLimits::default()).unwrap_err().to_string()
}

#[test]
fn every_requested_table_is_planned_once_and_nothing_else() {
    let prefix = "`plan` returned something unacceptable: ";
    let problem = |returned| refused(returned).strip_prefix(prefix).unwrap().to_owned();
    assert_eq!(problem(vec![plan("a", vec![part()])]), "no plan for dbo.b");
    assert_eq!(problem(vec![plan("c", vec![part()])]), "a plan for dbo.c, which was not asked for");
    assert_eq!(problem(vec![plan("a", vec![part()]), plan("a", vec![part()])]), "two plans for dbo.a");
    assert_eq!(problem(vec![plan("a", vec![])]), "no partition for dbo.a");
    let twice = filled::TablePlan { keys: vec!["id".to_owned(), "id".to_owned()], ..plan("a", vec![part()]) };
    assert_eq!(problem(vec![twice]), "dbo.a names `id` twice among its keys");
}

#[test]
fn rule_of_quality_says_what_it_checks() {
    use datakit_model::quality::{Check, Severity};
    let rule = |name: &str, check| filled::QualityRule {
        name: name.to_owned(),
        columns: vec!["id".to_owned()],
        check,
        severity: Severity::Warn,
    };
    let with = |rules| filled::TablePlan { rules, ..plan("a", vec![part()]) };
    let prefix = "`plan` returned something unacceptable: ";
    let problem = |rules| refused(vec![with(rules)]).strip_prefix(prefix).unwrap().to_owned();
    assert_eq!(problem(vec![rule("key", None)]), "the rule `key` of dbo.a checks nothing");
    assert_eq!(problem(vec![rule("", Some(Check::NotNull))]), "a rule of quality with an empty name");
    assert_eq!(
        problem(vec![rule("a\nb", Some(Check::NotNull))]),
        "a rule of quality with the control character \\n in its name"
    );
    let nowhere = Check::Reference { table: TableId::new("dbo", ""), columns: Vec::new() };
    assert_eq!(problem(vec![rule("up", Some(nowhere))]), "a table with an empty name");
    let requested = [TableId::new("dbo", "a")];
    let returned = vec![with(vec![rule("key", Some(Check::NotNull))])];
    let checked = plans(returned, &requested, &GuestLimits::default()).unwrap();
    assert_eq!(checked[0].rules[0].summary(), "not_null of id");
}

#[test]
fn partitions_are_numbered_in_their_order() {
    let requested = [TableId::new("dbo", "a")];
    let returned = vec![plan("a", vec![part(), part(), part()])];
    let checked = plans(returned, &requested, &GuestLimits::default()).unwrap();
    let ordinals: Vec<u32> = checked[0].partitions.iter().map(|partition| partition.ordinal).collect();
    assert_eq!(ordinals, [0, 1, 2]);
}

#[test]
fn names_of_datakits_are_fit_for_a_registry() {
    for good in ["a", "sqlserver-bronze", "x9"] {
        assert!(is_datakit_name(good), "{good}");
    }
    for bad in ["", "A", "a_b", "-a", "a-", "9a", "a/b", "ä"] {
        assert!(!is_datakit_name(bad), "{bad}");
    }
}

#[test]
fn an_info_is_refused_for_what_is_wrong_with_it() {
    let good = || filled::Description {
        name: "kit".to_owned(),
        version: "0.1.0".to_owned(),
        summary: "does\nthings".to_owned(),
        roles: vec![filled::Role {
            name: "source".to_owned(),
            kinds: vec!["sqlserver".to_owned()],
            purpose: String::new(),
        }],
        settings_schema: Some("{}".to_owned()),
    };
    assert_eq!(info(good()).unwrap().summary, "does\\nthings");
    let problem = |change: fn(&mut filled::Description)| {
        let mut changed = good();
        change(&mut changed);
        let error = info(changed).unwrap_err();
        assert_eq!(error.code(), "DK-KIT-018");
        error.to_string()
    };
    assert!(problem(|i| i.name = "A".to_owned()).contains("the name `A` is not of lower-case"));
    assert!(problem(|i| i.version = "1".to_owned()).contains("the version `1` is not"));
    assert!(problem(|i| i.settings_schema = Some("{".to_owned())).contains("the settings schema is not JSON"));
    assert!(problem(|i| i.roles[0].kinds.clear()).contains("the role `source` has 0 kinds"));
    assert!(problem(|i| i.roles[0].name = "a\u{7}".to_owned()).contains("control character \\u{7}"));
    assert!(problem(|i| i.roles.push(i.roles[0].clone())).contains("the role `source` twice"));
}

#[test]
fn an_invalid_table_is_kept_with_its_reason_and_the_others_are_valid() {
    let field = |name: &str| WireField {
        name: name.to_owned(),
        arrow_type: "Int32".to_owned(),
        nullable: false,
        metadata: Vec::new(),
    };
    let table = |columns: Vec<WireField>, key: &str| filled::TableDescription {
        columns,
        primary_key: vec![key.to_owned()],
        ..filled::TableDescription::new(TableId::new("dbo", "t"))
    };
    let limits = GuestLimits { max_columns: 2, ..GuestLimits::default() };
    assert_eq!(tables(vec![table(vec![field("id")], "id")], &limits).unwrap().tables.len(), 1);
    let problem = |table| tables(vec![table], &limits).unwrap().invalid.remove(0).failure.to_string();
    assert!(problem(table(vec![field("id")], "ID")).contains("the primary key of dbo.t names `ID`"));
    assert!(problem(table(vec![field("id"), field("id")], "id")).contains("two columns named `id`"));
    let wide = problem(table(vec![field("a"), field("b"), field("c")], "a"));
    assert!(wide.contains("3 columns of dbo.t") && wide.contains("max_columns = 2"), "{wide}");
    let other = filled::TableDescription { id: TableId::new("dbo", "other"), ..table(vec![field("id")], "id") };
    let discovery = tables(vec![table(vec![field("")], ""), other], &limits).unwrap();
    assert_eq!((discovery.tables[0].id.name.as_str(), discovery.invalid[0].id.name.as_str()), ("other", "t"));
    let twice = vec![table(vec![field("id")], "id"), table(vec![field("id")], "id")];
    assert!(tables(twice, &limits).unwrap_err().to_string().contains("the table dbo.t twice"));
}

#[test]
fn only_the_metadata_that_the_wit_names_goes_on_to_sinks() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let field = WireField {
        name: "id".to_owned(),
        arrow_type: "FixedSizeBinary(16)".to_owned(),
        nullable: true,
        metadata: vec![
            pair("ARROW:extension:name", "arrow.uuid"),
            pair("ARROW:extension:metadata", "{}"),
            pair("datakit.source-type", "uniqueidentifier"),
            pair("__CHAR_VARCHAR_TYPE_STRING", "varchar(1)"),
            pair("delta.generationExpression", "1"),
            pair("comment", "said by the datakit"),
        ],
    };
    let announced = output(vec![field.clone()], &GuestLimits::default()).unwrap();
    let kept = |schema: &SchemaRef| {
        let mut kept: Vec<_> = schema.field(0).metadata().clone().into_iter().collect();
        kept.sort();
        kept
    };
    let known = [pair("ARROW:extension:name", "arrow.uuid"), pair("datakit.source-type", "uniqueidentifier")];
    assert_eq!(kept(&announced), known);
    // A batch may have more, which it loses on the way; what is known has to be what was announced.
    let found = schema_from_wire(std::slice::from_ref(&field), &GuestLimits::default()).unwrap();
    same_columns(&announced, &found).unwrap();
    let other = WireField { metadata: vec![pair("datakit.source-type", "int")], ..field.clone() };
    let other = schema_from_wire(&[other], &GuestLimits::default()).unwrap();
    assert!(same_columns(&announced, &other).is_err());
    let unfit = WireField {
        metadata: vec![pair("ARROW:extension:name", "arrow.json"), pair("datakit.source-type", "a\nb")],
        ..field
    };
    assert_eq!(kept(&output(vec![unfit], &GuestLimits::default()).unwrap()), []);
}
