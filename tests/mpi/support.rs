//! Runs a part of a test on so many ranks.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

/// The act of a rank, by name.
pub(crate) type Act = (&'static str, fn());

/// Names the functions of a module that ranks run.
macro_rules! acts {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn acts() -> Vec<$crate::support::Act> {
            vec![$((concat!(module_path!(), "::", stringify!($name)), $name as fn())),*]
        }
    };
}
pub(crate) use acts;

/// On a rank: does its part, and ends.
pub(crate) fn act(mut acts: impl Iterator<Item = Act>) {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("--act") {
        return;
    }
    let name = arguments.next().expect("the name of an act");
    let (_, act) = acts.find(|(act, _)| *act == name).expect("an act of this name");
    act();
    println!("passed {name}");
    std::process::exit(0);
}

/// How long a test may take on a loaded machine.
const LIMIT: u64 = 100;

/// How a program of several ranks went.
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    /// The output of all ranks and of the launcher.
    pub(crate) output: String,
    pub(crate) took: Duration,
}

impl Run {
    /// Panics unless all went well and root reached the end of its act.
    pub(crate) fn passed(&self) {
        let Self { status, output, .. } = self;
        assert!(status.success() && output.contains("passed "), "{status}: {output}");
    }

    /// Panics unless the program failed, and said this.
    pub(crate) fn failed_with(&self, words: &str) {
        let Self { status, output, .. } = self;
        assert!(!status.success(), "it did not fail: {output}");
        assert!(output.contains(words), "{words:?} is missing, {status}: {output}");
        assert_ne!(status.signal().or(status.code()), Some(124), "it hung: {output}");
    }
}

/// Whether this is a build for an MPI whose programs outlive a rank.
pub(crate) fn outlives_ranks() -> bool {
    std::env::var_os("CONCURRENT_MPI_ULFM").is_some()
}

/// Runs an act on so many ranks of this program.
pub(crate) fn run(ranks: usize, act: &str) -> Run {
    let own = std::env::current_exe().unwrap();
    run_programs(&[(ranks, &own)], act)
}

/// Runs an act on so many ranks of each of these programs.
pub(crate) fn run_programs(programs: &[(usize, &Path)], act: &str) -> Run {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mark = format!("mark-{}-{number}", std::process::id());
    let output = std::env::temp_dir().join(format!("concurrent-mpi-{mark}"));
    let said = fs::File::create(&output).unwrap();
    let mut mpirun = Command::new("timeout");
    mpirun.args(["-k", "5", &LIMIT.to_string(), "mpirun", "--oversubscribe", "--bind-to", "none"]);
    if outlives_ranks() {
        mpirun.args(["--with-ft", "ulfm"]);
    }
    for (index, (ranks, program)) in programs.iter().enumerate() {
        if index > 0 {
            mpirun.arg(":");
        }
        mpirun.args(["-n", &ranks.to_string()]).arg(program).args(["--act", act, &mark]);
    }
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("PRTE_ALLOW_RUN_AS_ROOT", "1"),
        ("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_btl_tcp_if_include", "lo"),
        ("OMPI_MCA_oob_tcp_if_include", "lo"),
        // As the guide says, for acts that initialise MPI themselves.
        ("OMPI_MCA_async_mpi_finalize", "1"),
        ("RUST_BACKTRACE", "0"),
    ] {
        mpirun.env(name, value);
    }
    let begun = Instant::now();
    mpirun.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    let status = mpirun.status().expect("`timeout` and `mpirun` are there");
    let took = begun.elapsed();
    let text = String::from_utf8_lossy(&fs::read(&output).unwrap()).into_owned();
    fs::remove_file(&output).unwrap();
    nobody_is_left(&mark);
    Run { status, output: text, took }
}

/// Waits until no process has this mark among its arguments.
fn nobody_is_left(mark: &str) {
    let begun = Instant::now();
    loop {
        let left: Vec<String> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(mark)
            })
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "left behind: {left:?}");
        std::thread::yield_now();
    }
}

/// A test that an act passes on so many ranks.
pub(crate) fn passes(act: impl Into<String>, ranks: usize) -> Trial {
    let act = act.into();
    Trial::test(format!("{act} on {ranks}"), move || {
        run(ranks, &act).passed();
        Ok(())
    })
}

/// A test of a run in all its details.
pub(crate) fn trial(name: &'static str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
