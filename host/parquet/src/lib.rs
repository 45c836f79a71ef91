//! Parquet files in a folder or an object store, for every sink that writes them.
//!
//! - `partition`: the files of a partition, encoded and uploaded beside the caller;
//! - `file`: one of them; `folders`: which folder its rows belong to;
//! - `dictionary`: which columns of a file are worth a dictionary;
//! - `encoding_memory`: what row groups being encoded may hold, over all partitions;
//! - `statistics`: the bounds that let readers skip files, as Delta's log holds them.

mod dictionary;
mod encoding_memory;
mod file;
mod folders;
mod partition;
mod statistics;

pub use encoding_memory::EncodingMemory;
pub use file::{DataFile, FilePlan, RowForm, WriteError, WriterOptions};
pub use folders::{Folder, FormedBatch, Rows};
pub use partition::{Message, write_partition};
