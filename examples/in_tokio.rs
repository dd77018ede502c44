//! A server of checksums on tokio: it hashes on a pool of threads, and stays free meanwhile.
//!
//! Requests await their calls, a deadline ends a call that takes too long, and a thread outside of tokio
//! waits for a task.
//!
//! `cargo run --release --example in_tokio`

use std::sync::Arc;
use std::time::{Duration, Instant};

use concurrent::Result;
use concurrent::futures::{Promise, ThreadPoolExecutor, is_cancel_requested};
use sha2::{Digest, Sha256};

fn checksum(bytes: Vec<u8>) -> String {
    Sha256::digest(bytes).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// A long call checks now and then whether it should stop.
fn endless(_request: u32) {
    while !is_cancel_requested() {
        std::thread::yield_now();
    }
}

async fn serve(pool: Arc<ThreadPoolExecutor>, request: u32) -> Result<String> {
    if request == 3 {
        let late = pool.submit(endless, request)?.with_timeout(Duration::from_millis(50));
        return late.await.map(|()| "never".to_owned());
    }
    let bytes = vec![request.to_le_bytes()[0]; 4 << 20];
    pool.submit(checksum, bytes)?.await
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let pool = Arc::new(ThreadPoolExecutor::new(2)?);

    runtime.block_on(async {
        let begin = Instant::now();
        let serve = |request| (request, tokio::spawn(serve(Arc::clone(&pool), request)));
        let requests: Vec<_> = (0..5).map(serve).collect();
        // The only thread of the runtime is not blocked: it wakes up on time.
        tokio::time::sleep(Duration::from_millis(5)).await;
        println!("asleep for 5 ms, awake after {:.0?}", begin.elapsed());
        for (request, task) in requests {
            match task.await {
                Ok(Ok(sum)) => println!("request {request}: {sum}"),
                Ok(Err(error)) => println!("request {request}: {error}"),
                Err(panic) => println!("request {request}: {panic}"),
            }
        }
    });

    // The other direction: the task has the promise, the thread the future.
    let (promise, future) = Promise::pair();
    runtime.spawn(async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _ = promise.set_result("a task's result"); // refused if it was cancelled
    });
    println!("{}, waited for by a thread", future.into_result()?);
    Ok(())
}
