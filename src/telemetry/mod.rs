//! How the process tells what it does: log lines on stderr, and OpenTelemetry traces where they are wanted. It must not
//! know what is decided beyond a decision's words.

pub mod events;
pub mod metrics;

use std::time::SystemTime;

use anyhow::Context as _;
use axum::http::HeaderMap;
use clap::ValueEnum;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, reload};

use crate::inject::Answer;
use crate::inject::decision::{TemplateOutcome, Verdict};
use crate::server::admin::SetLogLevel;

/// The form of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Tells where a panic happened and not what it says, which may be a piece of a pod.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: a bug of the injector; please report it");
    }));
}

/// Starts logging; what it gives changes the level later.
#[must_use]
pub fn log_to_stderr(format: LogFormat, level: tracing::Level) -> SetLogLevel {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    log_panics();
    // The subscriber lives as long as the process.
    Box::new(move |level| drop(handle.reload(LevelFilter::from_level(level))))
}

/// OpenTelemetry traces: a span for each answer, below that of the API server where it sends its context (W3C Trace
/// Context, with the API server's tracing on).
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Sends traces to an OTLP endpoint. The environment variables of OpenTelemetry count too.
    ///
    /// # Errors
    /// When the endpoint is none.
    pub fn start(endpoint: &str) -> anyhow::Result<Self> {
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build();
        let exporter = exporter.with_context(|| format!("--otlp-endpoint {endpoint}"))?;
        let resource = Resource::builder().with_service_name("sidecar-injector").build();
        let processor = BatchSpanProcessor::builder(exporter, Tokio).build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
        Ok(Self { tracer: provider.tracer("sidecar-injector"), provider })
    }

    /// Records an answer that took from `started` until now.
    pub fn record(&self, headers: &HeaderMap, started: SystemTime, answer: &Answer<'_>) {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let decision = &answer.decision;
        let mut attributes = vec![
            KeyValue::new("decision", decision.verdict.as_str()),
            KeyValue::new("reason", decision.reason.as_str()),
        ];
        if let Some(request) = &answer.request {
            attributes.push(KeyValue::new("k8s.namespace.name", request.namespace.as_str().to_owned()));
            attributes.push(KeyValue::new("uid", request.uid.as_str().to_owned()));
        }
        if decision.verdict == Verdict::Injected {
            let templates: Vec<String> = decision.templates.iter().map(TemplateOutcome::display).collect();
            attributes.push(KeyValue::new("templates", templates.join(",")));
        }
        let span = SpanBuilder::from_name("admission").with_kind(SpanKind::Server).with_start_time(started);
        self.tracer.build_with_context(span.with_attributes(attributes), &parent).end();
    }

    /// Sends what is left.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

struct Headers<'h>(&'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
