//! The warehouse file, the datakit's settings and roles.

use datakit_tests::{World, datakit};

use crate::{RUN, TABLE, run};

#[test]
fn a_wrong_file_contacts_nobody() {
    let world = World::new(TABLE);
    let refused = |from: &str, to: &str| {
        let mut command = world.command(&run(&["--config", world.variant(from, to)]));
        // It would win over whatever the file says.
        command.env_remove("MSSQL_PASSWORD");
        world.refusal(&world.finish(command))
    };
    insta::assert_snapshot!("unknown_key", refused("database =", "databse ="));
    insta::assert_snapshot!("wrong_type", refused("sink = \"bronze\"", "sink = 7"));
    let inline = refused("{ env = \"MSSQL_PASSWORD\" }", "\"Hunter-2!\"");
    assert!(!inline.contains("Hunter-2!"), "{inline}");
    insta::assert_snapshot!("inline_password", inline);
    insta::assert_snapshot!("missing_secret", refused("MSSQL_PASSWORD", "NO_SUCH_VARIABLE"));
    assert!(world.nothing_written());
}

#[test]
fn roles_and_settings_have_to_fit_the_datakit() {
    let world = World::new(TABLE);
    let roles = "roles = { source = \"erp\" }";
    let refused = |to: &str| world.refused(&run(&["--config", world.variant(roles, to)]));
    insta::assert_snapshot!("role_not_mapped", refused("roles = {}"));
    insta::assert_snapshot!("unknown_role", refused("roles = { source = \"erp\", target = \"erp\" }"));

    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    world.edit("sqlserver-bronze@0.1.0", "hostile@0.1.0");
    let hostile = world.variant(roles, "roles = { source = \"erp\", unmapped = \"erp\", other-kind = \"erp\" }");
    insta::assert_snapshot!("connection_of_another_kind", world.refused(&run(&["--config", hostile])));
    world.edit("hostile@0.1.0", "sqlserver-bronze@0.1.0");

    let settings = r#"{"maxdop": 0, "partitoin_rows": 5, "nolock": "yes"}"#;
    insta::assert_snapshot!("settings_that_break_the_schema", world.refused(&run(&["--settings", settings])));
    assert!(world.nothing_written());
}

#[test]
fn a_selection_without_a_table_is_refused() {
    let world = World::new(TABLE);
    insta::assert_snapshot!(world.refused(&run(&["--tables", "sales.*"])));
    assert!(world.nothing_written());
    world.host(&RUN).success();
}
