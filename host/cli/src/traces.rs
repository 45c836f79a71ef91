//! Traces of runs by OTLP, where the environment names a collector (docs/traces.md).

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

use crate::error::CliError;

/// Any of these, set and not empty, turns traces on. The exporter reads them itself, with their siblings.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// The longest wait for the spans that are left at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans for as long as it lives, and those that are left at its end.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// None where the environment names no collector.
    pub(crate) fn start(environment: &BTreeMap<String, String>) -> Result<Option<Self>, CliError> {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        if ENDPOINTS.iter().all(|name| set(name).is_none()) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| CliError::Traces { message: error.to_string() })?;
        let service = set(SERVICE_NAME).map_or("datakit-host", String::as_str).to_owned();
        let resource = Resource::builder().with_service_name(service);
        let resource =
            resource.with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Some(Self(provider.build())))
    }

    /// Where spans come from.
    pub(crate) fn layer<S>(&self) -> Box<dyn Layer<S> + Send + Sync>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer: OpenTelemetryLayer<S, SdkTracer> = OpenTelemetryLayer::new(self.0.tracer("datakit"));
        // No events: what drivers log is for nobody else. No places in the source.
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        layer.with_filter(filter_fn(is_traced).with_max_level_hint(LevelFilter::INFO)).boxed()
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            tracing::warn!(target: "datakit", %error, "the last spans were not sent");
        }
    }
}

/// Whether a span is one of a run's: the run, its tables and partitions.
pub(crate) fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (metadata.target() == datakit_app::TRACE || metadata.name() == "run")
}
