//! The tables of change data capture in the schema `cdc`, as [`super::views`] describes those of `sys`. They are there once
//! `sys.sp_cdc_enable_db` has run.
//!
//! Sources: "cdc.change_tables", "cdc.captured_columns", "cdc.index_columns", "cdc.lsn_time_mapping", "cdc.ddl_history".

use super::views::SystemView;

/// The tables of `cdc`.
pub static VIEWS: &[SystemView] = &[
    SystemView {
        schema: "cdc",
        name: "change_tables",
        columns: &[
            ("object_id", "int", false, "i.object_id"),
            ("version", "int", true, "0"),
            ("source_object_id", "int", true, "i.source_object_id"),
            ("capture_instance", "sysname", false, "i.name"),
            ("start_lsn", "binary(10)", true, "i.start_lsn"),
            ("end_lsn", "binary(10)", true, "NULL"),
            ("supports_net_changes", "bit", true, "i.supports_net_changes"),
            ("has_drop_pending", "bit", true, "NULL"),
            ("role_name", "sysname", true, "i.role_name"),
            ("index_name", "sysname", true, "i.index_name"),
            ("filegroup_name", "sysname", true, "i.filegroup_name"),
            ("create_date", "datetime", true, "i.created"),
            ("partition_switch", "bit", false, "i.partition_switch"),
        ],
        from: "FROM __cdc_instances i",
    },
    SystemView {
        schema: "cdc",
        name: "captured_columns",
        columns: &[
            ("object_id", "int", false, "c.object_id"),
            ("column_name", "sysname", false, "c.name"),
            ("column_id", "int", true, "c.column_id"),
            ("column_type", "sysname", false, "c.type_name"),
            ("column_ordinal", "int", false, "c.ordinal"),
            ("is_computed", "bit", true, "0"),
        ],
        from: "FROM __cdc_columns c",
    },
    SystemView {
        schema: "cdc",
        name: "index_columns",
        columns: &[
            ("object_id", "int", false, "x.object_id"),
            ("column_name", "sysname", false, "x.name"),
            ("index_ordinal", "tinyint", false, "x.ordinal"),
            ("column_id", "int", false, "x.column_id"),
        ],
        from: "FROM __cdc_index_columns x",
    },
    SystemView {
        schema: "cdc",
        name: "lsn_time_mapping",
        columns: &[
            ("start_lsn", "binary(10)", false, "m.start_lsn"),
            ("tran_begin_time", "datetime", true, "m.begun"),
            ("tran_end_time", "datetime", true, "m.ended"),
            ("tran_id", "varbinary(10)", true, "m.tran_id"),
        ],
        from: "FROM __cdc_times m",
    },
    SystemView {
        schema: "cdc",
        name: "ddl_history",
        columns: &[
            ("source_object_id", "int", true, "h.source_object_id"),
            ("object_id", "int", false, "h.object_id"),
            ("required_column_update", "bit", true, "h.is_column_update"),
            ("ddl_command", "nvarchar(max)", true, "h.command"),
            ("ddl_lsn", "binary(10)", false, "h.ddl_lsn"),
            ("ddl_time", "datetime", true, "h.time"),
        ],
        from: "FROM __cdc_ddl_history h",
    },
];
