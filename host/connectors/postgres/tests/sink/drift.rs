//! Columns that change with a load: what the server has afterwards, and who waits meanwhile.

use std::time::Duration;

use arrow::array::{Decimal128Array, Int32Array};

use super::*;

/// `id` as number, `amount` with this precision and scale, and `note` where it is wanted.
fn orders(amount: (u8, i8), with_note: bool) -> RecordBatch {
    let amounts = Decimal128Array::from(vec![Some(1_250), None]).with_precision_and_scale(amount.0, amount.1).unwrap();
    let mut fields = vec![
        Field::new("id", DataType::Int32, false),
        field("amount", DataType::Decimal128(amount.0, amount.1)),
        field("note", DataType::Utf8),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(amounts),
        Arc::new(StringArray::from(vec![Some("x"), None])),
    ];
    if !with_note {
        fields.pop();
        columns.pop();
    }
    batch(&Arc::new(Schema::new(fields)), columns).unwrap()
}

fn of(rows: &RecordBatch, run_id: &str) -> Target {
    Target::new(TableId::new("dbo", "orders"), rows.schema(), WriteMode::Append, identity(run_id))
}

async fn loaded(config: &Server, target: Target, rows: RecordBatch) -> Result<Vec<String>, Failure> {
    let writer = PostgresSink::new(config.clone()).open(target).await?;
    let mut partition = writer.partition(0).await?;
    partition.write(TrackedBatch::untracked(rows)).await?;
    partition.finish().await?;
    writer.commit(CommitNote::default()).await?;
    Ok(writer.drift().iter().map(ToString::to_string).collect())
}

async fn texts(config: &Server, query: &str) -> Vec<String> {
    client(config).await.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

const COLUMNS: &str = "SELECT attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
    FROM pg_attribute WHERE attrelid = '\"ERP_dbo\".orders'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

#[tokio::test]
async fn wider_types_are_taken_over_with_the_rows_that_are_there() {
    let config = database().await;
    let (narrow, wide) = (orders((9, 2), false), orders((18, 4), true));
    loaded(&config, of(&narrow, "1"), narrow.clone()).await.unwrap();
    let changes = loaded(&config, of(&wide, "2"), wide).await.unwrap();
    insta::assert_snapshot!(changes.join("\n"), @r"
    `amount` widened from numeric(9,2) to numeric(18,4)
    `note` added (text), null in the rows that were there
    ");
    assert_eq!(texts(&config, COLUMNS).await, ["id integer NOT NULL", "amount numeric(18,4)", "note text"]);
    let amounts = "SELECT coalesce(amount::text, 'null') FROM \"ERP_dbo\".orders ORDER BY amount";
    assert_eq!(texts(&config, amounts).await, ["0.1250", "12.5000", "null", "null"]);
}

#[tokio::test]
async fn columns_of_the_operator_stay_and_are_filled_by_the_server() {
    let config = database().await;
    let rows = orders((9, 2), true);
    loaded(&config, of(&rows, "1"), rows.clone()).await.unwrap();
    let admin = client(&config).await;
    let own = "ALTER TABLE \"ERP_dbo\".orders ADD loaded text NOT NULL DEFAULT 'by us', ADD double integer GENERATED ALWAYS AS (id * 2) STORED,
        ALTER note TYPE varchar(5)";
    admin.batch_execute(own).await.unwrap();
    let changes = loaded(&config, of(&rows, "2"), rows.clone()).await.unwrap();
    assert_eq!(changes, ["`note` widened from character varying(5) to text"]);
    let refresh = Target { mode: WriteMode::Overwrite, drift: DriftRule::Replace, ..of(&rows, "3") };
    assert_eq!(loaded(&config, refresh, rows).await.unwrap(), Vec::<String>::new());
    let own = "SELECT loaded || ' ' || double FROM \"ERP_dbo\".orders ORDER BY id";
    assert_eq!(texts(&config, own).await, ["by us 2", "by us 4"]);
}

#[tokio::test]
async fn view_keeps_a_column_from_changing_and_the_load_says_so() {
    let config = database().await;
    let (narrow, wide) = (orders((9, 2), false), orders((18, 4), false));
    loaded(&config, of(&narrow, "1"), narrow).await.unwrap();
    let view = "CREATE VIEW public.v AS SELECT amount FROM \"ERP_dbo\".orders";
    client(&config).await.batch_execute(view).await.unwrap();
    let failure = loaded(&config, of(&wide, "2"), wide).await.unwrap_err();
    assert_eq!((failure.code(), failure.retry()), ("DK-SNK-026", Retry::Never));
    assert!(failure.causes().join(" ").contains("used by a view"), "{:?}", failure.causes());
    assert_eq!(texts(&config, COLUMNS).await, ["id integer NOT NULL", "amount numeric(9,2)"]);
}

#[tokio::test]
async fn merge_changes_columns_at_its_end_so_that_readers_wait_briefly() {
    let config = database().await;
    let (narrow, wide) = (orders((9, 2), false), orders((18, 4), true));
    loaded(&config, of(&narrow, "1"), narrow).await.unwrap();
    let merge = Target { mode: WriteMode::Merge, keys: vec!["id".to_owned()], ..of(&wide, "2") };
    let writer = PostgresSink::new(config.clone()).open(merge).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    partition.write(TrackedBatch::untracked(wide)).await.unwrap();
    partition.finish().await.unwrap();
    let reading = texts(&config, "SELECT id::text FROM \"ERP_dbo\".orders ORDER BY id");
    let read = tokio::time::timeout(Duration::from_secs(10), reading).await;
    assert_eq!(read.unwrap(), ["1", "2"], "a reader does not wait for a merge that is under way");
    writer.commit(CommitNote::default()).await.unwrap();
    assert_eq!(texts(&config, COLUMNS).await, ["id integer NOT NULL", "amount numeric(18,4)", "note text"]);
    let amounts = "SELECT coalesce(amount::text, 'null') FROM \"ERP_dbo\".orders ORDER BY id";
    assert_eq!(texts(&config, amounts).await, ["0.1250", "null"]);
}

#[tokio::test]
async fn session_that_uses_the_table_keeps_its_columns_for_a_bounded_time() {
    let config = database().await;
    let (narrow, wide) = (orders((9, 2), false), orders((9, 2), true));
    loaded(&config, of(&narrow, "1"), narrow).await.unwrap();
    let reader = client(&config).await;
    reader.batch_execute("BEGIN; SELECT count(*) FROM \"ERP_dbo\".orders").await.unwrap();
    let failure = loaded(&config, of(&wide, "2"), wide.clone()).await.unwrap_err();
    assert_eq!((failure.code(), failure.retry()), ("DK-SNK-066", Retry::AfterBackoff), "{}", report(&failure));
    reader.batch_execute("COMMIT").await.unwrap();
    loaded(&config, of(&wide, "2"), wide).await.unwrap();
}
