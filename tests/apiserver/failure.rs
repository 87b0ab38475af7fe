//! When the API server cannot trust us: a certificate that its `caBundle` does not cover.

use serde_json::json;

use crate::Entry;
use crate::objects::{names, pod, status};
use crate::scenario::{Hook, Scenario};
use crate::support::credentials::Credentials;
use crate::support::wait;

pub(crate) const SCENARIOS: &[Entry] = &[("wrong_certificate_refuses_pods_or_leaves_them_bare", wrong_certificate)];

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
