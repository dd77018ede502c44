//! As much of Python's `urllib.request` as the examples need: HTTP/1.0, no TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Fetches a page; a status that is not 200 is an error with urllib's text.
pub(crate) fn get(url: &str, timeout: Duration) -> io::Result<Vec<u8>> {
    let parts = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'));
    let (host, path) = parts.ok_or_else(|| io::Error::other(format!("{url} is not http://")))?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(timeout))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;

    let mut response = BufReader::new(stream);
    let mut status = String::new();
    response.read_line(&mut status)?;
    let status = status.trim_end().split_once(' ').map_or("", |(_version, status)| status);
    let (code, reason) = status.split_once(' ').unwrap_or((status, ""));
    if code != "200" {
        return Err(io::Error::other(format!("HTTP Error {code}: {reason}")));
    }
    for header in response.by_ref().lines() {
        if header?.is_empty() {
            break;
        }
    }
    let mut page = Vec::new();
    response.read_to_end(&mut page)?;
    Ok(page)
}
