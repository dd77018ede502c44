//! What a call captures goes to another thread.
use std::rc::Rc;

use concurrent::futures::ThreadPoolExecutor;

fn main() -> concurrent::Result<()> {
    let pool = ThreadPoolExecutor::new(2)?;
    let text = Rc::new(String::from("four"));
    pool.spawn(move || text.len())?.into_result()?;
    Ok(())
}
