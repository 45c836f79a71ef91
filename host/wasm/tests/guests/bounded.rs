//! Work on a stranger's bytes, in a process that may use little.

use std::path::PathBuf;
use std::time::Instant;

use datakit_model::GuestLimits;
use datakit_model::datakit::Verdict;
use datakit_wasm::testing::check_settings_in;
use datakit_wasm::{Runtime, RuntimeConfig, WasmError};
use serde_json::{Value, json};

use crate::bombs::{component_holding, module_of_loops, section};
use crate::support::{component, digest, reported, run, session, source};

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_datakit-bounded"))
}

fn runtime(limits: GuestLimits) -> Runtime {
    let config = RuntimeConfig { limits, bounded_program: Some(program()), ..RuntimeConfig::default() };
    Runtime::new(config).unwrap()
}

async fn refused(limits: GuestLimits, component: Vec<u8>) -> WasmError {
    let started = Instant::now();
    let digest = digest(&component);
    let bytes = component.len();
    let error = runtime(limits).load(component, &digest).await.unwrap_err();
    show(&format!("a component of {bytes} bytes"), started);
    error
}

#[expect(clippy::print_stderr, reason = "wall time is shown, not asserted")]
fn show(what: &str, since: Instant) {
    eprintln!("{what}: {:?}", since.elapsed());
}

#[tokio::test]
async fn a_small_module_that_compiles_for_minutes_is_ended() {
    let bomb = component_holding(&section(1, &module_of_loops(3_000, 2_000)));
    let limits = GuestLimits { max_compile_cpu_ms: 2_000, ..GuestLimits::default() };
    insta::assert_snapshot!("compile-cpu", reported(&refused(limits, bomb).await));
}

#[tokio::test]
async fn a_small_module_that_takes_gigabytes_to_compile_is_ended() {
    let bomb = component_holding(&section(1, &module_of_loops(3_000, 2_000)));
    let limits = GuestLimits { max_compile_memory_bytes: 300 << 20, ..GuestLimits::default() };
    insta::assert_snapshot!("compile-memory", reported(&refused(limits, bomb).await));
}

#[tokio::test]
async fn components_in_one_another_are_bounded() {
    let mut nested = component_holding(&[]);
    for _ in 0..2_000 {
        nested = component_holding(&section(4, &nested));
    }
    let limits = GuestLimits { max_compile_cpu_ms: 5_000, ..GuestLimits::default() };
    let beside = component_holding(&section(4, &component_holding(&[])).repeat(15_000));
    for bomb in [nested, beside] {
        let reported = reported(&refused(limits.clone(), bomb).await);
        assert!(reported.starts_with("DK-KIT-0"), "{reported}");
    }
}

#[tokio::test]
async fn an_honest_datakit_compiles_within_the_bounds() {
    let component = component("hostile");
    let datakit = runtime(GuestLimits::default()).load(component.clone(), &digest(&component)).await.unwrap();
    assert_eq!(run(&datakit, &session(&source(), "{}")).await.unwrap().len(), 2);
    assert_eq!(datakit.check_settings(&json!({})).await.unwrap(), Verdict::Problems(vec![]));
    let Verdict::Problems(problems) = datakit.check_settings(&json!([])).await.unwrap() else { panic!() };
    insta::assert_snapshot!(problems.join("\n"), @r#"[] is not of type "object""#);
    datakit.check_schema().await.unwrap();
}

/// Definitions that name the next one twice each: 2.8 kB that double forty times.
fn doubling(steps: usize) -> String {
    let next = |step: usize| json!({ "$ref": format!("#/$defs/d{step}") });
    let definition = |step: usize| (format!("d{step}"), json!({ "allOf": [next(step + 1), next(step + 1)] }));
    let mut definitions: serde_json::Map<String, Value> = (0..steps).map(definition).collect();
    definitions.insert(format!("d{steps}"), json!({ "type": "object" }));
    json!({ "$ref": "#/$defs/d0", "$defs": definitions }).to_string()
}

#[tokio::test]
async fn a_schema_that_doubles_forty_times_is_ended() {
    let bomb = doubling(40);
    assert!(bomb.len() < 4_000);
    let limits = GuestLimits { max_schema_cpu_ms: 1_000, max_compile_memory_bytes: 1 << 30, ..GuestLimits::default() };
    let started = Instant::now();
    let error = check_settings_in(program(), &limits, &bomb, &json!({})).await.unwrap_err();
    show("a schema that doubles", started);
    insta::assert_snapshot!("schema-bomb", reported(&error));
    assert_eq!(
        check_settings_in(program(), &limits, &doubling(4), &json!({})).await.unwrap(),
        Verdict::Problems(vec![])
    );
}

#[tokio::test]
async fn a_process_that_cannot_be_started_is_reported() {
    let config = RuntimeConfig { bounded_program: Some("/does/not/exist".into()), ..RuntimeConfig::default() };
    let component = component("hostile");
    let error = Runtime::new(config).unwrap().load(component.clone(), &digest(&component)).await.unwrap_err();
    assert!(reported(&error).starts_with("DK-KIT-009"), "{}", reported(&error));
}
