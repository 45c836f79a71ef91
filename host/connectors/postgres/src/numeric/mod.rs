//! `numeric` in its binary form: read as an unscaled number, and written from one.

mod read;
mod text;
mod write;

pub(crate) use read::{Unreadable, bound, unscaled};
pub(crate) use text::text;
pub(crate) use write::put_numeric;

/// The sign of a number below zero.
const NEGATIVE: u16 = 0x4000;
