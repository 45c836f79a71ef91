//! Lines for the host's log. Natively, where there is no host, they go nowhere.

use std::fmt::Display;

#[cfg(target_family = "wasm")]
use crate::bindings::datakit::kit::log as host;
pub use crate::bindings::datakit::kit::log::Level;

/// One line, with named facts. Never a secret, never a row's values.
pub fn emit(level: Level, message: impl Display, fields: &[(&str, String)]) {
    let message = message.to_string();
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    #[cfg(target_family = "wasm")]
    host::emit(level, &message, &fields);
    #[cfg(not(target_family = "wasm"))]
    drop((level, message, fields));
}

/// For the datakit's author.
pub fn debug(message: impl Display, fields: &[(&str, String)]) {
    emit(Level::Debug, message, fields);
}

/// What an operator wants to know of a normal run.
pub fn info(message: impl Display, fields: &[(&str, String)]) {
    emit(Level::Info, message, fields);
}

/// The run goes on, but somebody should look.
pub fn warn(message: impl Display, fields: &[(&str, String)]) {
    emit(Level::Warn, message, fields);
}

/// Makes a panic tell the host what and where before it becomes a bare trap. Every export of [`crate::Datakit`] calls it.
pub fn report_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        #[cfg(target_family = "wasm")]
        std::panic::set_hook(Box::new(|panic| {
            let payload = panic.payload_as_str().unwrap_or("no message");
            let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
            emit(Level::Error, format_args!("the datakit panicked: {payload}"), &[("at", place)]);
        }));
    });
}
