//! A call outlives the function that submits it; what borrows belongs into a scope.
use concurrent::futures::ThreadPoolExecutor;

fn main() -> concurrent::Result<()> {
    let pool = ThreadPoolExecutor::new(2)?;
    let text = String::from("four");
    pool.spawn(|| text.len())?.into_result()?;
    Ok(())
}
