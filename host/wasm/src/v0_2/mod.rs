//! Version 0.2 of the WIT: its bindings, its host calls, and the calls of what a datakit exports.
//!
//! Everything that names a generated type is in here; the rest of the crate knows what a guest filled in (`filled`) and the
//! model's types, so that another version can stand beside this one.

mod bindings;
mod convert;
mod exports;
mod imports;

pub(crate) use bindings::{EXPORT, IMPORTS, PACKAGE, VERSION};
pub(crate) use exports::{Exports, ExportsPre};
pub(crate) use imports::add_to_linker;
