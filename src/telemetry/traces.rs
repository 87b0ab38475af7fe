//! OpenTelemetry traces, sent over OTLP: one span for each admission review.
//!
//! This module does not decide on pods, and does not depend on the server.

use std::time::SystemTime;

use anyhow::Context as _;
use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::inject::Answer;
use crate::inject::decision::{TemplateOutcome, Verdict};

/// The sender of traces. Each span is a child of the API server's span if the request carries its context (W3C Trace
/// Context; the API server sends it when its tracing is on).
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Starts sending traces to an OTLP endpoint (a URL). The environment variables of the OpenTelemetry SDK apply too.
    ///
    /// # Errors
    /// If the endpoint is not a valid URL.
    pub fn start(endpoint: &str) -> anyhow::Result<Self> {
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build();
        let exporter = exporter.with_context(|| format!("--otlp-endpoint {endpoint}"))?;
        let resource = Resource::builder().with_service_name("sidecar-injector").build();
        let processor = BatchSpanProcessor::builder(exporter, Tokio).build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
        Ok(Self { tracer: provider.tracer("sidecar-injector"), provider })
    }

    /// Records the span of an answer, from `started` until now. `headers` are those of the HTTP request.
    pub fn record(&self, headers: &HeaderMap, started: SystemTime, answer: &Answer<'_>) {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &TraceHeaders(headers));
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

    /// Sends the remaining spans and stops.
    pub fn stop(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "failed to send the last traces");
        }
    }
}

struct TraceHeaders<'h>(&'h HeaderMap);

impl Extractor for TraceHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
