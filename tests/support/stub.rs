//! A stub for the ConfigMaps of the API server: paged lists and watches, and their errors. It uses plain HTTP on
//! loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use super::process::RefusingAddress;
use super::wait;

/// The stub. It answers while it is up.
pub(crate) struct Stub {
    store: Arc<Store>,
    address: SocketAddr,
    runtime: Option<Runtime>,
    /// Holds the address while the stub is down.
    down: Option<RefusingAddress>,
}

struct Store {
    objects: Mutex<Objects>,
    events: broadcast::Sender<Message>,
    list_delay: Mutex<Duration>,
}

#[derive(Default)]
struct Objects {
    version: u64,
    by_name: BTreeMap<String, Value>,
    lists: usize,
}

/// A message to all watches.
#[derive(Clone)]
enum Message {
    Event(Value),
    /// The connection breaks.
    Reset,
}

impl Stub {
    pub(crate) fn start() -> Self {
        let store = Store {
            objects: Mutex::default(),
            events: broadcast::channel(100_000).0,
            list_delay: Mutex::new(Duration::ZERO),
        };
        let down = RefusingAddress::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let address = down.address().expect("an address");
        let mut stub = Self { store: Arc::new(store), address, runtime: None, down: Some(down) };
        stub.up();
        stub
    }

    /// Starts to answer, at the same address as before.
    pub(crate) fn up(&mut self) {
        let Some(down) = self.down.take() else { return };
        let runtime = Runtime::new().expect("a runtime");
        let inside = runtime.enter();
        let listener = down.listen().expect("listen");
        drop(inside);
        let routes = Router::new()
            .route("/api/v1/namespaces/{namespace}/configmaps", get(config_maps))
            .with_state(Arc::clone(&self.store));
        runtime.spawn(axum::serve(listener, routes).into_future());
        self.runtime = Some(runtime);
    }

    /// Closes all connections and stops listening. Afterwards, connections are refused.
    pub(crate) fn down(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(wait::BOUND);
            self.down = Some(RefusingAddress::bind(self.address).expect("bind"));
        }
    }

    /// A kubeconfig for the stub.
    pub(crate) fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "stub", "user": {}}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
        })
        .to_string()
    }

    /// Creates or changes a ConfigMap of templates.
    pub(crate) fn set(&self, name: &str, template: &str) {
        let mut objects = self.store.objects.lock().expect("unpoisoned");
        let event = objects.set(name, template);
        // There may be no watch.
        let _ = self.store.events.send(Message::Event(event));
    }

    /// Changes a ConfigMap without an event.
    pub(crate) fn set_without_event(&self, name: &str, template: &str) {
        self.store.objects.lock().expect("unpoisoned").set(name, template);
    }

    /// Sends the error "resource version too old" to all watches.
    pub(crate) fn expire(&self) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "too old resource version", "reason": "Expired", "code": 410});
        let _ = self.store.events.send(Message::Event(json!({"type": "ERROR", "object": status})));
    }

    /// Closes the connections of all watches.
    pub(crate) fn reset(&self) {
        let _ = self.store.events.send(Message::Reset);
    }

    /// Sets the delay of each page of a list.
    pub(crate) fn list_delay(&self, time: Duration) {
        *self.store.list_delay.lock().expect("unpoisoned") = time;
    }

    /// The number of pages of templates that were listed.
    pub(crate) fn lists(&self) -> usize {
        self.store.objects.lock().expect("unpoisoned").lists
    }
}

impl Objects {
    fn set(&mut self, name: &str, template: &str) -> Value {
        self.version += 1;
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name, "namespace": "home", "uid": name, "resourceVersion": self.version.to_string(),
                "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"sidecar.io/template": "true"},
            },
            "data": {format!("{name}.yaml"): template},
        });
        let known = self.by_name.insert(name.to_owned(), object.clone()).is_some();
        json!({"type": if known { "MODIFIED" } else { "ADDED" }, "object": object})
    }
}

async fn config_maps(State(store): State<Arc<Store>>, uri: Uri) -> Response {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<&str, &str> = pairs.collect();
    let is_template = query.get("labelSelector").is_some_and(|selector| selector.contains("template"));
    if query.contains_key("watch") {
        let since = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        return watch(&store, is_template, since);
    }
    let takes = *store.list_delay.lock().expect("unpoisoned");
    tokio::time::sleep(takes).await;
    let mut objects = store.objects.lock().expect("unpoisoned");
    objects.lists += usize::from(is_template);
    let version = objects.version.to_string();
    let limit: usize = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let after = query.get("continue").copied().unwrap_or_default();
    let rest: Vec<&Value> = objects
        .by_name
        .iter()
        .filter(|(name, _)| is_template && name.as_str() > after)
        .map(|(_, object)| object)
        .collect();
    let page: Vec<&Value> = rest.iter().take(limit).copied().collect();
    let more = (rest.len() > page.len()).then(|| page.last().map(|last| last["metadata"]["name"].clone()));
    let list = json!({
        "apiVersion": "v1", "kind": "ConfigMapList",
        "metadata": {"resourceVersion": version, "continue": more.flatten().unwrap_or_else(|| json!(""))},
        "items": page,
    });
    (StatusCode::OK, [("content-type", "application/json")], list.to_string()).into_response()
}

fn watch(store: &Store, is_template: bool, since: u64) -> Response {
    // Changes since that version are sent first.
    let (missed, events) = {
        let objects = store.objects.lock().expect("unpoisoned");
        let newer = objects.by_name.values().filter(|object| {
            let version =
                object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse::<u64>().ok());
            version > Some(since)
        });
        let lines = newer.map(|object| {
            Ok::<_, std::io::Error>(Bytes::from(format!("{}\n", json!({"type": "MODIFIED", "object": object}))))
        });
        (lines.collect::<Vec<_>>(), store.events.subscribe())
    };
    let stream = futures_util::stream::unfold(events, |mut events| async move {
        match events.recv().await {
            Ok(Message::Event(event)) => Some((Ok::<_, std::io::Error>(Bytes::from(format!("{event}\n"))), events)),
            Ok(Message::Reset) | Err(_) => Some((Err(std::io::ErrorKind::ConnectionReset.into()), events)),
        }
    });
    let stream = futures_util::stream::iter(missed).chain(stream);
    let body =
        if is_template { Body::from_stream(stream) } else { Body::from_stream(stream.filter(|_| async { false })) };
    (StatusCode::OK, [("content-type", "application/json")], body).into_response()
}
