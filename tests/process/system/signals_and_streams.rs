//! Signals, standard streams, file limits and forks around a pool.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{OnWorkerDeath, ResourceLimit, SharedBytes};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::fault_injection::{Bytes, send};
use crate::support::{ProcessGate, eventually, in_own_process, replacing, trials};

trials![
    ctrl_c_while_workers_start,
    programs_that_calls_start_hear_ctrl_c,
    workers_have_no_signal_blocked_and_can_be_terminated,
    a_call_waits_for_a_signal_that_it_has_blocked,
    sigpipe_kills_no_parent,
    a_limit_on_files_is_an_error_of_the_call,
    a_limit_on_files_of_calls_is_none_on_results,
    a_limit_that_cannot_be_set_is_told,
    standard_streams_that_are_closed_stay_closed,
    a_fork_of_the_parent_does_not_hold_up_a_shutdown,
];

/// Does what the command line says.
pub(crate) fn act(what: &str, folder: &str) {
    match what {
        "ctrl-c" => ctrl_c(),
        "blocked" => blocked(),
        "sigpipe" => sigpipe(),
        "file-size" => file_size(),
        "refused-limit" => refused_limit(),
        "closed-streams" => closed_streams(folder),
        "forked" => forked(folder),
        _ => unreachable!("no such act"),
    }
}

fn double(n: u64) -> u64 {
    n * 2
}

/// Which of the signals that matter here this thread has blocked, and which the process ignores.
pub(crate) fn signals() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let set = u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap();
        let known = [libc::SIGINT, libc::SIGTERM, libc::SIGPIPE, libc::SIGUSR1];
        known.into_iter().filter(|signal| set & 1 << (signal - 1) != 0).collect::<Vec<_>>()
    };
    format!("blocked: {:?}, ignored: {:?}", set("SigBlk"), set("SigIgn"))
}

fn ctrl_c_while_workers_start() {
    in_own_process(&["surroundings", "ctrl-c", ""]);
}

extern "C" fn nothing(_: libc::c_int) {}

fn ctrl_c() {
    rustix::process::setpgid(None, None).unwrap();
    let handler = nothing as extern "C" fn(libc::c_int);
    // SAFETY: a function that does nothing may be called at any time.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
    for round in 0..40 {
        let pool = ProcessPoolExecutor::new(2).unwrap();
        let calls: Vec<_> = (0..4).map(|n| pool.submit(double, n).unwrap()).collect();
        std::thread::park_timeout(Duration::from_micros(round * 75)); // from the start to the first call
        rustix::process::kill_current_process_group(Signal::INT).unwrap();
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.into_result().unwrap(), n * 2, "round {round}");
        }
    }
}

fn programs_that_calls_start_hear_ctrl_c() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let ignored = |()| {
        let grep = Command::new("grep").args(["SigIgn", "/proc/self/status"]).output().unwrap();
        String::from_utf8(grep.stdout).unwrap()
    };
    let here = ignored(());
    assert_eq!(pool.submit(ignored, ()).unwrap().into_result().unwrap(), here);
}

fn workers_have_no_signal_blocked_and_can_be_terminated() {
    in_own_process(&["surroundings", "blocked", ""]);
}

fn blocked() {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: there is room for it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
        // SAFETY: it was initialised above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: as above; what it was before is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: what is ignored is no danger to anything.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let signals = pool.submit(|()| signals(), ()).unwrap().into_result().unwrap();
    assert_eq!(signals, format!("blocked: [], ignored: [{}]", libc::SIGPIPE));
    let gate = ProcessGate::new();
    let call = pool.submit(|gate: String| ProcessGate::pass(&gate), gate.name()).unwrap();
    gate.wait_begun();
    pool.terminate_workers();
    let death = call.into_result().unwrap_err();
    assert_eq!(death.worker_death().unwrap().signal, Some(libc::SIGTERM), "{death}");
}

/// Sends a signal to this process and takes it from where it waits; gives its number.
fn take_signal(signal: i32) -> i32 {
    // SAFETY: zeros are a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set lives.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: as above; the old one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    let own = i32::try_from(std::process::id()).unwrap();
    // SAFETY: takes numbers; the signal waits until it is taken.
    unsafe { libc::kill(own, signal) };
    let mut taken = 0;
    // SAFETY: the set lives, and there is room for a number.
    unsafe { libc::sigwait(&raw const set, &raw mut taken) };
    taken
}

fn a_call_waits_for_a_signal_that_it_has_blocked() {
    let pool = replacing(1);
    for signal in [libc::SIGUSR1, libc::SIGTERM, libc::SIGALRM, libc::SIGHUP] {
        let taken = pool.submit(take_signal, signal).unwrap();
        assert_eq!(taken.into_result().unwrap(), signal);
    }
}

fn sigpipe_kills_no_parent() {
    in_own_process(&["surroundings", "sigpipe", ""]);
}

fn sigpipe() {
    // SAFETY: the default, as of C programs.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    for round in 0..40_u64 {
        let pool = ProcessPoolExecutor::builder().max_workers(1);
        let pool = pool.on_worker_death(OnWorkerDeath::Retry(3)).build().unwrap();
        let worker = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
        send(worker, Signal::KILL);
        (0..round * 137).for_each(|_| std::hint::spin_loop());
        assert_eq!(pool.submit(double, round).unwrap().into_result().unwrap(), round * 2);
    }
}

const MIB: usize = 1 << 20;

fn large(len: usize) -> Vec<u8> {
    vec![7; len]
}

fn a_limit_on_files_is_an_error_of_the_call() {
    in_own_process(&["surroundings", "file-size", ""]);
}

fn file_size() {
    let most = Some(MIB as u64);
    setrlimit(Resource::Fsize, Rlimit { current: most, maximum: most }).unwrap();
    let pool = replacing(1);
    let call = pool.submit(|bytes: Vec<u8>| bytes.len(), large(2 * MIB));
    let error = call.and_then(|call| call.into_result()).unwrap_err();
    assert!(matches!(error, Error::Undelivered(_)), "{error:?}");
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    let error = pool.submit(large, 2 * MIB).unwrap().into_result().unwrap_err();
    assert!(matches!(error, Error::Undelivered(_)), "{error:?}");
    // One that is written piece by piece reaches the limit on its way.
    let pieces = |count: usize| vec!["x".repeat(1000); count];
    let error = pool.submit(pieces, 2000).unwrap().into_result().unwrap_err();
    assert!(error.to_string().contains("no shared memory"), "{error:?}");
    assert_eq!(pool.submit(pieces, 500).unwrap().into_result().unwrap(), pieces(500));
    assert_eq!(pool.submit(double, 5).unwrap().into_result().unwrap(), 10);
    assert_eq!((pool.stats().died, pool.stats().started), (0, 1));
}

fn a_limit_on_files_of_calls_is_none_on_results() {
    let pool = ProcessPoolExecutor::builder().max_workers(1);
    let pool = pool.limit(ResourceLimit::FileSize, MIB as u64).build().unwrap();
    let there_and_back = |bytes: Vec<u8>| bytes;
    let back = pool.submit(there_and_back, large(3 * MIB)).unwrap().into_result().unwrap();
    assert_eq!(back, large(3 * MIB));
    let shared = |()| SharedBytes::copy_from(&large(2 * MIB)).unwrap();
    let shared = pool.submit(shared, ()).unwrap().into_result().unwrap();
    assert_eq!(shared[..], large(2 * MIB));
}

fn a_limit_that_cannot_be_set_is_told() {
    in_own_process(&["surroundings", "refused-limit", ""]);
}

fn refused_limit() {
    let pool =
        ProcessPoolExecutor::builder().max_workers(1).on_worker_death(OnWorkerDeath::FailCall);
    // Above what the kernel allows to anybody.
    let pool = pool.limit(ResourceLimit::OpenFiles, u64::from(u32::MAX)).build().unwrap();
    let error = pool.submit(double, 1).unwrap().into_result().unwrap_err();
    assert!(error.to_string().contains("ResourceLimit::OpenFiles cannot be set"), "{error}");
}

fn standard_streams_that_are_closed_stay_closed() {
    for which in ["0", "1", "2", "01", "12", "012"] {
        in_own_process(&["surroundings", "closed-streams", which]);
    }
}

/// Which of these streams are open, as something else than `/dev/null`.
fn open_streams(which: String) -> Vec<String> {
    let links =
        which.chars().filter_map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
    let links = links.map(|link| link.display().to_string());
    links.filter(|link| link != "/dev/null").collect()
}

fn closed_streams(which: &str) {
    // The message of a panic arrives, whichever stream is closed.
    let said = File::from(rustix::io::fcntl_dupfd_cloexec(std::io::stderr(), 10).unwrap());
    std::panic::set_hook(Box::new(move |panic| {
        let _ = writeln!(&mut &said, "{panic}");
    }));
    let older = replacing(1);
    let worker = |()| std::process::id();
    let first = older.submit(worker, ()).unwrap().into_result().unwrap();
    for fd in which.bytes() {
        // SAFETY: nothing in this process uses it from here on.
        unsafe { libc::close(i32::from(fd - b'0')) };
    }
    assert_eq!(older.submit(worker, ()).unwrap().into_result().unwrap(), first);
    let newer = replacing(2);
    for pool in [&older, &newer] {
        carries(pool);
        let dies = pool.submit(|()| std::process::exit(3), ()).unwrap();
        let error = dies.into_result().map(|(): ()| "lives on").unwrap_err();
        assert_eq!(error.worker_death().unwrap().exit_code, Some(3), "{error}");
        carries(pool);
        // A worker that was started later than that, with what there was then.
        let there = pool.submit(open_streams, which.to_owned()).unwrap().into_result().unwrap();
        assert_eq!((there, open_streams(which.to_owned())), (Vec::new(), Vec::new()));
    }
    assert_eq!(older.stats().died, 1);
    assert_ne!(older.submit(worker, ()).unwrap().into_result().unwrap(), first);
    older.shutdown();
    newer.shutdown();
    assert_eq!(open_streams(which.to_owned()), Vec::<String>::new());
}

/// Large payloads in both directions.
fn carries(pool: &ProcessPoolExecutor) {
    let sent = (Bytes(large(2 * MIB)), SharedBytes::copy_from(&large(MIB)).unwrap());
    let back = pool.submit(|sent: (Bytes, SharedBytes)| sent, sent).unwrap();
    let back = back.into_result().unwrap();
    assert!(back.0.0 == large(2 * MIB) && back.1[..] == large(MIB));
}

fn a_fork_of_the_parent_does_not_hold_up_a_shutdown() {
    for end in ["shutdown", "drop", "worn-out", "idle"] {
        let folder = ProcessGate::new();
        in_own_process(&["surroundings", "forked", &format!("{end}:{}", folder.name())]);
    }
}

static ENDED: OnceLock<String> = OnceLock::new();

extern "C" fn at_exit() {
    let _ = File::create(ENDED.get().unwrap());
}

/// A worker is told to end while a fork of its parent has all that the parent had open.
fn forked(what: &str) {
    let (end, folder) = what.split_once(':').unwrap();
    let note = format!("{folder}/ended");
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let builder = match end {
        "worn-out" => builder.max_tasks_per_child(2),
        "idle" => builder.idle_timeout(Duration::from_millis(1)),
        _ => builder,
    };
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    let gate = ProcessGate::new();
    let register = |(note, gate): (String, String)| {
        ENDED.set(note).unwrap();
        // SAFETY: the function takes no arguments and does not unwind.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        ProcessGate::pass(&gate);
    };
    let call = pool.submit(register, (note.clone(), gate.name())).unwrap();
    gate.wait_begun();
    // SAFETY: the child does nothing but wait for its end.
    let fork = unsafe { libc::fork() };
    if fork == 0 {
        // SAFETY: as above; should the test fail, this ends with it.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: as above.
            unsafe { libc::pause() };
        }
    }
    gate.open();
    call.into_result().unwrap();
    match end {
        "shutdown" => pool.shutdown(),
        "drop" => drop(pool),
        "worn-out" => {
            // The second of its calls, and the first of the next worker's.
            let calls = [1, 2].map(|n| pool.submit(double, n).unwrap());
            assert_eq!(calls.map(|call| call.into_result().unwrap()), [2, 4]);
            assert_eq!(pool.stats().started, 2);
        }
        _ => eventually("the end of an idle worker", || pool.stats().workers == 0),
    }
    // SAFETY: our own child, which nobody has reaped.
    unsafe { libc::kill(fork, libc::SIGKILL) };
    assert!(File::open(note).is_ok(), "the worker was not told to end, but killed");
}
