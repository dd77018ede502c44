//! placeholder
pub fn run(_: &[String]) {}
