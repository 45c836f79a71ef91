//! Changes as a run reads them.

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use datakit_model::Failure;
use datakit_model::changes::{ChangeRequest, Validity};
use datakit_model::source::Source as _;
use datakit_sqlserver::SqlServerSource;

use crate::common::access;

/// What one feed gave.
pub struct Fed {
    pub validity: Validity,
    pub upper: Option<String>,
    pub batch: RecordBatch,
}

impl Fed {
    /// The texts of a column, in the order of the rows.
    pub fn column(&self, name: &str) -> Vec<Option<String>> {
        let texts = cast(self.batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    /// The texts of a column, sorted.
    pub fn texts(&self, column: &str) -> Vec<String> {
        let mut texts: Vec<String> =
            self.column(column).into_iter().map(|text| text.unwrap_or_else(|| "-".to_owned())).collect();
        texts.sort();
        texts
    }
}

pub async fn feed(source: &SqlServerSource, request: ChangeRequest) -> Result<Fed, Failure> {
    let connection = source.connect(access(&["dbo.*"])).await?;
    let mut feed = connection.changes(request).await?;
    let (validity, upper) = (feed.validity().clone(), feed.upper().map(str::to_owned));
    let mut reader = feed.rows().await?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        assert_eq!(batch.batch().schema(), reader.schema());
        batches.push(batch.batch().clone());
    }
    Ok(Fed { validity, upper, batch: concat_batches(&reader.schema(), &batches).unwrap() })
}
