//! Programs that go wrong: other builds, ranks that end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use concurrent::futures::MpiPoolExecutor;
use libtest_mimic::Trial;

use crate::support::{acts, outlives_ranks, run, run_programs, trial};

acts![any_pool, any_content, a_rank_dies, a_rank_exits];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("programs::a_rank_of_another_build_is_refused", a_rank_of_another_build_is_refused),
        trial("programs::builds_without_a_build_id_are_told_apart", builds_without_a_build_id),
        trial("programs::the_death_of_a_rank_ends_the_program", || ends_the_program("a_rank_dies")),
        trial("programs::the_exit_of_a_rank_ends_the_program", || ends_the_program("a_rank_exits")),
    ]
}

fn any_pool() {
    let error = MpiPoolExecutor::new().unwrap_err();
    println!("root was told: {error}");
    panic!("no pool");
}

fn a_rank_of_another_build_is_refused() {
    let own = std::env::current_exe().unwrap();
    let other = other_build(&own);
    let run = run_programs(&[(2, &own), (1, &other)], "mpi::programs::any_pool");
    fs::remove_file(other).unwrap();
    run.failed_with("root was told: rank 2 (process ");
    run.failed_with("runs another build of the program");
    let said = run.output.matches("ends: rank 2 (process").count();
    assert_eq!(said, 1, "the rank itself says so: {}", run.output);
}

fn builds_without_a_build_id() {
    // Two builds that differ in what they contain and in nothing else.
    let own = std::env::current_exe().unwrap();
    let first = without_build_id(&own, "first", |_| {});
    let second = without_build_id(&own, "second", |bytes| {
        let at = position(bytes, CONTENT.as_bytes());
        bytes[at] ^= 1;
    });
    let alike = run_programs(&[(2, &first), (1, &first)], "mpi::programs::any_content");
    let other = run_programs(&[(2, &first), (1, &second)], "mpi::programs::any_content");
    fs::remove_file(first).unwrap();
    fs::remove_file(second).unwrap();
    alike.passed();
    other.failed_with("runs another build of the program");
}

/// In another build this is something else.
static CONTENT: &str = "what this build contains, and no other";

fn any_content() {
    let pool = MpiPoolExecutor::new().unwrap();
    let content = pool.submit(|()| CONTENT.to_owned(), ()).unwrap().into_result().unwrap();
    assert_eq!(content, CONTENT);
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}

/// This program, changed, and with a note of no known kind in the place of its build id.
fn without_build_id(own: &Path, name: &str, change: impl FnOnce(&mut [u8])) -> PathBuf {
    let mut bytes = fs::read(own).unwrap();
    let build_id = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let at = position(&bytes, build_id);
    bytes[at + 8] = 99;
    change(&mut bytes);
    write_program(own, name, &bytes)
}

fn write_program(own: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let other = own.with_extension(format!("{name}-{}", std::process::id()));
    fs::write(&other, bytes).unwrap();
    fs::set_permissions(&other, fs::metadata(own).unwrap().permissions()).unwrap();
    other
}

/// This program with another program header: the size of the stack, which nobody reads there.
fn other_build(own: &Path) -> PathBuf {
    const GNU_STACK: u32 = 0x6474_e551;
    let mut bytes = fs::read(own).unwrap();
    let number = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]) as usize;
    let (table, size) = (u64::from_le_bytes(bytes[32..40].try_into().unwrap()), number(&bytes, 54));
    let headers = (0..number(&bytes, 56)).map(|index| table as usize + index * size);
    let mut stacks = headers.filter(|at| bytes[*at..*at + 4] == GNU_STACK.to_le_bytes());
    let stack = stacks.next().expect("every program has this header");
    bytes[stack + 40..stack + 48].copy_from_slice(&4096_u64.to_le_bytes());
    write_program(own, "other", &bytes)
}

fn a_rank_dies() {
    let pool = MpiPoolExecutor::new().unwrap();
    let kill = |()| -> u32 { std::process::abort() };
    let died = pool.submit(kill, ()).unwrap().into_result();
    println!("root goes on: {died:?}");
}

fn a_rank_exits() {
    let pool = MpiPoolExecutor::new().unwrap();
    let exit = |()| -> u32 { std::process::exit(3) };
    let died = pool.submit(exit, ()).unwrap().into_result();
    println!("root goes on: {died:?}");
}

/// Without fault tolerance the engine ends the program, and says why.
fn ends_the_program(act: &str) {
    if outlives_ranks() {
        println!("skipped: this MPI outlives ranks");
        return;
    }
    let run = run(3, &format!("mpi::programs::{act}"));
    run.failed_with("mpirun");
    assert!(run.took < Duration::from_secs(20), "{:?}: {}", run.took, run.output);
}
