//! Readers that are not ours see what was written.

use std::path::Path;
use std::process::Command;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datakit_connect::sink::conformance::{TextRow, extremes, rows_of, trimmed_time};
use datakit_delta::{DeltaConfig, DeltaSink, names};
use datakit_model::TableId;
use datakit_model::sink::Sink;

use super::{load, target};

pub(super) const ENGINES: [&str; 3] = ["polars", "duckdb", "deltalake"];

#[derive(serde::Deserialize)]
pub(super) struct Printed {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<TextRow>,
}

pub(super) fn read(engine: &str, directory: &Path) -> Printed {
    let python = std::env::var("DATAKIT_TEST_PYTHON").expect(
        "DATAKIT_TEST_PYTHON must name a Python with tests/requirements.txt installed, for example\n\
         python3 -m venv V && V/bin/pip install -r tests/requirements.txt && export DATAKIT_TEST_PYTHON=$PWD/V/bin/python\n",
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/read_delta.py");
    let output = Command::new(python).arg(script).arg(engine).arg(directory).output().unwrap();
    assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The engine's text in the suite's form.
fn canonical(text: String, data_type: &DataType) -> String {
    match data_type {
        DataType::Float32 => format!("{:?}", text.parse::<f64>().unwrap() as f32),
        DataType::Float64 => format!("{:?}", text.parse::<f64>().unwrap()),
        DataType::Time64(_) => trimmed_time(&text),
        _ => text,
    }
}

pub(super) fn assert_reads(engine: &str, directory: &Path, expected: &[RecordBatch]) {
    let printed = read(engine, directory);
    let schema = expected[0].schema();
    let columns: Vec<_> = schema.fields().iter().map(|f| names::column(f.name())).collect();
    assert_eq!(printed.columns, columns, "{engine}");
    let row = |row: TextRow| -> TextRow {
        let cells = row.into_iter().zip(schema.fields());
        cells.map(|(cell, field)| cell.map(|text| canonical(text, field.data_type()))).collect()
    };
    let mut rows: Vec<TextRow> = printed.rows.into_iter().map(row).collect();
    let mut expected = rows_of(expected).unwrap();
    rows.sort();
    expected.sort();
    assert_eq!(rows.len(), expected.len(), "{engine}");
    for (row, expected) in rows.iter().zip(&expected) {
        for ((cell, expected), column) in row.iter().zip(expected).zip(&columns) {
            assert_eq!(cell, expected, "{engine}: column `{column}`");
        }
    }
}

#[tokio::test]
async fn every_value_before_and_after_a_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let mut config = DeltaConfig::new(root.path().to_string_lossy());
    config.checkpoint_interval = 3;
    let sink = DeltaSink::new(config).unwrap();
    let rows = extremes(7).unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let mut expected = Vec::new();
    for run_id in ["1", "2", "3", "4"] {
        load(&sink, target(run_id, rows.schema()), std::slice::from_ref(&rows)).await.unwrap();
        expected.push(rows.clone());
        if run_id == "1" || run_id == "4" {
            ENGINES.iter().for_each(|engine| assert_reads(engine, &directory, &expected));
        }
    }
    assert!(directory.join("_delta_log/00000000000000000002.checkpoint.parquet").exists());
    // Only the checkpoint and what came after it.
    for version in 0..=2 {
        std::fs::remove_file(directory.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    ENGINES.iter().for_each(|engine| assert_reads(engine, &directory, &expected));
}

#[tokio::test]
async fn a_table_of_an_odd_name() {
    let root = tempfile::tempdir().unwrap();
    let sink = DeltaSink::new(DeltaConfig::new(root.path().to_string_lossy())).unwrap();
    let table = TableId::new("sales & more", "Größe 100%");
    let mut target = target("1", super::schema());
    target.table = table.clone();
    load(&sink, target, &[super::rows(0..3)]).await.unwrap();
    let directory = sink.locate("ERP", &table).unwrap();
    assert!(directory.ends_with("/ERP/sales@20@26@20more/Gr@C3@B6@C3@9Fe@20100@25"), "{directory}");
    ENGINES.iter().for_each(|engine| assert_reads(engine, Path::new(&directory), &[super::rows(0..3)]));
}
