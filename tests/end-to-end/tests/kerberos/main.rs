//! Kerberos from ticket to table, against a real KDC.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do, and what they measure is told"
)]

mod expiry;
mod figures;
mod in_process;
mod logins;
mod places;
mod refusals;
mod renewal;
mod sidecar;
mod users;

/// A table of two rows.
const SCRIPT: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL)\nGO\nINSERT INTO dbo.t VALUES (1, N'Ærø'), (2, NULL)";
