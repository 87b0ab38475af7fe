//! A minimal HTTP client for the health and metrics pages on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait;

/// Gets a path. Returns the status code and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    send(address, "GET", path, "")
}

/// Sends a request. Returns the status code and the body.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, wait::BOUND)?;
    stream.set_read_timeout(Some(wait::BOUND))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.unwrap_or(0), body.to_owned()))
}
