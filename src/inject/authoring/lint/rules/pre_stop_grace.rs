//! Hooks that sleep longer than the grace period of the pod.

use crate::inject::authoring::lint::containers::name;
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::authoring::lint::nodes::strings;
use crate::inject::diagnostic::Severity;
use crate::inject::kube::defaults;

pub(super) const RULE: Rule = Rule {
    id: "pre-stop-grace",
    severity: Severity::Warning,
    explanation: "A `preStop` hook sleeps for the pod's whole grace period or longer, so the container is killed \
        before the hook ends. Sleep for a shorter time, or raise `pod.terminationGracePeriodSeconds`.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sleep, '5']}}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 60']}}}}]",
            &["the preStop hook of a sleeps for 60 s, the grace period is 30 s"],
        ),
        (
            "sidecars: [{name: a, image: i, lifecycle: {preStop: {sleep: {seconds: 30}}}}]",
            &["the preStop hook of a sleeps for 30 s, the grace period is 30 s"],
        ),
        (
            "sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [/bin/sleep, '60']}}}}]",
            &["the preStop hook of a sleeps for 60 s, the grace period is 30 s"],
        ),
        (
            "sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 60; kill 1']}}}}]",
            &["the preStop hook of a sleeps for 60 s, the grace period is 30 s"],
        ),
        (
            "sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sleep, 1m]}}}}]",
            &["the preStop hook of a sleeps for 60 s, the grace period is 30 s"],
        ),
        (
            "sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 5 && sleep 40']}}}}]",
            &["the preStop hook of a sleeps for 45 s, the grace period is 30 s"],
        ),
        // The template can set the grace period.
        (
            "pod: {terminationGracePeriodSeconds: 90}\n\
             sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sleep, 1m]}}}}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    const FIELD: &str = "terminationGracePeriodSeconds";
    let pod = linter.node.get("pod").filter(|pod| pod.get(FIELD).is_some());
    // The result of an expression is not known.
    let default = || defaults::of_spec(FIELD)?.as_i64();
    let Some(grace) = pod.map_or_else(default, |pod| pod.integer(FIELD)) else { return };
    for container in linter.containers() {
        let Some(hook) = container.get("lifecycle").and_then(|lifecycle| lifecycle.get("preStop")) else { continue };
        let by_action = hook.get("sleep").and_then(|sleep| sleep.integer("seconds"));
        let command = hook.get("exec").map(|exec| strings(exec, "command")).unwrap_or_default();
        let words: Vec<&str> = command.into_iter().map(|(_, word)| word).collect();
        let sleep = by_action.unwrap_or_else(|| sleeps(&words.join(" ")));
        if sleep >= grace {
            let message =
                format!("the preStop hook of {} sleeps for {sleep} s, the grace period is {grace} s", name(container));
            linter.find(hook.span, message);
        }
    }
}

/// The total time that a command sleeps, in seconds.
fn sleeps(command: &str) -> i64 {
    let words: Vec<&str> = command.split(|c: char| c.is_whitespace() || ";&|()".contains(c)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let sleep = |pair: &[&str]| (pair[0].rsplit('/').next() == Some("sleep")).then(|| seconds(pair[1])).flatten();
    words.windows(2).filter_map(sleep).sum()
}

/// Parses a duration of `sleep` (GNU coreutils) into seconds. Fractions and days are ignored.
fn seconds(word: &str) -> Option<i64> {
    let (digits, unit) = word.split_at(word.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}
