//! Parquet files in a folder or an object store, for every sink that writes them.
//!
//! - `file`: files, encoded and uploaded beside the caller;
//! - `dictionary`: which columns of a file are worth a dictionary;
//! - `encoding_memory`: what row groups being encoded may hold, over all partitions;
//! - `statistics`: the bounds that let readers skip files, as Delta's log holds them.

mod dictionary;
mod encoding_memory;
mod file;
mod statistics;

pub use encoding_memory::EncodingMemory;
pub use file::{DataFile, FilePlan, Message, RowForm, WriteError, WriterOptions, write_partition};
