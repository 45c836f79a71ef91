//! The process that compiles and checks schemas, by itself: tests have no `host` to start again.

fn main() -> std::io::Result<()> {
    datakit_wasm::bounded::serve()
}
