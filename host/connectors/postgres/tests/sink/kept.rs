//! What stays of a table over loads, and the states that the ledger keeps.

use datakit_model::TableId;
use datakit_model::sink::{Sink, WriteMode};
use datakit_postgres::sink::PostgresSink;

use super::{as_run, client, database, load, state};

#[tokio::test]
async fn loads_keep_grants_comments_views_and_indexes_of_the_table() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let admin = client(&config).await;
    let role = format!("reader_{}", uuid::Uuid::new_v4().simple());
    admin
        .batch_execute(&format!(
            r#"CREATE ROLE {role}; GRANT SELECT ON "ERP_dbo".t TO {role}; COMMENT ON TABLE "ERP_dbo".t IS 'theirs';
            CREATE VIEW "ERP_dbo".v AS SELECT name FROM "ERP_dbo".t; CREATE INDEX i ON "ERP_dbo".t (name)"#
        ))
        .await
        .unwrap();
    let looks = format!(
        r#"SELECT '"ERP_dbo".t'::regclass::oid::text || has_table_privilege('{role}', '"ERP_dbo".t', 'SELECT')
            || obj_description('"ERP_dbo".t'::regclass) || (SELECT count(*) FROM pg_indexes WHERE indexname = 'i')"#
    );
    let looks = async || admin.query_one(&looks, &[]).await.unwrap().get::<_, String>(0);
    let before = looks().await;
    for (run, mode, rows) in [("2", WriteMode::Overwrite, 2_i64), ("3", WriteMode::Append, 4)] {
        load(&config, as_run(run, mode)).await.unwrap();
        assert_eq!(looks().await, before, "{mode:?}");
        let seen: i64 = admin.query_one(r#"SELECT count(*) FROM "ERP_dbo".v"#, &[]).await.unwrap().get(0);
        assert_eq!(seen, rows, "through the view");
    }
    assert_eq!(state(&config).await.unwrap().run_id, "3");
}

/// The form of releases before documents had versions: the state, and the ids beside it.
#[tokio::test]
async fn row_of_an_earlier_release_counts_and_is_moved_by_the_next_load() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let admin = client(&config).await;
    let earlier = r#"UPDATE "_datakit"."ledger" SET state = json_build_object('run_id', '1', 'earlier_run_ids', json_build_array('0'),
        'sequence', 2, 'watermark', 'w', 'rows', 2, 'consistent_snapshot', true, 'approximate', false, 'datakit', 'kit@1',
        'digest', 'sha256:0', 'target', json_build_object('oid', state->'target'->'oid',
        'ledger_oid', state->'target'->'ledger_oid', 'rows', state->'target'->'rows'))"#;
    admin.batch_execute(earlier).await.unwrap();
    let before = state(&config).await.unwrap();
    assert_eq!((before.sequence, before.watermark.as_deref(), before.was_committed_by("0")), (2, Some("w"), true));
    assert_eq!(load(&config, as_run("2", WriteMode::Append)).await.unwrap().state.sequence, 3);
    let version = r#"SELECT state->>'version' FROM "_datakit"."ledger""#;
    assert_eq!(admin.query_one(version, &[]).await.unwrap().get::<_, String>(0), "1");
    // The ids of such a row count as well.
    admin.batch_execute(earlier).await.unwrap();
    admin
        .batch_execute(r#"DROP TABLE "ERP_dbo".t; CREATE TABLE "ERP_dbo".t AS SELECT 'x'::text AS name"#)
        .await
        .unwrap();
    assert_eq!(load(&config, as_run("3", WriteMode::Append)).await.unwrap_err().code(), "DK-SNK-028");
}

#[tokio::test]
async fn later_version_is_refused() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let later = r#"UPDATE "_datakit"."ledger" SET state = (state::jsonb || '{"version": 2}')::json"#;
    client(&config).await.batch_execute(later).await.unwrap();
    for mode in [WriteMode::Append, WriteMode::Overwrite] {
        assert_eq!(load(&config, as_run("2", mode)).await.unwrap_err().code(), "DK-SNK-047", "{mode:?}");
    }
}

#[tokio::test]
async fn forgotten_watermark_is_all_that_is_forgotten() {
    let config = database().await;
    let sink = PostgresSink::new(config.clone());
    let table = TableId::new("dbo", "t");
    assert_eq!(sink.forget_watermark("ERP", &table).await.unwrap(), None);
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let before = sink.document("ERP", &table).await.unwrap().unwrap();
    let forgotten = sink.forget_watermark("ERP", &table).await.unwrap().unwrap();
    assert_eq!(forgotten, before.without_watermark(&before.positions[0].source));
    assert_eq!(sink.document("ERP", &table).await.unwrap(), Some(forgotten));
    assert_eq!(load(&config, as_run("2", WriteMode::Append)).await.unwrap().state.sequence, 2);
}

#[tokio::test]
async fn states_are_listed_and_bound_to_the_table_that_is_there() {
    let config = database().await;
    let sink = PostgresSink::new(config.clone());
    let table = TableId::new("dbo", "t");
    assert_eq!(sink.states().await.unwrap().len(), 0);
    assert_eq!(sink.accept_rows("ERP", &table).await.unwrap(), None);
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let states = sink.states().await.unwrap();
    assert_eq!((states[0].source_system.as_str(), &states[0].table, states.len()), ("ERP", &table, 1));
    assert_eq!(states[0].document.as_ref().ok(), sink.document("ERP", &table).await.unwrap().as_ref());
    let swap = r#"DROP TABLE "ERP_dbo".t; CREATE TABLE "ERP_dbo".t AS SELECT 'restored'::text AS name"#;
    client(&config).await.batch_execute(swap).await.unwrap();
    assert_eq!(sink.document("ERP", &table).await.unwrap_err().code(), "DK-SNK-028");
    assert_eq!(sink.states().await.unwrap()[0].document.as_ref().unwrap_err().code(), "DK-SNK-028");
    let accepted = sink.accept_rows("ERP", &table).await.unwrap();
    assert_eq!(sink.document("ERP", &table).await.unwrap(), accepted);
    assert_eq!(load(&config, as_run("2", WriteMode::Append)).await.unwrap().state.sequence, 2);
}
