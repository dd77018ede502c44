//! A call in another process cannot capture.
use concurrent::futures::ProcessPoolExecutor;

fn main() -> concurrent::Result<()> {
    concurrent::futures::process::init();
    let pool = ProcessPoolExecutor::new(2)?;
    let factor = 3;
    pool.submit(|n: u64| n * factor, 5)?.into_result()?;
    Ok(())
}
