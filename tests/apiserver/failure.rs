//! Tests failures of the webhook, of the connection to it, and of templates. The failurePolicy of the webhook applies
//! only to calls that fail.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{names, pod, status};
use crate::scenario::{Hook, Scenario};
use crate::support::cluster::ApiError;
use crate::support::credentials::Credentials;
use crate::support::process::RefusingAddress;
use crate::support::tls_client::TlsClient;
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("wrong_certificate_follows_the_failure_policy", wrong_certificate),
    ("failed_calls_follow_the_failure_policy", failed_calls),
    ("decisions_ignore_the_failure_policy", decisions),
    ("skipped_template_is_reported_everywhere", skipped),
    ("api_server_retries_after_a_503", retry),
    ("observer_changes_nothing", observer),
];

/// Creates a pod under both failure policies, as a dry run. Returns the names of its init containers, or the error.
/// Waits until the outcome matches `first` under Fail and `then` under Ignore.
fn under_both(
    scenario: &Scenario<'_>,
    hook: &Hook,
    pod: &Value,
    first: impl Fn(&Outcome) -> bool,
    then: impl Fn(&Outcome) -> bool,
) -> [Outcome; 2] {
    ["Fail", "Ignore"].map(|policy| {
        scenario.register(&[hook.clone().with("failurePolicy", json!(policy))]);
        let (outcome, _) = wait::until("the webhook configuration to take effect", || {
            let outcome = scenario.dry_run(pod);
            let outcome =
                outcome.map(|pod| names(&pod, "initContainers").into_iter().map(str::to_owned).collect::<Vec<_>>());
            let matches = if policy == "Fail" { first(&outcome) } else { then(&outcome) };
            if matches { Ok(outcome) } else { Err(format!("{outcome:?}")) }
        });
        outcome
    })
}

type Outcome = Result<Vec<String>, ApiError>;

fn failed_calls(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let sleeper = scenario.endpoint(|_| {
        thread::sleep(Duration::from_secs(3));
        json!({})
    });
    let refusing = RefusingAddress::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let refusing_url = format!("https://{}/mutate", refusing.address().expect("an address"));
    let ours = |url: &str| Hook::new("inject.sidecar.io", url, &webhook.authority);
    let requesting = pod("requesting", Some("fluent-bit"));
    for (what, hook, part) in [
        ("a closed port", ours(&refusing_url), "connection refused"),
        ("no answer in time", Hook::other("inject.sidecar.io", &sleeper).with("timeoutSeconds", json!(1)), "deadline"),
        ("an invalid answer", ours(&webhook.at("/nothing")), "could not find the requested resource"),
    ] {
        let matches = |outcome: &Outcome| outcome.as_ref().is_err_and(|error| error.message.contains(part));
        let [fail, ignore] = under_both(scenario, &hook, &requesting, matches, Outcome::is_ok);
        assert_eq!(fail.expect_err(what).code, 500, "{what}");
        assert_eq!(ignore.expect(what), [""; 0], "{what}: the pod is admitted unchanged");
    }
}

fn decisions(scenario: &Scenario<'_>) {
    let templates = [
        ("broken.yaml", "sidecars: [{name: broken}]\n"),
        ("fails.yaml", "sidecars: [{name: fails, image: \"${object.spec.nothing}\"}]\n"),
        ("crosses.yaml", "sidecars: [{name: crosses, image: i, lifecycle: {preStop: {sleep: {seconds: 31}}}}]\n"),
    ];
    let webhook = scenario.serve("webhook", &templates);
    for (template, code, part) in [
        ("absent", 403, "[UnknownTemplate]"),
        ("broken", 403, "whose template is invalid"),
        ("fails", 403, "[ExpressionFailed]"),
        ("crosses", 403, "[Conflict]"),
    ] {
        let matches = |outcome: &Outcome| outcome.as_ref().is_err_and(|error| error.message.contains(part));
        for outcome in under_both(scenario, &Hook::ours(&webhook), &pod("requesting", Some(template)), matches, matches)
        {
            assert_eq!(outcome.expect_err(template).code, code, "{template}: under both policies");
        }
    }
}

/// A problem that does not deny the pod is reported in its status, in the log and in the metrics. The test does not
/// check the warning.
fn skipped(scenario: &Scenario<'_>) {
    let fails = "onProblem: Skip\nsidecars: [{name: fails, image: \"${object.spec.nothing}\"}]\n";
    let webhook =
        scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT), ("fails.yaml", fails)]);
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    let stored = scenario.create(&pod("requesting", Some("fails, fluent-bit"))).expect("admitted");
    let entry = &status(&stored).expect("a status")["templates"][0];
    assert!(entry["skipped"]["reason"] == "ExpressionFailed", "{entry}");
    assert!(entry["skipped"]["message"].as_str().unwrap().contains("object.spec.nothing"), "{entry}");
    assert!(webhook.log().contains("injected in part") && webhook.log().contains("[ExpressionFailed]"));
    let line =
        "template_outcomes_total{template=\"fails\",version=\"\",outcome=\"skipped\",reason=\"ExpressionFailed\"} 1";
    assert!(webhook.metrics().1.contains(line), "{}", webhook.metrics().1);
}

/// After a 503 with `Retry-After`, the API server calls the webhook again and admits the pod.
fn retry(scenario: &Scenario<'_>) {
    let folder = scenario.folder.join("templates");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("fluent-bit.yaml"), crate::templates::FLUENT_BIT).unwrap();
    let webhook = Webhook::start_self_signed(&scenario.folder, "narrow", |command| {
        command.args(["--shutdown-delay", "0", "--body-memory", "8", "--templates"]).arg(&folder);
    });
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    let rejected = || webhook.metrics().1.contains("http_refusals_total{code=\"503\"}");
    wait::until("the API server to get a 503 and to retry", || {
        // Two incomplete bodies take all the memory until the API server gets a 503.
        let slow = [incomplete_body(&webhook), incomplete_body(&webhook)];
        let answered = AtomicBool::new(false);
        let requesting = pod("requesting", Some("fluent-bit"));
        let admitted = thread::scope(|scope| {
            scope.spawn(|| {
                while !rejected() && !answered.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
                drop(slow);
            });
            let admitted = scenario.dry_run(&requesting);
            answered.store(true, Ordering::Relaxed);
            admitted
        });
        let pod = admitted.expect("admitted after a retry");
        assert!(names(&pod, "initContainers").contains(&"fluent-bit"));
        rejected().then_some(()).ok_or_else(|| webhook.metrics().1)
    });
}

/// Connects a client that sends an incomplete body. The body takes half of the memory for bodies.
fn incomplete_body(webhook: &Webhook) -> TlsClient {
    let body = vec![b' '; 4 * 1024 * 1024 - 512];
    let mut slow = TlsClient::connect(webhook.listen(), &webhook.authority).expect("connect");
    slow.send(TlsClient::head(body.len() + 1).as_bytes()).expect("sent");
    slow.send(&body).expect("sent");
    slow
}

fn observer(scenario: &Scenario<'_>) {
    let folder = scenario.folder.join("templates");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("fluent-bit.yaml"), crate::templates::FLUENT_BIT).unwrap();
    let webhook = Webhook::start_self_signed(&scenario.folder, "observer", |command| {
        command.args(["--observe", "--shutdown-delay", "0", "--templates"]).arg(&folder);
    });
    scenario.register(&[Hook::ours(&webhook)]);
    wait::until("both decisions to be counted", || {
        for asks in ["fluent-bit", "absent"] {
            let admitted = scenario.dry_run(&pod("requesting", Some(asks))).expect("admitted");
            assert!(names(&admitted, "initContainers").is_empty() && status(&admitted).is_none());
        }
        let counted = |labels: &str| webhook.answered(labels) > 0;
        let both = counted("decision=\"Injected\"") && counted("reason=\"UnknownTemplate\"");
        both.then_some(()).ok_or_else(|| webhook.metrics().1)
    });
}

fn wrong_certificate(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let other_authority = Credentials::for_loopback().expect("a certificate").authority;
    let untrusted = Hook::new("inject.sidecar.io", &webhook.url(), &other_authority);

    // Fail: the pod is denied.
    scenario.register(std::slice::from_ref(&untrusted));
    let requesting = pod("requesting", Some("fluent-bit"));
    wait::until("pods to be denied", || match scenario.dry_run(&requesting) {
        Err(error) => Ok(error),
        Ok(_) => Err("admitted".to_owned()),
    });
    let error = scenario.create(&requesting).expect_err("denied");
    assert_eq!(error.code, 500, "{error}");
    assert!(error.message.contains("inject.sidecar.io") && error.message.contains("x509"), "{error}");
    assert!(scenario.stored().is_empty());

    // Ignore: the pod is admitted unchanged.
    scenario.register(&[untrusted.with("failurePolicy", json!("Ignore"))]);
    wait::until("pods to be admitted", || scenario.dry_run(&requesting).map_err(|error| error.to_string()));
    scenario.create(&requesting).expect("admitted");
    let stored = &scenario.stored()[0];
    assert!(names(stored, "initContainers").is_empty() && status(stored).is_none(), "{stored:#}");

    // The correct CA bundle takes effect without a restart.
    assert_eq!(webhook.answered(""), 0, "the API server sends no review over an untrusted connection");
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
}
