//! The example of `ThreadPoolExecutor` in Python's documentation, on a local server.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use concurrent::futures::{ThreadPoolExecutor, as_completed};

mod http;

const PAGES: [&str; 5] = ["page/1", "page/2", "page/3", "missing", "page/4"];

// Retrieve a single page and report the URL and contents
fn load_url((url, timeout): (String, Duration)) -> io::Result<Vec<u8>> {
    http::get(&url, timeout)
}

fn main() -> concurrent::Result<()> {
    let server = std::env::args().nth(1).expect("the address of a server");
    let urls = PAGES.map(|page| format!("{server}/{page}"));

    // The end of the block is that of Python's with statement
    let executor = ThreadPoolExecutor::new(5)?;
    // Start the load operations and mark each future with its URL
    let mut future_to_url = HashMap::new();
    for url in &urls {
        let load = executor.submit(load_url, (url.clone(), Duration::from_secs(60)))?;
        future_to_url.insert(load.flatten(), url); // an `Err` is the call's exception
    }
    for future in as_completed(future_to_url.keys()) {
        let url = future_to_url[future];
        match future.result() {
            Err(concurrent::Error::Raised(exc)) => {
                println!("'{url}' generated an exception: {exc}");
            }
            data => println!("'{url}' page is {} bytes", data?.len()),
        }
    }
    Ok(())
}
