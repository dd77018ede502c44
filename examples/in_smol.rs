//! Calls awaited on smol: the first of two mirrors wins, and a page comes through a chain of calls.
//!
//! `cargo run --release --example in_smol`

use std::sync::Arc;
use std::time::Duration;

use concurrent::Result;
use concurrent::futures::{ThreadPoolExecutor, first_ok, is_cancel_requested};

/// A mirror answers after a while, unless another one was faster.
fn ask((mirror, delay): (&'static str, u32)) -> std::result::Result<String, String> {
    for _ in 0..delay {
        if is_cancel_requested() {
            return Err(format!("{mirror} was told to stop"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(format!("page of {mirror}"))
}

async fn fetch(pool: Arc<ThreadPoolExecutor>) -> Result<usize> {
    let mirrors = [("north", 40), ("south", 2)].map(|mirror| pool.submit(ask, mirror));
    let mirrors =
        mirrors.into_iter().map(|call| Ok(call?.flatten())).collect::<Result<Vec<_>>>()?;
    let page = first_ok(mirrors).await?; // the slower one is asked to stop
    println!("{page}");
    let length = pool.submit(|page: String| page.len(), page)?.map(|length| length * 1000);
    length.await
}

fn main() -> Result<()> {
    let pool = Arc::new(ThreadPoolExecutor::new(2)?);
    let tasks: Vec<_> = (0..3).map(|_| smol::spawn(fetch(Arc::clone(&pool)))).collect();
    smol::block_on(async {
        for task in tasks {
            println!("{} bytes", task.await?);
        }
        Ok(())
    })
}
