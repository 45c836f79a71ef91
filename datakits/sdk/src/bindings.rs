//! The WIT as Rust, as wit-bindgen writes it. Names and documentation are those of `wit/`.

#![expect(missing_docs, reason = "generated: what wit-bindgen adds to the WIT's own items has no documentation")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "source-datakit",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    default_bindings_module: "datakit_sdk::bindings",
    additional_derives: [PartialEq],
});
