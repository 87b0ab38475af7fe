//! Every metric of the process with its labels and help text. Labels are bounded: verdicts, reasons and
//! names of templates that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::inject::reason::Reason;
use crate::inject::{Decision, Verdict};

/// Upper bounds of the duration histogram in seconds: the API server's own begin at 5 ms.
const BUCKETS: [f64; 10] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByDecision {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByOutcome {
    template: String,
    version: String,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByTemplate {
    template: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByCode {
    code: u16,
}

/// The metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ByDecision, Counter>,
    duration: Histogram,
    outcomes: Family<ByOutcome, Counter>,
    valid: Family<ByTemplate, Gauge>,
    load_failures: Family<ByTemplate, Counter>,
    generation: Gauge,
    last_sync: Gauge<f64, AtomicU64>,
    certificate_expiry: Gauge<i64, AtomicI64>,
    handshakes: Family<ByResult, Counter>,
    refused: Family<ByCode, Counter>,
    in_flight: Gauge,
    known: Mutex<BTreeSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sidecar_injector"),
            requests: Family::default(),
            duration: Histogram::new(BUCKETS),
            outcomes: Family::default(),
            valid: Family::default(),
            load_failures: Family::default(),
            generation: Gauge::default(),
            last_sync: Gauge::default(),
            certificate_expiry: Gauge::default(),
            handshakes: Family::default(),
            refused: Family::default(),
            in_flight: Gauge::default(),
            known: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("admission_requests", "Reviews answered, by decision and reason", self.requests.clone());
        registry.register(
            "admission_duration_seconds",
            "Time from the last byte of a review to its answer",
            self.duration.clone(),
        );
        registry.register("template_outcomes", "What became of each template asked for", self.outcomes.clone());
        registry.register(
            "template_valid",
            "1 if the newest text of the template is in use, else 0",
            self.valid.clone(),
        );
        registry.register("template_load_failures", "Loads that found the template broken", self.load_failures.clone());
        registry.register("catalog_generation", "Counts every change of the catalog", self.generation.clone());
        registry.register(
            "catalog_last_sync_timestamp_seconds",
            "When the catalog was last brought up to date",
            self.last_sync.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "End of validity of the serving certificate",
            self.certificate_expiry.clone(),
        );
        registry.register("tls_handshakes", "TLS handshakes by result", self.handshakes.clone());
        registry.register("http_refusals", "Requests that were no decision, by HTTP status", self.refused.clone());
        registry.register("in_flight_requests", "Reviews being answered", self.in_flight.clone());
        registry.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    }

    /// Counts a decision.
    pub fn decided(&self, decision: &Decision, took: Duration) {
        let by = ByDecision { decision: decision.verdict.as_str(), reason: decision.reason.as_str() };
        self.requests.get_or_create(&by).inc();
        self.duration.observe(took.as_secs_f64());
        for template in &decision.templates {
            let outcome = match template.reason {
                Reason::Injected => "injected",
                _ if template.denied => "denied",
                _ if decision.verdict == Verdict::Denied => continue,
                _ => "skipped",
            };
            // Names that no template has are the users' and unbounded.
            self.outcomes
                .get_or_create(&ByOutcome {
                    template: if template.known { template.name.clone() } else { "(unknown)".to_owned() },
                    version: template.version.clone().unwrap_or_default(),
                    outcome,
                    reason: template.reason.as_str(),
                })
                .inc();
        }
    }

    /// Counts the validation of a template ConfigMap.
    pub fn validated(&self, decision: &Decision) {
        let by = ByDecision { decision: decision.verdict.as_str(), reason: decision.reason.as_str() };
        self.requests.get_or_create(&by).inc();
    }

    /// Records a change of the catalog: name -> whether its newest text is in use, and the names of texts that
    /// were found broken in the course of it.
    pub fn published(&self, valid: &BTreeMap<String, bool>, failed: &[String], now: f64) {
        self.generation.inc();
        self.last_sync.set(now);
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for gone in known.iter().filter(|name| !valid.contains_key(*name)) {
            self.valid.remove(&ByTemplate { template: gone.clone() });
        }
        *known = valid.keys().cloned().collect();
        for (template, valid) in valid {
            let by = ByTemplate { template: template.clone() };
            self.valid.get_or_create(&by).set(i64::from(*valid));
        }
        for template in failed {
            self.load_failures.get_or_create(&ByTemplate { template: template.clone() }).inc();
        }
    }

    /// Records the certificate in use.
    pub fn certificate(&self, not_after: i64) {
        self.certificate_expiry.set(not_after);
    }

    /// Counts a handshake.
    pub fn handshake(&self, result: &'static str) {
        self.handshakes.get_or_create(&ByResult { result }).inc();
    }

    /// Counts a request that was no decision.
    pub fn refused(&self, code: u16) {
        self.refused.get_or_create(&ByCode { code }).inc();
    }

    /// Counts a request while the returned guard lives.
    #[must_use]
    pub fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    /// The metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// See [`Metrics::in_flight`].
#[derive(Debug)]
pub struct InFlight<'m>(&'m Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
