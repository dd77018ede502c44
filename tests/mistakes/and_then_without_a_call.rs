//! `and_then` goes on with a call; a value is for `map`.
use concurrent::futures::ThreadPoolExecutor;

fn main() -> concurrent::Result<()> {
    let pool = ThreadPoolExecutor::new(2)?;
    let length = pool.spawn(|| "four")?.and_then(|text| text.len());
    assert_eq!(length.into_result()?, 4);
    Ok(())
}
