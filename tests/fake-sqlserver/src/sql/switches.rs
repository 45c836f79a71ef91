//! Points on which the documentation of SQL Server is silent, contradicts itself, or is contradicted by reports: a test
//! sets each, and its client must be right under every setting.
//!
//! A switch has a name and a value as texts too, for the command line and for `EXEC sys.fake_switch`.

/// Declares the settings of a switch, each with its text; the first is the default.
macro_rules! settings {
    ($($(#[$about:meta])* $name:ident { $(#[$first_about:meta])* $first:ident = $first_text:literal,
        $($(#[$other_about:meta])* $other:ident = $other_text:literal),+ $(,)? })+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum $name {
            $(#[$first_about])* #[default] $first,
            $($(#[$other_about])* $other),+
        }

        impl $name {
            fn parse(text: &str) -> Option<Self> {
                match text {
                    $first_text => Some(Self::$first),
                    $($other_text => Some(Self::$other),)+
                    _ => None,
                }
            }
        }
    )+};
}

settings! {
    /// What CHANGETABLE says of a key that was inserted and deleted since the version asked for ("CHANGETABLE" is silent).
    InsertedAndDeleted {
        /// A row with `D`.
        Deleted = "deleted",
        /// No row.
        Nothing = "nothing",
    }
    /// How CHANGETABLE shows an updated key (KB4135113: old builds show some as two rows of one version).
    UpdatedKeys {
        /// One row with `U`.
        One = "one",
        /// Two rows, `D` and then `I`.
        DeleteFirst = "delete-first",
        /// Two rows, `I` and then `D`.
        InsertFirst = "insert-first",
    }
    /// What `CHANGE_TRACKING_MIN_VALID_VERSION` answers.
    MinValidVersion {
        /// The version.
        Known = "known",
        /// NULL, as for a table that was dropped, or without permission.
        Null = "null",
    }
    /// When changes reach the change tables.
    Capture {
        /// With each commit.
        AtOnce = "at-once",
        /// When `sys.sp_cdc_scan` runs.
        OnCommand = "on-command",
    }
    /// The error of the change functions for an invalid range ("Work with Change Data" says 313,
    /// "cdc.fn_cdc_get_all_changes" said 208).
    InvalidRange {
        /// 313
        Arguments = "313",
        /// 208
        Object = "208",
    }
    /// What `sys.fn_cdc_get_min_lsn` answers.
    MinLsn {
        /// The low end of the capture instance; NULL before the first scan, zeros without the instance.
        Known = "known",
        /// NULL.
        Null = "null",
        /// Zeros.
        Zero = "zero",
    }
    /// What `sys.fn_cdc_get_max_lsn` answers.
    MaxLsn {
        /// The highest of `cdc.lsn_time_mapping`.
        Known = "known",
        /// NULL.
        Null = "null",
        /// One below every low end.
        BelowStart = "below-start",
    }
    /// Which comes first of the delete and the insert that an update of a unique key leaves (KB3030352).
    KeyUpdates {
        /// The delete.
        DeleteFirst = "delete-first",
        /// The insert.
        InsertFirst = "insert-first",
    }
    /// Whether new change tables have `__$command_id` (a cumulative update of SQL Server 2012 to 2016 brought it).
    CommandId {
        /// They have.
        Present = "present",
        /// They have not.
        Absent = "absent",
    }
    /// The order of `__$seqval` within a transaction (reported to fall by debezium#1691).
    Seqval {
        /// As the changes were made.
        Rising = "rising",
        /// Against it.
        Falling = "falling",
    }
    /// Which columns of a deleted row are NULL in a change table.
    DeletedValues {
        /// `text`, `ntext` and `image` ("cdc.<capture_instance>_CT").
        Documented = "documented",
        /// Also `(max)` types.
        MaxNull = "max-null",
        /// Also `bit`, whether it may be null or not (reported by estuary/connectors#2796).
        BitNull = "bit-null",
    }
    /// What a SNAPSHOT transaction meets in a table that was defined anew after it began.
    DefinitionsInSnapshot {
        /// Error 3961.
        Error = "error",
        /// The table as it was.
        Ignored = "ignored",
    }
    /// What a SNAPSHOT transaction meets in a table that was truncated after it began (undocumented).
    TruncateInSnapshot {
        /// The rows as they were.
        Versioned = "versioned",
        /// Error 3961.
        Error = "error",
    }
}

/// Every switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "each field is documented by its type")]
pub struct Switches {
    pub inserted_and_deleted: InsertedAndDeleted,
    pub updated_keys: UpdatedKeys,
    pub min_valid_version: MinValidVersion,
    pub capture: Capture,
    pub invalid_range: InvalidRange,
    pub min_lsn: MinLsn,
    pub max_lsn: MaxLsn,
    pub key_updates: KeyUpdates,
    pub command_id: CommandId,
    pub seqval: Seqval,
    pub deleted_values: DeletedValues,
    pub definitions_in_snapshot: DefinitionsInSnapshot,
    pub truncate_in_snapshot: TruncateInSnapshot,
}

/// A switch that is not known, or not this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no switch '{name}' with the value '{value}'")]
pub struct UnknownSwitch {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Switches {
    /// Sets a switch by name: that of its field, with `-` or `_`.
    ///
    /// # Errors
    ///
    /// [`UnknownSwitch`] when there is no such switch, or the switch has no such value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), UnknownSwitch> {
        let unknown = || UnknownSwitch { name: name.to_owned(), value: value.to_owned() };
        macro_rules! set {
            ($($field:ident: $kind:ident),+ $(,)?) => {
                match name.replace('-', "_").as_str() {
                    $(stringify!($field) => self.$field = $kind::parse(value).ok_or_else(unknown)?,)+
                    _ => return Err(unknown()),
                }
            };
        }
        set!(
            inserted_and_deleted: InsertedAndDeleted,
            updated_keys: UpdatedKeys,
            min_valid_version: MinValidVersion,
            capture: Capture,
            invalid_range: InvalidRange,
            min_lsn: MinLsn,
            max_lsn: MaxLsn,
            key_updates: KeyUpdates,
            command_id: CommandId,
            seqval: Seqval,
            deleted_values: DeletedValues,
            definitions_in_snapshot: DefinitionsInSnapshot,
            truncate_in_snapshot: TruncateInSnapshot,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_set_by_name() {
        let mut switches = Switches::default();
        switches.set("updated-keys", "insert-first").unwrap();
        switches.set("invalid_range", "208").unwrap();
        assert_eq!((switches.updated_keys, switches.invalid_range), (UpdatedKeys::InsertFirst, InvalidRange::Object));
        assert!(switches.set("updated-keys", "both").is_err());
        assert!(switches.set("nothing", "both").is_err());
    }
}
