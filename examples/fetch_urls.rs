//! Python's documentation example: loads pages in parallel and reports each as it arrives.
//!
//! The pages come from a small server that the example starts on the loopback interface: two good
//! ones, a missing one, and one that takes longer than the client waits.
//!
//! `cargo run --release --example fetch_urls`

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use concurrent::futures::{ThreadPoolExecutor, as_completed};

const TIMEOUT: Duration = Duration::from_millis(500);

/// Retrieves a single page. No answer for `timeout` is an error.
fn load_url((url, timeout): (String, Duration)) -> io::Result<Vec<u8>> {
    let (host, path) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "not a http:// address"))?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(timeout))?;
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;

    let mut response = BufReader::new(stream);
    let mut status = String::new();
    response.read_line(&mut status).map_err(|error| match error.kind() {
        // Systems name a read that timed out differently.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, format!("no answer within {timeout:?}"))
        }
        _ => error,
    })?;
    let status = status.trim_end().strip_prefix("HTTP/1.0 ").unwrap_or("no HTTP/1.0 status");
    if status != "200 OK" {
        return Err(io::Error::other(status.to_owned()));
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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = start_server()?;
    let urls = ["fox", "slow", "missing", "news"].map(|page| format!("http://{server}/{page}"));

    let pool = ThreadPoolExecutor::new(5)?;
    let mut future_to_url = HashMap::new();
    for url in &urls {
        // Flattened, so that the `Err` of `load_url` is the call's failure, like a Python exception.
        future_to_url.insert(pool.submit(load_url, (url.clone(), TIMEOUT))?.flatten(), url);
    }
    for future in as_completed(future_to_url.keys()) {
        let url = future_to_url[future];
        match future.result() {
            Ok(page) => println!("{url} page is {} bytes", page.len()),
            Err(error) => println!("{url} failed: {error}"),
        }
    }
    Ok(())
}

/// Serves pages on a free port, a thread for each connection, until the process ends.
fn start_server() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut request = BufReader::new(&stream).lines();
    let line = request.next().unwrap_or_else(|| Ok(String::new()))?;
    // Reads the rest of the request: a socket closed with unread bytes resets the connection.
    while request.next().transpose()?.is_some_and(|header| !header.is_empty()) {}
    let (status, page) = match line.split(' ').nth(1) {
        Some("/fox") => ("200 OK", "The quick brown fox jumps over the lazy dog.\n".to_owned()),
        Some("/news") => ("200 OK", "No news is good news.\n".repeat(1000)),
        Some("/slow") => {
            thread::sleep(4 * TIMEOUT);
            ("200 OK", "Sorry to keep you waiting.\n".to_owned())
        }
        _ => ("404 Not Found", String::new()),
    };
    let length = page.len();
    write!(&stream, "HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n{page}")
}
