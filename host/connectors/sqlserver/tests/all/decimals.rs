//! A server whose result differs from its description.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Decimal128Type};
use datakit_fake_sqlserver::engine::{Engine, Event, Login, Output, Request, Session};
use datakit_fake_sqlserver::sql::describe;
use datakit_fake_sqlserver::values::{Column, SqlError, SqlType, Value};
use datakit_fake_sqlserver::{FakeSqlServer, Options};
use datakit_model::Secret;
use datakit_sqlserver::{ReaderKind, SqlServerConfig, SqlServerSource};

use crate::common::{query, read, reported};

/// Describes `decimal(10,2)` and sends `decimal(10,4)`.
struct OtherScale(Value);

impl Engine for OtherScale {
    fn session(&self, _login: &Login) -> Result<Box<dyn Session>, SqlError> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl Session for OtherScale {
    fn database(&self) -> String {
        "testdb".to_owned()
    }

    fn execute(&mut self, request: Request, out: Output<'_>) {
        let text = match &request {
            Request::Batch { text } | Request::Parameterized { text, .. } => text,
            Request::Procedure { name, .. } => name,
        };
        let column = |scale| Column::new("amount", SqlType::Decimal { precision: 10, scale });
        let (columns, rows) = if text.contains("sp_describe_first_result_set") {
            (describe::columns(), describe::rows(&[column(2)], "testdb"))
        } else if text.contains("amount") {
            (vec![column(4)], vec![vec![self.0.clone()]])
        } else {
            let _stop = out(Event::Done { rows: None });
            return;
        };
        let rows = rows.into_iter().map(Event::Row);
        let all = std::iter::once(Event::Columns(Arc::new(columns))).chain(rows).chain([Event::Done { rows: Some(1) }]);
        for event in all {
            if let ControlFlow::Break(()) = out(event) {
                return;
            }
        }
    }

    fn begin(&mut self, _isolation: u8) -> Result<(), SqlError> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn reset(&mut self) {}
}

async fn read_amount(unscaled: i128) -> Result<i128, String> {
    let value = Value::Decimal { unscaled, scale: 4 };
    let running = FakeSqlServer::start(Options::default(), Arc::new(OtherScale(value))).unwrap();
    let Options { user, password, .. } = Options::default();
    let mut config = SqlServerConfig::new("localhost", "testdb", user, Secret::new(password));
    config.port = running.port();
    config.reader = ReaderKind::Tiberius;
    config.trust_certificate = true;
    let source = SqlServerSource::new(config).unwrap();
    let answer =
        read(&source, query("SELECT amount FROM dbo.t", vec![])).await.map_err(|failure| reported(&failure))?;
    let batch = answer.one_batch();
    assert_eq!(batch.column(0).data_type(), &DataType::Decimal128(10, 2));
    Ok(batch.column(0).as_primitive::<Decimal128Type>().value(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decimal_of_another_scale_than_described_keeps_its_value() {
    assert_eq!(read_amount(125_000).await, Ok(1_250));
    let reported = read_amount(125_001).await.unwrap_err();
    assert!(reported.contains("DK-SRC-051") && reported.contains("12.5001"), "{reported}");
}
