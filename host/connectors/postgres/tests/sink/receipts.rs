//! Triggers that swallow, change or add rows, while a load is written.

use datakit_model::ReceiptLevel;
use datakit_model::receipt::Tally;

use super::*;

const SWALLOWS: &str = "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN
    IF NEW.name = 'b' THEN RETURN NULL; END IF; RETURN NEW; END $$ LANGUAGE plpgsql;
    CREATE TRIGGER t BEFORE INSERT OR UPDATE ON \"ERP_dbo\".t FOR EACH ROW EXECUTE FUNCTION f()";
const CHANGES: &str = "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN
    IF NEW.name = 'b' THEN NEW.note = 'changed'; END IF; RETURN NEW; END $$ LANGUAGE plpgsql;
    CREATE TRIGGER t BEFORE INSERT OR UPDATE ON \"ERP_dbo\".t FOR EACH ROW EXECUTE FUNCTION f()";
const DELETES: &str = "CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN
    DELETE FROM \"ERP_dbo\".t WHERE name = 'b'; RETURN NULL; END $$ LANGUAGE plpgsql;
    CREATE TRIGGER t AFTER INSERT OR UPDATE ON \"ERP_dbo\".t FOR EACH STATEMENT EXECUTE FUNCTION f()";

fn notes() -> Arc<Schema> {
    Arc::new(Schema::new(vec![field("name", DataType::Utf8), field("note", DataType::Utf8)]))
}

fn rows(names: &[&str], note: &str) -> RecordBatch {
    let texts = |texts: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    batch(&notes(), vec![texts(names.to_vec()), texts(vec![note; names.len()])]).unwrap()
}

fn notes_target(run_id: &str, mode: WriteMode) -> Target {
    let target = Target { schema: notes(), ..as_run(run_id, mode) };
    Target { keys: vec!["name".to_owned()], ..target }
}

async fn load_rows(
    config: &Server,
    target: Target,
    rows: RecordBatch,
    level: ReceiptLevel,
) -> Result<Committed, Failure> {
    let mut tally = Tally::new(level, &notes()).unwrap();
    tally.iter_mut().for_each(|tally| tally.add(&rows).unwrap());
    let writer = PostgresSink::new(config.clone()).open(target).await?;
    let mut partition = writer.partition(0).await?;
    partition.write(TrackedBatch::untracked(rows)).await?;
    partition.finish().await?;
    let delivered = tally.map(|tally| tally.delivered());
    writer.commit(CommitNote { delivered, ..CommitNote::default() }).await
}

/// Loads `a`, `b` into a table that has `a` and this trigger. The code of the failure, and what the table has then.
async fn load_beside(trigger: &str, mode: WriteMode, level: ReceiptLevel) -> (Option<String>, Vec<String>) {
    let config = database().await;
    load_rows(&config, notes_target("1", WriteMode::Append), rows(&["a"], "old"), level).await.unwrap();
    let admin = client(&config).await;
    admin.batch_execute(trigger).await.unwrap();
    let failure = load_rows(&config, notes_target("2", mode), rows(&["a", "b"], "new"), level).await.err();
    assert!(failure.as_ref().is_none_or(Failure::is_mismatch), "{failure:?}");
    let query = "SELECT name || ' ' || note FROM \"ERP_dbo\".t ORDER BY 1";
    let left = admin.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    (failure.map(|failure| failure.code().to_owned()), left)
}

const MODES: [WriteMode; 3] = [WriteMode::Append, WriteMode::Overwrite, WriteMode::Merge];

#[tokio::test]
async fn rows_that_a_trigger_swallows_are_missed_and_nothing_is_committed() {
    for mode in MODES {
        for level in [ReceiptLevel::Count, ReceiptLevel::Full] {
            let (code, left) = load_beside(SWALLOWS, mode, level).await;
            assert_eq!((code.as_deref(), left), (Some("DK-SNK-070"), vec!["a old".to_owned()]), "{mode} {level}");
        }
    }
    // The server counts the rows of COPY in any case.
    let (code, _) = load_beside(SWALLOWS, WriteMode::Append, ReceiptLevel::Off).await;
    assert_eq!(code.as_deref(), Some("DK-SNK-070"));
}

#[tokio::test]
async fn values_that_a_trigger_changes_are_found_where_values_are_compared() {
    for mode in MODES {
        let (code, left) = load_beside(CHANGES, mode, ReceiptLevel::Full).await;
        assert_eq!((code.as_deref(), left), (Some("DK-SNK-071"), vec!["a old".to_owned()]), "{mode}");
        let (code, left) = load_beside(CHANGES, mode, ReceiptLevel::Count).await;
        assert_eq!(code, None, "{mode}");
        assert!(left.contains(&"b changed".to_owned()), "{left:?}");
    }
}

#[tokio::test]
async fn rows_that_are_deleted_after_they_were_counted_are_missed_where_values_are_compared() {
    for mode in MODES {
        let (code, left) = load_beside(DELETES, mode, ReceiptLevel::Full).await;
        assert_eq!((code.as_deref(), left), (Some("DK-SNK-070"), vec!["a old".to_owned()]), "{mode}");
    }
}

#[tokio::test]
async fn merge_of_keys_alone_is_counted_by_its_keys() {
    let config = database().await;
    for (run_id, level) in [("1", ReceiptLevel::Count), ("2", ReceiptLevel::Count), ("3", ReceiptLevel::Full)] {
        let target =
            Target { keys: vec!["name".to_owned(), "note".to_owned()], ..notes_target(run_id, WriteMode::Merge) };
        let receipt = load_rows(&config, target, rows(&["a", "b"], "x"), level).await.unwrap().receipt.unwrap();
        assert_eq!((receipt.level, receipt.delivered), (level, 2));
    }
}
