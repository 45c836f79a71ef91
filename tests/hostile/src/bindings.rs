//! The WIT as Rust, as wit-bindgen writes it.

#![cfg_attr(target_family = "wasm", expect(unsafe_code, reason = "generated: exports are symbols of the linker"))]

#[cfg(target_family = "wasm")]
use crate::Hostile;

wit_bindgen::generate!({
    path: "../../wit",
    world: "source-datakit",
});

// Their names (`datakit:kit/extractor@0.2.0#describe`) are none for a linker of native libraries.
#[cfg(target_family = "wasm")]
export!(Hostile with_types_in self);
