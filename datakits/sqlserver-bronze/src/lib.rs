//! SQL Server tables and views into Bronze.

pub mod catalog;
