//! Generated tables served from pre-encoded bytes, so that a benchmark measures the client and not the server.
//!
//! A [`FastTable`] is a description: columns, a number of rows, and for each column how its values come about. The engine
//! shows it in the catalog views and computes whatever small query it likes through [`FastTable::value`]; a plain
//! `SELECT columns FROM table WHERE key range` becomes one [`crate::engine::Event::FastRows`].

mod table;
mod template;

pub use table::{FastTable, Generator, LONG_TEXT_CHARACTERS, NoFastTable, TEMPLATE_ROWS};
pub use template::{Template, TemplateCache};
