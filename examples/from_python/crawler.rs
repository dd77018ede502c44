//! A web crawler: follows all links of a site from its first page, each page once.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use concurrent::futures::{DoneAndNotDone, ReturnWhen, ThreadPoolExecutor, wait};

mod http;

const WORKERS: usize = 8;

/// The path comes back with the page, so that the frontier need not map futures to paths.
fn fetch((site, path): (String, String)) -> (String, io::Result<Vec<u8>>) {
    let page = http::get(&format!("{site}{path}"), Duration::from_secs(10));
    (path, page)
}

fn links(page: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(page);
    let links = text.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    links.map(|(link, _)| link.to_owned()).filter(|link| link.starts_with('/')).collect()
}

fn crawl(site: &str) -> concurrent::Result<(usize, usize, Vec<String>)> {
    let mut seen = HashSet::from(["/".to_owned()]);
    let (mut pages, mut size, mut broken) = (0, 0, Vec::new());
    let pool = ThreadPoolExecutor::new(WORKERS)?;
    let mut frontier = vec![pool.submit(fetch, (site.to_owned(), "/".to_owned()))?];
    while !frontier.is_empty() {
        // `wait` takes the futures and gives them back in two parts.
        let DoneAndNotDone { done, not_done } = wait(frontier, None, ReturnWhen::FirstCompleted);
        frontier = not_done;
        for future in done {
            let (path, page) = future.into_result()?;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    broken.push(format!("{path}: {error}"));
                    continue;
                }
            };
            pages += 1;
            size += page.len();
            for link in links(&page) {
                if seen.insert(link.clone()) {
                    frontier.push(pool.submit(fetch, (site.to_owned(), link))?);
                }
            }
        }
    }
    Ok((pages, size, broken))
}

fn main() -> concurrent::Result<()> {
    let site = std::env::args().nth(1).expect("the address of a server");
    let (pages, size, mut broken) = crawl(&site)?;
    println!("{pages} pages, {size} bytes");
    broken.sort();
    broken.iter().for_each(|line| println!("{line}"));
    Ok(())
}
