//! What becomes of pods when something is wrong: with us, with the way to us, or with a template. The webhook's
//! failurePolicy decides on calls that fail, and on nothing else.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{names, pod, status};
use crate::scenario::{Hook, Scenario};
use crate::support::cluster::Refusal;
use crate::support::credentials::Credentials;
use crate::support::process::RefusingAddress;
use crate::support::tls_client::TlsClient;
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("wrong_certificate_refuses_pods_or_leaves_them_bare", wrong_certificate),
    ("calls_that_fail_are_the_failure_policys", failed_calls),
    ("decisions_are_not_the_failure_policys", decisions),
    ("template_that_is_left_out_shows_everywhere", left_out),
    ("api_server_comes_again_when_told_to", come_again),
    ("observer_changes_nothing", observer),
];

/// What the API server makes of a pod under both failure policies: its refusal, or the names of its init containers.
/// `first` tells what to wait for under Fail, `then` under Ignore.
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
            let is_it = if policy == "Fail" { first(&outcome) } else { then(&outcome) };
            if is_it { Ok(outcome) } else { Err(format!("{outcome:?}")) }
        });
        outcome
    })
}

type Outcome = Result<Vec<String>, Refusal>;

fn failed_calls(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let sleeper = scenario.endpoint(|_| {
        thread::sleep(Duration::from_secs(3));
        json!({})
    });
    let refusing = RefusingAddress::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let refusing_url = format!("https://{}/mutate", refusing.address().expect("an address"));
    let ours = |url: &str| Hook::new("inject.sidecar.io", url, &webhook.authority);
    let asking = pod("asking", Some("fluent-bit"));
    for (what, hook, part) in [
        ("nobody listens", ours(&refusing_url), "connection refused"),
        ("no answer in time", Hook::theirs("inject.sidecar.io", &sleeper).with("timeoutSeconds", json!(1)), "deadline"),
        ("an answer that is none", ours(&webhook.at("/nothing")), "could not find the requested resource"),
    ] {
        let is_it = |outcome: &Outcome| outcome.as_ref().is_err_and(|refusal| refusal.message.contains(part));
        let [fail, ignore] = under_both(scenario, &hook, &asking, is_it, Outcome::is_ok);
        assert_eq!(fail.expect_err(what).code, 500, "{what}");
        assert_eq!(ignore.expect(what), [""; 0], "{what}: the pod gets in as it is");
    }
}

fn decisions(scenario: &Scenario<'_>) {
    let templates = [
        ("broken.yaml", "sidecars: [{name: broken}]\n"),
        ("fails.yaml", "sidecars: [{name: fails, image: \"${object.spec.nothing}\"}]\n"),
        // Not every rule of the API server is known before.
        (
            "invalid.yaml",
            "sidecars: [{name: invalid, image: i, securityContext: {privileged: true, allowPrivilegeEscalation: false}}]\n",
        ),
    ];
    let webhook = scenario.serve("webhook", &templates);
    for (template, code, part) in [
        ("absent", 403, "[UnknownTemplate]"),
        ("broken", 403, "whose template is invalid"),
        ("fails", 403, "[ExpressionFailed]"),
        ("invalid", 422, "allowPrivilegeEscalation"),
    ] {
        let is_it = |outcome: &Outcome| outcome.as_ref().is_err_and(|refusal| refusal.message.contains(part));
        for outcome in under_both(scenario, &Hook::ours(&webhook), &pod("asking", Some(template)), is_it, is_it) {
            assert_eq!(outcome.expect_err(template).code, code, "{template}: under Ignore as well");
        }
    }
}

/// A problem that does not refuse the pod shows in its status, the log and the metrics (the warning is the client's).
fn left_out(scenario: &Scenario<'_>) {
    let fails = "onProblem: Skip\nsidecars: [{name: fails, image: \"${object.spec.nothing}\"}]\n";
    let webhook =
        scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT), ("fails.yaml", fails)]);
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    let stored = scenario.create(&pod("asking", Some("fails, fluent-bit"))).expect("admitted");
    let entry = &status(&stored).expect("a status")["templates"][0];
    assert!(entry["skipped"]["reason"] == "ExpressionFailed", "{entry}");
    assert!(entry["skipped"]["message"].as_str().unwrap().contains("object.spec.nothing"), "{entry}");
    assert!(webhook.log().contains("injected in part") && webhook.log().contains("[ExpressionFailed]"));
    let line =
        "template_outcomes_total{template=\"fails\",version=\"\",outcome=\"skipped\",reason=\"ExpressionFailed\"} 1";
    assert!(webhook.metrics().1.contains(line), "{}", webhook.metrics().1);
}

/// Integer Retry-After: the pod's creator notices nothing.
fn come_again(scenario: &Scenario<'_>) {
    let folder = scenario.folder.join("templates");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("fluent-bit.yaml"), crate::templates::FLUENT_BIT).unwrap();
    let webhook = Webhook::start_self_signed(&scenario.folder, "narrow", |command| {
        command.args(["--shutdown-delay", "0", "--body-memory", "8", "--templates"]).arg(&folder);
    });
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    let turned_away = || webhook.metrics().1.contains("http_refusals_total{code=\"503\"}");
    wait::until("the API server to be turned away, and to come again", || {
        // Two bodies that never end have all the memory until the API server has been turned away.
        let slow = [half_a_body(&webhook), half_a_body(&webhook)];
        let answered = AtomicBool::new(false);
        let asking = pod("asking", Some("fluent-bit"));
        let admitted = thread::scope(|scope| {
            scope.spawn(|| {
                while !turned_away() && !answered.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
                drop(slow);
            });
            let admitted = scenario.dry_run(&asking);
            answered.store(true, Ordering::Relaxed);
            admitted
        });
        let pod = admitted.expect("admitted all the same");
        assert!(names(&pod, "initContainers").contains(&"fluent-bit"));
        turned_away().then_some(()).ok_or_else(|| webhook.metrics().1)
    });
}

/// A client that has sent all but the end of half the memory for bodies.
fn half_a_body(webhook: &Webhook) -> TlsClient {
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
            let admitted = scenario.dry_run(&pod("asking", Some(asks))).expect("admitted");
            assert!(names(&admitted, "initContainers").is_empty() && status(&admitted).is_none());
        }
        let counted = |labels: &str| webhook.answered(labels) > 0;
        let both = counted("decision=\"Injected\"") && counted("reason=\"UnknownTemplate\"");
        both.then_some(()).ok_or_else(|| webhook.metrics().1)
    });
}

fn wrong_certificate(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let stranger = Credentials::for_loopback().expect("a certificate").authority;
    let distrusted = Hook::new("inject.sidecar.io", &webhook.url(), &stranger);

    // Fail: nothing gets in without us.
    scenario.register(std::slice::from_ref(&distrusted));
    let asking = pod("asking", Some("fluent-bit"));
    wait::until("pods to be refused", || match scenario.dry_run(&asking) {
        Err(refusal) => Ok(refusal),
        Ok(_) => Err("admitted".to_owned()),
    });
    let refusal = scenario.create(&asking).expect_err("refused");
    assert_eq!(refusal.code, 500, "{refusal}");
    assert!(refusal.message.contains("inject.sidecar.io") && refusal.message.contains("x509"), "{refusal}");
    assert!(scenario.stored().is_empty());

    // Ignore: pods get in as they are.
    scenario.register(&[distrusted.with("failurePolicy", json!("Ignore"))]);
    wait::until("pods to be admitted", || scenario.dry_run(&asking).map_err(|refusal| refusal.to_string()));
    scenario.create(&asking).expect("admitted");
    let stored = &scenario.stored()[0];
    assert!(names(stored, "initContainers").is_empty() && status(stored).is_none(), "{stored:#}");

    // The right bundle takes effect without a restart of anything.
    assert_eq!(webhook.answered(""), 0, "no review came through a connection that was not trusted");
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
}
