//! A webhook of another system: a small TLS server inside the test. A closure answers the reviews. The server keeps the
//! bodies of all requests, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::credentials::Credentials;

/// A running endpoint. It stops when it is dropped.
pub(crate) struct Endpoint {
    address: SocketAddr,
    /// The authority (PEM) for the `caBundle`.
    pub(crate) authority: String,
    received: Received,
    task: JoinHandle<()>,
}

type Received = Arc<Mutex<Vec<Vec<u8>>>>;
type Answer = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

impl Endpoint {
    /// Listens on a free loopback port. `answer` returns the answer to a review. It may block.
    pub(crate) fn start(runtime: &Handle, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        let credentials = Credentials::for_loopback().expect("create a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&credentials)));
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("bind a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let received = Received::default();
        let task = runtime.spawn(accept(listener, acceptor, Arc::new(answer), Arc::clone(&received)));
        Self { address, authority: credentials.authority, received, task }
    }

    /// The URL for webhook configurations.
    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// The bodies that were received so far, in order.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().expect("no panic while recording").clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer that admits a pod without changes.
pub(crate) fn allow(review: &Value) -> Value {
    answer(review, json!({"allowed": true}))
}

/// The answer that changes the pod with a JSON Patch.
pub(crate) fn change(review: &Value, operations: &Value) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let patch = STANDARD.encode(operations.to_string());
    answer(review, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

fn answer(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

fn server_config(credentials: &Credentials) -> rustls::ServerConfig {
    let certificate = CertificateDer::from_pem_slice(credentials.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::try_from(credentials.key.serialize_der()).expect("a key");
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key belongs to the certificate")
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, answer: Answer, received: Received) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&answer), Arc::clone(&received)));
    }
}

/// Serves one connection until it ends or an error occurs. The API server reports errors.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, answer: Answer, received: Received) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request| respond(request, Arc::clone(&answer), Arc::clone(&received)));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: Request<Incoming>,
    answer: Answer,
    received: Received,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let body = request.into_body().collect().await?.to_bytes();
    received.lock().expect("no panic while recording").push(body.to_vec());
    let review: Value = serde_json::from_slice(&body)?;
    let answer = tokio::task::spawn_blocking(move || answer(&review)).await?;
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::from(answer.to_string()))?)
}
