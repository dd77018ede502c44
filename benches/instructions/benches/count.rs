//! Runs the program of this crate under callgrind, for each figure once without work and once with it:
//! the difference is the price of the work. `.ci/instructions` compares it.

use gungraun::{
    BinaryBenchmarkConfig, Callgrind, Command, binary_benchmark, binary_benchmark_group, main,
};

/// Enough that one-off costs do not matter, and few enough for a quick run.
const COUNT: usize = 20_000;

#[binary_benchmark]
#[bench::nothing("nothing")]
#[bench::submit_and_result("submit_and_result")]
#[bench::map("map")]
#[bench::execute("execute")]
#[bench::nested_call("nested_call")]
#[bench::as_completed("as_completed")]
#[bench::enter_and_run("enter_and_run")]
fn figure(name: &str) -> Command {
    Command::new(env!("CARGO_BIN_EXE_instructions")).arg(name).arg(COUNT.to_string()).build()
}

binary_benchmark_group!(name = figures, benchmarks = figure);

main!(
    config = BinaryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]))
        .valgrind_args(["--fair-sched=yes"]),
    binary_benchmark_groups = figures
);
