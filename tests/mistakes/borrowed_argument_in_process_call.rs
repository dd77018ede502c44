//! A borrowed argument cannot be read at the other end.
use concurrent::futures::ProcessPoolExecutor;

fn length(text: &str) -> usize {
    text.len()
}

fn main() -> concurrent::Result<()> {
    concurrent::futures::process::init();
    let pool = ProcessPoolExecutor::new(2)?;
    pool.submit(length, "four")?.into_result()?;
    Ok(())
}
