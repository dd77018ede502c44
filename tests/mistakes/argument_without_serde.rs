//! What crosses to another process must be written and read.
use concurrent::futures::ProcessPoolExecutor;

struct Order {
    amount: u32,
}

fn main() -> concurrent::Result<()> {
    concurrent::futures::process::init();
    let pool = ProcessPoolExecutor::new(2)?;
    pool.submit(|order: Order| order.amount, Order { amount: 5 })?.into_result()?;
    Ok(())
}
