//! What would fill the host's memory by setters: without end, or of long texts.

use crate::bindings::datakit::kit::changes::ChangeRequest;
use crate::bindings::datakit::kit::files::{Format, ReadRequest};
use crate::bindings::datakit::kit::plans::{Description, TableDescription, TablePlan};
use crate::bindings::datakit::kit::projections::ProjectionBuilder;
use crate::bindings::datakit::kit::sql::{Query, Value};
use crate::{QUERY, table};

/// A text that is long, and a list of such texts.
const LONG_BYTES: usize = 1_000;

/// Fills the resource that the attack names, without end; none of another attack.
pub fn fill(attack: &str) {
    let long = "x".repeat(LONG_BYTES);
    match attack {
        "role-hoard" => {
            let description = Description::new("hostile", "0.1.0", "");
            forever(|| description.add_role(&long, std::slice::from_ref(&long), &long));
        }
        "partition-hoard" => {
            let plan = TablePlan::new(&table("t"));
            forever(|| plan.add_partition(long.as_bytes(), None));
        }
        "plan-hoard" => forever(|| {
            let plan = TablePlan::new(&table("t"));
            plan.set_watermark(&long);
            std::mem::forget(plan);
        }),
        "table-hoard" => forever(|| std::mem::forget(TableDescription::new(&table(&long)))),
        "parameter-hoard" => {
            let (query, value) = (Query::new(QUERY), Value::Text(long));
            forever(|| query.add_parameter(&value));
        }
        "query-hoard" => forever(|| std::mem::forget(Query::new(&long))),
        "file-hoard" => {
            let request = ReadRequest::new(&table("t"), Format::new("csv"));
            forever(|| request.add_file(&long, &long, &[Some(long.clone())]));
        }
        "file-column-hoard" => {
            let request = ReadRequest::new(&table("t"), Format::new("csv"));
            forever(|| request.add_column(&long, "Utf8", Some(&long), false));
        }
        "null-value-hoard" => {
            let values = vec![long; 1_000];
            forever(|| {
                let format = Format::new("csv");
                format.set_null_values(&values);
                std::mem::forget(format);
            });
        }
        // Its format goes on to hold what was set before it was handed over.
        "request-hoard" => {
            let longer = long.repeat(20);
            forever(|| {
                let format = Format::new(&longer);
                format.set_encoding(&longer);
                std::mem::forget(ReadRequest::new(&table("t"), format));
            });
        }
        "change-column-hoard" => {
            let request = ChangeRequest::new(&table("t"), "watermark");
            forever(|| request.add_column(&long));
        }
        "builder-hoard" => {
            let builder = ProjectionBuilder::new(&[]);
            forever(|| builder.add_text("a", &long));
        }
        _ => {}
    }
}

fn forever(add: impl Fn()) {
    loop {
        add();
    }
}
