//! Views of `sys` that tell of the server and its work, as [`super::views`] describes those of the database.
//!
//! Sources: "sys.dm_server_services", "sys.dm_cdc_log_scan_sessions".

use super::views::{NO_ROWS, SystemView};

/// The views.
pub static VIEWS: &[SystemView] = &[
    // The agent runs: without it nothing would be captured.
    SystemView {
        schema: "sys",
        name: "dm_server_services",
        columns: &[
            ("servicename", "nvarchar(256)", false, "v.name"),
            ("startup_type", "int", true, "2"),
            ("startup_type_desc", "nvarchar(256)", false, "'Automatic'"),
            ("status", "int", true, "4"),
            ("status_desc", "nvarchar(256)", false, "'Running'"),
        ],
        from: "FROM (SELECT 'SQL Server (MSSQLSERVER)' AS name UNION ALL SELECT 'SQL Server Agent (MSSQLSERVER)') v",
    },
    // No scan of the log is remembered.
    SystemView {
        schema: "sys",
        name: "dm_cdc_log_scan_sessions",
        columns: &[
            ("session_id", "int", false, "0"),
            ("start_time", "datetime", true, "NULL"),
            ("end_time", "datetime", true, "NULL"),
            ("start_lsn", "nvarchar(23)", true, "NULL"),
            ("end_lsn", "nvarchar(23)", true, "NULL"),
        ],
        from: NO_ROWS,
    },
];
