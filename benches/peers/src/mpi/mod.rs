//! Calls on the ranks of an MPI program, beside mpi4py.futures: `peers mpi [--rounds N] [--only TEXT]
//! [--csv FILE] [--workers N] [--mpirun FILE] [--python FILE]`. The Python needs mpi4py, built for
//! the MPI of this `mpirun`; see CONTRIBUTING.
//!
//! Each pool is an MPI program of its own. All programs run from beginning to end and work in turn;
//! the others wait meanwhile.

mod rank;

use std::cell::RefCell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::outside::{Program, path};
use crate::processes::report::{OURS, Report, contender};

const USAGE: &str =
    "mpi [--rounds N] [--only TEXT] [--csv FILE] [--workers N] [--mpirun FILE] [--python FILE]";

/// The most calls of a rank in the pool with fixed credit; mpi4py's ranks have one.
const FIXED: &str = "2";

pub fn run(arguments: &[String]) {
    if let [rank, credit] = arguments
        && rank == "rank"
    {
        return rank::serve(credit);
    }
    let options = Options::parse(USAGE, arguments);
    stay_on_this_machine();
    let start = |name, command: &[&str]| {
        let ranks = (options.number("--workers", 2) + 1).to_string();
        let all = [&["--oversubscribe", "--bind-to", "none", "-n", &ranks], command].concat();
        let pool = Program::start(name, options.get("--mpirun").unwrap_or("mpirun"), &all)?;
        pool.expect("ready").map(RefCell::new)
    };
    let this = std::env::current_exe().expect("this program");
    let this = this.to_str().expect("a path in UTF-8");
    let python = options.get("--python").unwrap_or("python3");
    let script = path("mpi4py_futures.py");
    let ours = start(OURS, &[this, "mpi", "rank", "adaptive"]).expect("mpirun starts this program");
    let fixed = start(OURS, &[this, "mpi", "rank", FIXED]).expect("mpirun starts this program");
    let theirs = start("mpi4py.futures", &[python, "-m", "mpi4py.futures", &script]);

    let report = Report::new(&options);
    idle(&report, &ours);
    let compare =
        |title: &str, ours: &RefCell<Program>, question: [&str; 2], asked: f64| {
            let mut all = vec![contender(OURS, || ask(ours, question[0]))];
            all.extend(theirs.iter().map(|theirs| {
                contender("mpi4py.futures", || ask(theirs, question[1])).asked(asked)
            }));
            report.compare(title, all);
        };
    compare("round trip of an empty call, p50", &ours, ["trip 3000", "trip 1000"], 8.);
    let calls = ["calls 50000", "calls 3000"];
    compare("empty calls, two at a time with each rank", &fixed, calls, 20.);
    compare("empty calls", &ours, ["calls 200000", "calls 3000"], 50.);
    let map = ["map 1000000"; 2];
    compare("map, chunks of 1000, per item", &ours, map, 20.);
    compare("echo of 1 MiB, one at a time", &ours, ["echo 1048576"; 2], 2.);
    compare("echo of 1 MiB, eight at a time", &ours, ["echoes 1048576"; 2], 1.);
    compare("echo of 16 MiB, eight at a time", &ours, ["echoes 16777216"; 2], 1.);
    report.finish(&options);
}

/// Before any rank is started: all ranks run on this host, and talk by memory or loopback only.
fn stay_on_this_machine() {
    let settings = [
        ("OMPI_MCA_btl_tcp_if_include", "lo"),
        ("OMPI_MCA_oob_tcp_if_include", "lo"),
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("PRTE_ALLOW_RUN_AS_ROOT", "1"),
        ("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ];
    for (name, value) in settings {
        // SAFETY: no other thread has been started.
        unsafe { std::env::set_var(name, value) };
    }
}

fn ask(pool: &RefCell<Program>, question: &str) -> f64 {
    pool.borrow_mut().ask(question).map_or(f64::NAN, |answer| answer[0])
}

/// The largest share of a core that an idle rank takes, in percent.
fn idle(report: &Report, pool: &RefCell<Program>) {
    let title = "CPU of an idle rank";
    if !report.wants(title) {
        return;
    }
    ask(pool, "calls 1000"); // it is idle after work, not from the beginning
    sleep(Duration::from_secs(1));
    let ranks = children(pool.borrow().id());
    let before: Vec<u64> = ranks.iter().map(|rank| cpu(*rank)).collect();
    let begin = Instant::now();
    sleep(Duration::from_secs(5));
    let used =
        ranks.iter().zip(before).map(|(rank, before)| cpu(*rank).saturating_sub(before)).max();
    let percent = 100. * used.unwrap_or(0) as f64 / begin.elapsed().as_nanos() as f64;
    report.single(title, "percent", percent, 3.);
}

fn children(parent: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Nanoseconds of all threads of a process.
fn cpu(process: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let one = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    threads.filter_map(|thread| one(thread.ok()?.path())).sum()
}
