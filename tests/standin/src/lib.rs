//! A SQL Server for laptops and CI: TDS 7.4 over SQLite.
