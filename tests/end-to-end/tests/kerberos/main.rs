//! Kerberos from ticket to table, against a real KDC.

mod logins;

/// A table of one row.
const SCRIPT: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL)\nGO\nINSERT INTO dbo.t VALUES (1, N'Ærø'), (2, NULL)";
