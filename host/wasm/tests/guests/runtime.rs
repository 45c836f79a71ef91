//! A datakit's honest work, and components that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datakit_model::{Diagnostic, Failure, GuestLimits, Kind, Retry};
use datakit_wasm::testing::{Answer, MemorySource};
use datakit_wasm::{Compilation, Runtime, RuntimeConfig, WasmError};

use crate::support::{QUERY, batches, component, digest, load, reported, run, runtime, session, source};

#[tokio::test]
async fn describe_says_what_it_is_without_a_run() {
    let runtime = runtime(GuestLimits::default());
    let info = load(&runtime, "hostile").await.describe().await.unwrap();
    assert_eq!((info.name.as_str(), info.version.as_str()), ("hostile", "0.1.0"));
    assert_eq!(info.roles[0].name, "source");
    assert_eq!(info.roles[0].kinds, ["memory", "sqlserver", "postgres", "files"]);
}

#[tokio::test]
async fn rows_pass_through_a_projection_under_their_reservation() {
    let runtime = runtime(GuestLimits::default());
    let datakit = load(&runtime, "hostile").await;
    let (source, settings) = (source(), "{}");
    let session = session(&source, settings);
    let tables = datakit.discover(&session, &session.tables).await.unwrap().tables;
    let plans = datakit.plan(&session, &[tables[0].id.clone()]).await.unwrap();
    let mut extraction = datakit.extract(&session, &plans[0].partitions[0]).await.unwrap();
    let first = extraction.next().await.unwrap().unwrap();
    assert!(Arc::ptr_eq(first.batch().schema_ref(), &extraction.schema()));
    assert!(session.memory.available_bytes() < session.memory.capacity_bytes());
    let text = arrow::util::pretty::pretty_format_batches(std::slice::from_ref(first.batch())).unwrap();
    insta::assert_snapshot!(text, @r"
    +----+------+-------+
    | id | name | added |
    +----+------+-------+
    | 1  | a    | x     |
    | 2  | bb   | x     |
    | 3  | ccc  | x     |
    +----+------+-------+
    ");
    drop(first);
    assert!(extraction.next().await.unwrap().is_some());
    assert!(extraction.next().await.unwrap().is_none());
    assert!(extraction.next().await.unwrap().is_none(), "the end stays the end");
    assert_eq!(extraction.report().adjustments[0].values, 2);
    drop(extraction);
    assert_eq!(session.memory.available_bytes(), session.memory.capacity_bytes());
}

#[tokio::test]
async fn a_sources_error_comes_back_whole_and_without_a_second_life() {
    let runtime = runtime(GuestLimits::default());
    let datakit = load(&runtime, "hostile").await;
    let source = MemorySource::new("memory", |_| {
        let lost = Failure::new("DK-SRC-099", Kind::Source, Retry::AfterBackoff, "sql01:1433 hung up")
            .with_hint("look at the server")
            .with_context("server", "sql01");
        let schema = batches()[0].schema();
        Ok(Answer { batches: vec![Ok(batches().remove(0)), Err(lost)], ..Answer::rows(schema, vec![]) })
    });
    let session = session(&source, "{}");
    let error = run(&datakit, &session).await.unwrap_err();
    insta::assert_snapshot!(reported(&error), @r"
    DK-SRC-099 (Source, AfterBackoff)
    sql01:1433 hung up
      server: sql01
    hint: look at the server
    ");
}

#[tokio::test]
async fn a_bug_of_the_host_ends_one_instance_only() {
    let runtime = runtime(GuestLimits::default());
    let datakit = load(&runtime, "hostile").await;
    let broken = MemorySource::new("memory", |_| panic!("a bug"));
    let error = run(&datakit, &session(&broken, "{}")).await.unwrap_err();
    assert_eq!((error.code().as_ref(), error.kind()), ("DK-KIT-025", Kind::Internal));
    assert_eq!(error.to_string(), "the host failed in a call of the datakit: a bug");
    assert_eq!(run(&datakit, &session(&source(), "{}")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_extraction_that_failed_or_was_cancelled_refuses_further_calls() {
    let runtime = runtime(GuestLimits::default());
    let datakit = load(&runtime, "hostile").await;
    let source = source();
    let session = session(&source, "{}");
    let tables = datakit.discover(&session, &session.tables).await.unwrap().tables;
    let plans = datakit.plan(&session, &[tables[0].id.clone()]).await.unwrap();
    let mut extraction = datakit.extract(&session, &plans[0].partitions[0]).await.unwrap();
    // The source yields once before it gives a batch: one poll leaves the call in the middle.
    assert!(futures::poll!(Box::pin(extraction.next())).is_pending());
    let error = extraction.next().await.unwrap_err();
    assert!(matches!(error, WasmError::Unusable), "{error}");
    drop(extraction);
    assert_eq!(source.live_readers(), 0);
}

#[tokio::test]
async fn a_dropped_extraction_cancels_its_query() {
    let runtime = runtime(GuestLimits::default());
    let datakit = load(&runtime, "hostile").await;
    let source = source();
    let session = session(&source, "{}");
    let tables = datakit.discover(&session, &session.tables).await.unwrap().tables;
    let plans = datakit.plan(&session, &[tables[0].id.clone()]).await.unwrap();
    let extraction = datakit.extract(&session, &plans[0].partitions[0]).await.unwrap();
    assert_eq!(source.live_readers(), 1);
    drop(extraction);
    assert_eq!(source.live_readers(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_partitions_run_at_once() {
    let runtime = runtime(GuestLimits::default());
    let datakit = load(&runtime, "hostile").await;
    let source = source();
    let runs: Vec<_> = (0..16)
        .map(|_| {
            let (datakit, session) = (datakit.clone(), session(&source, "{}"));
            tokio::spawn(async move { run(&datakit, &session).await.unwrap().len() })
        })
        .collect();
    for run in runs {
        assert_eq!(run.await.unwrap(), 2);
    }
    assert_eq!(source.opened_readers(), 16);
}

#[tokio::test]
async fn waiting_for_a_source_is_not_computing() {
    // 20 ms of waiting for each query and batch, 10 ms of time: only the guest's own counts.
    let runtime = runtime(GuestLimits { max_guest_cpu_ms: 10, ..GuestLimits::default() });
    let datakit = load(&runtime, "hostile").await;
    let source = MemorySource::new("memory", |query| {
        assert_eq!(query.sql, QUERY);
        std::thread::sleep(std::time::Duration::from_millis(60));
        Ok(Answer::rows(batches()[0].schema(), batches()))
    });
    assert_eq!(run(&datakit, &session(&source, "{}")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn compiled_code_is_kept_and_used() {
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("code");
    let (component, source) = (component("hostile"), source());
    for _ in 0..2 {
        let config = RuntimeConfig { code_cache: Some(cache.clone()), ..RuntimeConfig::default() };
        let datakit = Runtime::new(config).unwrap().load(component.clone(), &digest(&component)).await.unwrap();
        assert_eq!(run(&datakit, &session(&source, "{}")).await.unwrap().len(), 2);
        assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn compilation_is_observed_and_code_of_the_cache_is_not_compiled() {
    let root = tempfile::tempdir().unwrap();
    let component = component("hostile");
    let size = component.len() as u64;
    for times in [1, 0] {
        let config = RuntimeConfig { code_cache: Some(root.path().join("code")), ..RuntimeConfig::default() };
        let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
        let observe = |compilation| {
            let (seen, bytes) = match compilation {
                Compilation::Begun { bytes } => (&begun, bytes),
                Compilation::Ended { bytes, .. } => (&ended, bytes),
            };
            seen.fetch_add(bytes, Ordering::Relaxed);
        };
        let runtime = Runtime::new(config).unwrap();
        runtime.load_observed(component.clone(), &digest(&component), observe).await.unwrap();
        assert_eq!((begun.into_inner(), ended.into_inner()), (times * size, times * size));
    }
}

async fn refused(limits: GuestLimits, component: &[u8], digest: &str) -> String {
    reported(&runtime(limits).load(component, digest).await.unwrap_err())
}

async fn not_a_datakit(component: &[u8]) -> String {
    refused(GuestLimits::default(), component, &digest(component)).await
}

#[tokio::test]
async fn a_file_that_is_no_component_says_so() {
    insta::assert_snapshot!("not-wasm", not_a_datakit(b"PK\x03\x04").await);
    insta::assert_snapshot!("core-module", not_a_datakit(b"\0asm\x01\0\0\0").await);
    insta::assert_snapshot!("no-datakit", not_a_datakit(b"\0asm\x0d\0\x01\0").await);
    let mut cut = component("hostile");
    cut.truncate(cut.len() / 2);
    let reported = not_a_datakit(&cut).await;
    assert!(reported.starts_with("DK-KIT-003 (Datakit, Never)\nthe component is not valid: "), "{reported}");
}

#[tokio::test]
async fn a_tampered_or_oversized_file_is_refused_before_it_is_compiled() {
    let mut tampered = component("hostile");
    let expected = digest(&tampered);
    *tampered.last_mut().unwrap() ^= 1;
    let reported = refused(GuestLimits::default(), &tampered, &expected).await;
    assert!(reported.starts_with("DK-KIT-008 (User, Never)\nthe component's digest is sha256:"), "{reported}");
    let small = GuestLimits { max_component_bytes: 1000, ..GuestLimits::default() };
    let reported = refused(small, &component("hostile"), &expected).await;
    assert!(reported.starts_with("DK-KIT-045"), "{reported}");
}

/// The same component under another name of an import or export of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = component("hostile");
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn versions_and_imports_we_do_not_know_are_named() {
    let other_version = renamed("datakit:kit/extractor@0.2.0", "datakit:kit/extractor@0.9.0");
    insta::assert_snapshot!("unknown-wit", not_a_datakit(&other_version).await);
    let other_import = renamed("datakit:kit/log@0.2.0", "evilkit:kit/log@0.2.0");
    insta::assert_snapshot!("forbidden-import", not_a_datakit(&other_import).await);
    let other_interface = renamed("datakit:kit/log@0.2.0", "datakit:kit/lag@0.2.0");
    insta::assert_snapshot!("unknown-interface", not_a_datakit(&other_interface).await);
}

#[tokio::test]
async fn errors_keep_code_and_kind_as_failures() {
    let error = WasmError::UnmappedRole { role: "source".to_owned() };
    let failure = Failure::from(error);
    assert_eq!((failure.code(), failure.kind()), ("DK-KIT-015", Kind::User));
    assert!(failure.hint().unwrap().contains("source = \"CONNECTION\""));
    assert_eq!(WasmError::Unusable.code(), "DK-KIT-013");
}
