//! The rules of `resources`, `resizePolicy` and the divisors of resource fields.

use crate::inject::document::{Node, Value};
use crate::inject::kube::names::is_qualified_name;
use crate::inject::kube::quantity::{HUGE_PAGES, quantity};
use crate::inject::kube::rules::{Fault, Function};

/// The resources of a container whose names have no domain (`IsStandardContainerResourceName`).
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const ONE: i128 = 1_000_000_000;

/// `ValidateContainerResourceRequirements`, `validateContainerResourceName`.
pub(super) static RESOURCES: Function = Function {
    what: "Names of resources are cpu, memory, ephemeral-storage, hugepages-SIZE or DOMAIN/NAME. No amount is negative, \
           and no request is above its limit. Huge pages and DOMAIN/NAME need a limit that equals the request, DOMAIN/NAME \
           whole numbers. Huge pages also need cpu or memory, and their amount is a multiple of SIZE",
    check: resources,
    accepted: &[
        r#"{"requests":{"cpu":"1"},"limits":{"cpu":"1","memory":"1Gi","example.com/gpu":"2"}}"#,
        r#"{"requests":{"cpu":"1","hugepages-2Mi":"4Mi"},"limits":{"hugepages-2Mi":"4Mi"}}"#,
    ],
    refused: &[
        r#"{"requests":{"nope":"1"}}"#,
        r#"{"requests":{"storage":"1"}}"#,
        r#"{"requests":{"a b/c":"1"}}"#,
        r#"{"limits":{"requests.example.com/a":"1"}}"#,
        r#"{"requests":{"cpu":"-1"}}"#,
        r#"{"limits":{"cpu":"-1"}}"#,
        r#"{"requests":{"cpu":"2"},"limits":{"cpu":"1000m"}}"#,
        r#"{"requests":{"example.com/a":"1"}}"#,
        r#"{"requests":{"example.com/a":"1"},"limits":{"example.com/a":"2"}}"#,
        r#"{"limits":{"example.com/a":"500m"}}"#,
        r#"{"limits":{"hugepages-2Mi":"4Mi"}}"#,
        r#"{"limits":{"cpu":"1","hugepages-2Mi":"3Mi"}}"#,
        r#"{"limits":{"cpu":"1","hugepages-x":"4Mi"}}"#,
        r#"{"requests":{"cpu":"1","hugepages-2Mi":"4Mi"}}"#,
    ],
};

/// One named resource of a container.
struct Amount<'n> {
    name: &'n str,
    request: Option<&'n Node>,
    limit: Option<&'n Node>,
}

fn resources(node: &Node) -> Vec<Fault> {
    // A whole map that an expression sets is checked when it is known.
    if ["requests", "limits"].into_iter().any(|field| node.get(field).is_some_and(|node| !node.is_known())) {
        return Vec::new();
    }
    let entries = |field: &str| node.get(field).map(Node::entries).unwrap_or_default();
    let get = |field: &str, name: &str| node.get(field).and_then(|map| map.get(name));
    let names = entries("requests").iter().map(|(key, _)| key.name.as_str());
    let only_limits = entries("limits").iter().map(|(key, _)| key.name.as_str());
    let only_limits = only_limits.filter(|name| get("requests", name).is_none());
    let (mut faults, mut huge, mut common) = (Vec::new(), false, false);
    for name in names.chain(only_limits) {
        huge |= name.starts_with(HUGE_PAGES);
        common |= matches!(name, "cpu" | "memory");
        let amount = Amount { name, request: get("requests", name), limit: get("limits", name) };
        faults.extend(amount.fault().map(|(member, what)| (member, format!(".{member}.{name} {what}"))));
    }
    if huge && !common {
        faults.push(("limits", ": huge pages need cpu or memory".into()));
    }
    faults
}

impl Amount<'_> {
    fn fault(&self) -> Option<(&'static str, String)> {
        let member = if self.request.is_some() { "requests" } else { "limits" };
        if let Some(why) = self.name_fault() {
            return Some((member, why));
        }
        let (request, limit) = (self.request.and_then(value), self.limit.and_then(value));
        for (member, value) in [("requests", request), ("limits", limit)] {
            if value.is_some_and(|value| value < 0) {
                return Some((member, "cannot be negative".into()));
            }
            if self.is_extended() && value.is_some_and(|value| value % ONE != 0) {
                return Some((member, "must be a whole number".into()));
            }
            if let Some(size) = self.name.strip_prefix(HUGE_PAGES) {
                let size = quantity(size).filter(|size| *size > 0)?;
                if value.is_some_and(|value| value % size != 0) {
                    return Some((member, "must be a multiple of the page size".into()));
                }
            }
        }
        if self.is_extended() || self.name.starts_with(HUGE_PAGES) {
            if self.request.is_some() && self.limit.is_none() {
                return Some(("requests", "needs a limit".into()));
            }
            if request.zip(limit).is_some_and(|(request, limit)| request != limit) {
                return Some(("requests", "must equal the limit".into()));
            }
        }
        let above = request.zip(limit).is_some_and(|(request, limit)| request > limit);
        above.then(|| ("requests", "is more than its limit".into()))
    }

    /// True for a resource of a device plugin (`IsExtendedResourceName`).
    fn is_extended(&self) -> bool {
        self.name.split_once('/').is_some_and(|(domain, _)| !domain.contains("kubernetes.io"))
    }

    fn name_fault(&self) -> Option<String> {
        let is_page = |size: &str| quantity(size).is_some_and(|size| size > 0);
        let is_valid = match (self.name.strip_prefix(HUGE_PAGES), self.is_extended()) {
            (Some(size), _) => is_page(size),
            (None, true) => {
                let quota = format!("requests.{}", self.name);
                is_qualified_name(self.name) && !self.name.starts_with("requests.") && is_qualified_name(&quota)
            }
            (None, false) => is_qualified_name(self.name) && (self.name.contains('/') || STANDARD.contains(&self.name)),
        };
        let help = "use cpu, memory, ephemeral-storage, hugepages-SIZE or DOMAIN/NAME";
        (!is_valid).then(|| format!("is not a resource of a container; {help}"))
    }
}

/// The known value of a quantity, in 10^-9 units.
fn value(node: &Node) -> Option<i128> {
    match &node.value {
        Value::String(text) => quantity(text),
        _ => None,
    }
}

/// `validateResourceClaimNames`.
pub(super) static CLAIMS: Function = Function {
    what: "No claim, and no request of a claim, is named twice",
    check: |node| {
        let mut seen: Vec<(&str, Option<&str>)> = Vec::new();
        for claim in node.items("claims") {
            let (Some(name), request) = (claim.text("name"), claim.text("request").filter(|text| !text.is_empty()))
            else {
                continue;
            };
            let is_unknown = claim.get("request").is_some_and(|node| !node.is_known());
            let clashes = |(other, of): &(&str, Option<&str>)| {
                *other == name && (of.is_none() || request.is_none() || *of == request)
            };
            if !is_unknown && seen.iter().any(clashes) {
                return vec![("claims", format!(".claims names {name} twice"))];
            }
            seen.push((name, request));
        }
        Vec::new()
    },
    accepted: &[r#"{"claims":[{"name":"c","request":"a"},{"name":"c","request":"b"}]}"#],
    refused: &[
        r#"{"claims":[{"name":"c"},{"name":"c"}]}"#,
        r#"{"claims":[{"name":"c"},{"name":"c","request":"a"}]}"#,
        r#"{"claims":[{"name":"c","request":"a"},{"name":"c","request":"a"}]}"#,
    ],
};

/// `validateContainerResourceDivisor`.
pub(super) static DIVISOR: Function = Function {
    what: "divisor is 1 or 1m for cpu, else 1 with an optional unit from k to E or from Ki to Ei",
    check: |node| {
        let (Some(divisor), Some(resource)) = (node.text("divisor"), node.text("resource")) else { return Vec::new() };
        let is_cpu = resource.split('.').next_back() == Some("cpu");
        let units = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let units = if is_cpu { &["", "m"][..] } else { &units };
        // The API server compares the shortest notation, and zero means one.
        let is_valid = |divisor: &str| {
            let value = quantity(divisor);
            value == Some(0) || units.iter().any(|unit| quantity(&format!("1{unit}")) == value)
        };
        let help = if is_cpu { "1 or 1m" } else { "1, 1k, 1M, 1Ki, 1Mi and so on" };
        if is_valid(divisor) {
            Vec::new()
        } else {
            vec![("divisor", format!(".divisor must be {help}, not {divisor}"))]
        }
    },
    accepted: &[
        r#"{"resource":"limits.cpu","divisor":"1m","containerName":"app"}"#,
        r#"{"resource":"limits.memory","divisor":"1Mi","containerName":"app"}"#,
    ],
    refused: &[
        r#"{"resource":"limits.cpu","divisor":"10m","containerName":"app"}"#,
        r#"{"resource":"limits.cpu","divisor":"1Mi","containerName":"app"}"#,
        r#"{"resource":"limits.memory","divisor":"5Mi","containerName":"app"}"#,
        r#"{"resource":"limits.memory","divisor":"1m","containerName":"app"}"#,
    ],
};

/// `validateInitContainers`.
pub(super) static RESTART_OF_INIT: Function = Function {
    what: "An init container that does not keep running has no resizePolicy with RestartContainer",
    check: |node| {
        let restarts = |policy: &&Node| policy.text("restartPolicy") == Some("RestartContainer");
        let fault = (
            "resizePolicy",
            ".resizePolicy: the restartPolicy RestartContainer is not allowed in an init container".into(),
        );
        if node.items("resizePolicy").iter().any(|policy| restarts(&policy)) { vec![fault] } else { Vec::new() }
    },
    accepted: &[r#"{"name":"a","image":"a","resizePolicy":[{"resourceName":"cpu","restartPolicy":"NotRequired"}]}"#],
    refused: &[
        r#"{"name":"a","image":"a","resizePolicy":[{"resourceName":"cpu","restartPolicy":"RestartContainer"}]}"#,
    ],
};
