//! A connector of a kind that the product does not have: a server that keeps books of entries.
//!
//! It is all that a connector is: this folder. No file of the host names it; `tests/jobs` adds it to the list of the application
//! and runs it through validate, doctor, discover, plan, preview and run.
//!
//! | module | about |
//! |---|---|
//! | `settings` | what an operator says about a server |
//! | `connector` | from settings to a source, and the links of `host doctor` |
//! | `error` | what can go wrong, with codes and hints |
//! | `protocol` | lines to the server and back |
//! | `source` | what a datakit may ask, and the rows it gets |
//! | `rows` | from lines to Arrow |

mod connector;
mod error;
mod protocol;
mod rows;
mod settings;
mod source;

pub use connector::Logbook;
pub use error::LogbookError;
pub use settings::LogbookSettings;
pub use source::LogbookSource;
