//! A role that may read some columns of a table.

use datakit_tests::PostgresWorld;

#[test]
fn doctor_says_of_columns_what_the_run_says() {
    let world = PostgresWorld::new(
        "CREATE ROLE svc LOGIN PASSWORD 'Pl4nted test password';
         CREATE TABLE pay (id int, name text, salary numeric(10,2), \"odd \"\"one\" int);
         INSERT INTO pay VALUES (1, 'a', 5, 1);
         GRANT SELECT (id, name) ON pay TO svc",
    );
    world.edit("user = \"postgres\"", "user = \"svc\"");
    let doctor = world.host(&["doctor", "shop", "--output", "json"]);
    assert_eq!(doctor.code, Some(1), "{}", doctor.stdout);
    let document = doctor.json();
    let links = document["chains"].as_array().unwrap().iter().flat_map(|chain| chain["links"].as_array().unwrap());
    let error = links.map(|link| &link["error"]).find(|error| error["code"] == "DK-SRC-132").unwrap();
    let grant = "GRANT SELECT (\"salary\", \"odd \"\"one\") ON \"public\".\"pay\" TO \"svc\";";
    assert!(error["hint"].as_str().unwrap().contains(grant), "{error}");
    assert_eq!(world.host(&["run", "--output", "json"]).code, Some(1));
    // Columns that are not read need no grant.
    let path = world.path().join("warehouse.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let settings = "settings = { columns = { \"public.pay\" = { exclude = [\"salary\", \"odd*\"] } } }\n";
    std::fs::write(&path, text + settings).unwrap();
    world.host(&["doctor", "shop"]).success();
    assert_eq!(world.run(&[])["status"], "done");
    assert_eq!(world.delta("SHOP/public/pay").lines().count(), 1 + 1);
}
