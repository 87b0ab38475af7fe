//! A blocking HTTP/1.1 client over one TLS connection. Tests can send parts of a request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Same as `wait::BOUND`. This file must not use other parts of `support`, because the demo includes it.
const TIMEOUT: Duration = Duration::from_secs(600);

/// One connection to our webhook.
pub(crate) struct TlsClient {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status code.
    pub(crate) status: u16,
    /// The header lines in lower case.
    pub(crate) headers: String,
    /// The body.
    pub(crate) body: String,
}

impl TlsClient {
    /// Connects and completes the handshake. Trusts only `authority` (PEM).
    pub(crate) fn connect(address: SocketAddr, authority: &str) -> std::io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM");
        roots.add(authority).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut stream = StreamOwned::new(connection, socket);
        stream.conn.complete_io(&mut stream.sock)?;
        Ok(Self { stream })
    }

    /// Sends bytes without changes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The head of a request with a review of `length` bytes. The timeout is one minute, which is enough on a busy
    /// machine.
    pub(crate) fn head(length: usize) -> String {
        format!(
            "POST /mutate?timeout=60s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    }

    /// Sends a review to a path with the same headers as the API server.
    pub(crate) fn call(&mut self, path: &str, review: &str) -> std::io::Result<Answer> {
        let head = format!(
            "POST {path}?timeout=60s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
            review.len()
        );
        self.exchange(&head, review)
    }

    /// Sends a review and reads the answer.
    pub(crate) fn post(&mut self, review: &str) -> std::io::Result<Answer> {
        self.exchange(&Self::head(review.len()), review)
    }

    /// Sends the head and the body together. A busy machine can pause the client between two writes, and the webhook
    /// would treat it as a slow client.
    fn exchange(&mut self, head: &str, body: &str) -> std::io::Result<Answer> {
        self.send([head, body].concat().as_bytes())?;
        self.answer()
    }

    /// Reads one answer.
    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = complete_answer(&bytes) {
                return Ok(answer);
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                length => bytes.extend_from_slice(&part[..length]),
            }
        }
    }
}

fn complete_answer(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let headers = head.to_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() >= length).then(|| Answer { status, headers, body: body.to_owned() })
}
