//! The metrics of the process, with their labels and help texts.
//!
//! The reference documentation is generated from [`DESCRIPTIONS`]. The values of labels are bounded: verdicts, reasons
//! and names of existing templates, never text that users choose. This module does not know when a metric changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use crate::inject::decision::reason::Reason;
use crate::inject::decision::{Decision, TemplateOrigin, Verdict};

/// The name, kind, labels and help text of a metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricDescription {
    /// The name without the prefix `sidecar_injector_` and without a suffix such as `_total`.
    pub name: &'static str,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The help text, without a final period.
    pub help: &'static str,
}

macro_rules! descriptions {
    ($($id:ident: $kind:literal $name:literal $labels:expr => $help:literal;)+) => {
        $(const $id: MetricDescription = MetricDescription { name: $name, kind: $kind, labels: &$labels, help: $help };)+

        /// Every metric.
        pub const DESCRIPTIONS: &[MetricDescription] = &[$($id),+];
    };
}

descriptions! {
    REQUESTS: "counter" "admission_requests" ["decision", "reason"] => "Answered reviews, by decision and reason";
    DURATION: "histogram" "admission_duration_seconds" [] => "Time from receiving a complete review to its answer, with the uid of the review as exemplar";
    OUTCOMES: "counter" "template_outcomes" ["template", "version", "outcome", "reason"] => "Outcome for each requested template: injected, skipped or denied; the label template is (namespace) for templates of namespaces and (unknown) for templates that do not exist";
    VALID: "gauge" "template_valid" ["template"] => "1 if the newest version of the template's text is in use, else 0";
    LOAD_FAILURES: "counter" "template_load_failures" ["template"] => "Failed attempts to load the template";
    GENERATION: "gauge" "catalog_generation" [] => "Number of catalogs published since the start of the process";
    LAST_SYNC: "gauge" "catalog_last_sync_timestamp_seconds" [] => "Time of the last change of the catalog";
    IN_SYNC: "gauge" "catalog_in_sync" [] => "1 while the cluster can be watched, 0 while the last known catalog is in use";
    WATCH_FAILURES: "counter" "watch_failures" [] => "Failed lists and watches of the cluster";
    CERTIFICATE_START: "gauge" "certificate_start_timestamp_seconds" [] => "Start of the validity of the serving certificate";
    CERTIFICATE_EXPIRY: "gauge" "certificate_expiry_timestamp_seconds" [] => "End of the validity of the serving certificate";
    HANDSHAKES: "counter" "tls_handshakes" ["result"] => "TLS handshakes, by result: ok, failed, timeout, or refused if there are too many connections";
    REFUSALS: "counter" "http_refusals" ["code"] => "Requests answered with an HTTP error instead of a decision, by HTTP status";
    IN_FLIGHT: "gauge" "in_flight_requests" [] => "Reviews in progress";
    EVENTS: "counter" "events" ["result"] => "Kubernetes Events, by result: sent, failed, or dropped if repeated or over the rate limit";
    BUILD: "info" "build" ["version"] => "Version of the running program";
}

/// Upper bounds of the duration histogram, in seconds. The buckets of the API server's own histogram begin at 5 ms.
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

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<ByDecision, Counter>,
    duration: HistogramWithExemplars<Vec<(String, String)>>,
    outcomes: Family<ByOutcome, Counter>,
    valid: Family<ByTemplate, Gauge>,
    load_failures: Family<ByTemplate, Counter>,
    generation: Gauge,
    last_sync: Gauge<f64, AtomicU64>,
    in_sync: Gauge,
    watch_failures: Counter,
    events: Family<ByResult, Counter>,
    certificate_start: Gauge<i64, AtomicI64>,
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
            duration: HistogramWithExemplars::new(BUCKETS.into_iter()),
            outcomes: Family::default(),
            valid: Family::default(),
            load_failures: Family::default(),
            generation: Gauge::default(),
            last_sync: Gauge::default(),
            in_sync: Gauge::default(),
            watch_failures: Counter::default(),
            events: Family::default(),
            certificate_start: Gauge::default(),
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
        registry.register(REQUESTS.name, REQUESTS.help, self.requests.clone());
        registry.register(DURATION.name, DURATION.help, self.duration.clone());
        registry.register(OUTCOMES.name, OUTCOMES.help, self.outcomes.clone());
        registry.register(VALID.name, VALID.help, self.valid.clone());
        registry.register(LOAD_FAILURES.name, LOAD_FAILURES.help, self.load_failures.clone());
        registry.register(GENERATION.name, GENERATION.help, self.generation.clone());
        registry.register(LAST_SYNC.name, LAST_SYNC.help, self.last_sync.clone());
        registry.register(IN_SYNC.name, IN_SYNC.help, self.in_sync.clone());
        registry.register(WATCH_FAILURES.name, WATCH_FAILURES.help, self.watch_failures.clone());
        registry.register(CERTIFICATE_START.name, CERTIFICATE_START.help, self.certificate_start.clone());
        registry.register(CERTIFICATE_EXPIRY.name, CERTIFICATE_EXPIRY.help, self.certificate_expiry.clone());
        registry.register(HANDSHAKES.name, HANDSHAKES.help, self.handshakes.clone());
        registry.register(REFUSALS.name, REFUSALS.help, self.refused.clone());
        registry.register(IN_FLIGHT.name, IN_FLIGHT.help, self.in_flight.clone());
        registry.register(EVENTS.name, EVENTS.help, self.events.clone());
        registry.register(BUILD.name, BUILD.help, Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        self.in_sync.set(1);
    }

    /// Counts a decision that took `took`. `uid` is the uid of the review.
    pub fn count_decision(&self, decision: &Decision, took: Duration, uid: Option<&str>) {
        let by = ByDecision { decision: decision.verdict.as_str(), reason: decision.reason.as_str() };
        self.requests.get_or_create(&by).inc();
        // An exemplar leads from a slow bucket to the audit log and the trace of the API server. The uid comes from the
        // client: unusual characters could break the format of the page.
        let plain =
            |uid: &&str| uid.len() <= 36 && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let label = uid.filter(plain).map(|uid| vec![("uid".to_owned(), uid.to_owned())]);
        self.duration.observe(took.as_secs_f64(), label, None);
        for template in &decision.templates {
            let outcome = match template.reason {
                Reason::Injected => "injected",
                _ if template.denied => "denied",
                _ if decision.verdict == Verdict::Denied => continue,
                _ => "skipped",
            };
            // Users choose the names of templates that do not exist, so there is no limit to them.
            self.outcomes
                .get_or_create(&ByOutcome {
                    template: match template.origin {
                        TemplateOrigin::Central => template.name.clone(),
                        TemplateOrigin::Namespace => "(namespace)".to_owned(),
                        TemplateOrigin::Unknown => "(unknown)".to_owned(),
                    },
                    version: match template.origin {
                        TemplateOrigin::Central => template.version.clone().unwrap_or_default(),
                        _ => String::new(),
                    },
                    outcome,
                    reason: template.reason.as_str(),
                })
                .inc();
        }
    }

    /// Counts the validation of a template ConfigMap.
    pub fn count_validation(&self, decision: &Decision) {
        let by = ByDecision { decision: decision.verdict.as_str(), reason: decision.reason.as_str() };
        self.requests.get_or_create(&by).inc();
    }

    /// Records a published catalog. `valid` has, for each template by name, true if its newest text is in use; `failed`
    /// has the names of the templates that failed to load; `now` is the time in seconds since 1970.
    pub fn record_catalog(&self, valid: &BTreeMap<String, bool>, failed: &[String], now: f64) {
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

    /// Records whether the cluster can be watched.
    pub fn set_in_sync(&self, in_sync: bool) {
        self.in_sync.set(i64::from(in_sync));
    }

    /// Counts a failed list or watch.
    pub fn count_watch_failure(&self) {
        self.watch_failures.inc();
    }

    /// Returns a function that counts an event by its result: `sent`, `failed` or `dropped`.
    pub fn events_counter(&self) -> impl Fn(&'static str) + Send + 'static {
        let events = self.events.clone();
        move |result| {
            events.get_or_create(&ByResult { result }).inc();
        }
    }

    /// Records the time during which the certificate in use is valid.
    pub fn set_certificate_validity(&self, valid: &Range<OffsetDateTime>) {
        self.certificate_start.set(valid.start.unix_timestamp());
        self.certificate_expiry.set(valid.end.unix_timestamp());
    }

    /// Counts a TLS handshake by its result: `ok`, `failed`, `timeout` or `refused`.
    pub fn count_handshake(&self, result: &'static str) {
        self.handshakes.get_or_create(&ByResult { result }).inc();
    }

    /// Counts a request that was answered with an HTTP error, by status.
    pub fn count_http_error(&self, code: u16) {
        self.refused.get_or_create(&ByCode { code }).inc();
    }

    /// Counts a request as in flight until the returned guard is dropped.
    #[must_use]
    pub fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight(&self.in_flight)
    }

    /// Returns the metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Counts a request as in flight; see [`Metrics::in_flight`].
#[derive(Debug)]
pub struct InFlight<'m>(&'m Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_have_the_uid_of_the_review() {
        let metrics = Metrics::default();
        metrics.count_decision(&Decision::unchanged(Reason::NotRequested), Duration::from_micros(60), Some("u-1"));
        let page = metrics.text();
        assert!(page.contains("admission_duration_seconds_bucket{le=\"0.0001\"} 1 # {uid=\"u-1\"} 0.00006"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
        metrics.count_decision(&Decision::unchanged(Reason::NotRequested), Duration::from_micros(60), Some("\0\n\"}"));
        assert!(!metrics.text().contains('\0'));
    }

    #[test]
    fn every_metric_is_described() {
        let page = Metrics::default().text();
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE sidecar_injector_")) {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            let known = DESCRIPTIONS.iter().any(|known| known.name == name && known.kind == kind);
            assert!(known, "{line}");
        }
    }
}
