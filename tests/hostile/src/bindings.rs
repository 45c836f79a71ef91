//! The WIT as Rust, as wit-bindgen writes it.

#![expect(unsafe_code, reason = "generated: a component's exports are symbols of the linker")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "source-datakit",
});

export!(Hostile with_types_in self);

use crate::Hostile;
