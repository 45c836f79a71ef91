//! SQL Server tables and views into Bronze.
