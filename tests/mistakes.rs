//! What the compiler says to the usual mistakes, word for word.
//!
//! The words are those of one compiler; with another one nothing is compared. To bless new ones:
//! `TRYBUILD=overwrite cargo +VERSION test --test mistakes`.
//!
//! `cargo test` alone does not run it, as it builds the dependencies once more; `.ci/run` does.
#![cfg(target_os = "linux")]

use std::process::Command;

/// The compiler whose words are in `tests/mistakes`.
const COMPILER: &str = "rustc 1.95.0 ";

#[test]
fn mistakes_are_explained() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    if !version.starts_with(COMPILER) {
        println!("not compared: the words are those of {COMPILER}, this is {version:?}");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
