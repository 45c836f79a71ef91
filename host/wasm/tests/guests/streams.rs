//! What a guest writes to its standard streams.

use datakit_model::GuestLimits;
use datakit_wasm::WasmError;

use crate::support::{load, reported, runtime, session, source};

async fn end(how: &str, limits: GuestLimits) -> (Option<WasmError>, u64, u64) {
    let datakit = load(&runtime(limits), "standard-streams").await;
    let session = session(&source(), &format!("{{\"end\":\"{how}\"}}"));
    let error = datakit.discover(&session, &session.tables).await.err();
    (error, session.log.bytes(), session.log.dropped())
}

#[tokio::test]
async fn trap_comes_with_the_last_lines_of_standard_error() {
    let (error, ..) = end("trap", GuestLimits::default()).await;
    insta::assert_snapshot!(reported(&error.unwrap()));
}

#[tokio::test]
async fn exit_comes_with_the_last_line_of_standard_error() {
    let (error, ..) = end("exit", GuestLimits::default()).await;
    insta::assert_snapshot!(reported(&error.unwrap()));
}

#[tokio::test]
async fn lines_of_standard_streams_are_bounded_as_log_messages_are() {
    let limits = GuestLimits { max_log_messages: 100, max_run_log_bytes: 1_000, ..GuestLimits::default() };
    let (error, bytes, dropped) = end("flood", limits).await;
    assert!(error.is_none(), "{error:?}");
    assert!((900..=1_000).contains(&bytes), "{bytes}");
    // All but those within the bytes: the line on standard output, and lines of 13 bytes.
    assert_eq!(dropped, 50_001 - 1 - (1_000 - "looking for tables".len() as u64) / 13);
}
