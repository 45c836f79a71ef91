//! The warehouse file, its environment overlay and its JSON Schema.
