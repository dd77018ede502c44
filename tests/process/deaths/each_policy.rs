//! Worker deaths: every cause, under every policy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{OnWorkerDeath, ResourceLimit};

use crate::support::{ProcessGate, eventually, hush, lives, replacing, signal, trials};

trials![
    each_death_fails_its_call_only_and_says_how,
    py_crash_during_func_exec_on_worker,
    py_broken_process_pool_traceback,
    py_killed_child,
    py_crash_big_data,
    an_idle_worker_that_is_killed_is_replaced,
    a_death_in_a_chunk_is_told_to_each_of_its_items,
    retry_runs_again_and_gives_up,
    innocent_calls_behind_a_death_run_elsewhere,
    a_panic_in_the_drop_of_a_result_is_not_its_failure,
    the_message_of_a_panic_that_aborts,
    a_worker_that_closes_its_descriptors,
    garbage_on_the_wire_ends_that_worker_only,
    a_grandchild_may_outlive_the_worker,
    out_of_memory,
    a_worker_that_a_call_has_killed_is_replaced_at_once,
    a_logger_may_use_the_pool,
];

fn double(n: u64) -> u64 {
    n * 2
}

/// Ends its process.
fn die(how: String) -> u64 {
    match how.as_str() {
        "SIGKILL" => signal(std::process::id(), "-KILL"),
        "SIGTERM" => signal(std::process::id(), "-TERM"),
        "SIGSEGV" => {
            // SAFETY: not at all; nothing is mapped there, and the process ends.
            unsafe {
                std::hint::black_box(std::ptr::without_provenance::<u64>(64)).read_volatile()
            };
        }
        "abort" => std::process::abort(),
        "exit 0" => std::process::exit(0),
        "exit 99" => std::process::exit(99),
        "overflow" => {
            hush();
            return overflow(0);
        }
        _ => {}
    }
    loop {
        std::thread::park(); // until the signal has come
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn overflow(n: u64) -> u64 {
    let page = std::hint::black_box([n; 512]);
    overflow(n + 1) + page[0]
}

// F102, case 103, case 119
fn each_death_fails_its_call_only_and_says_how() {
    let pool = replacing(2);
    let deaths = [
        ("SIGKILL", None, Some(9)),
        ("SIGTERM", None, Some(15)),
        ("SIGSEGV", None, Some(11)),
        ("abort", None, Some(6)),
        ("exit 0", Some(0), None),
        ("exit 99", Some(99), None),
        ("overflow", None, Some(6)),
    ];
    for (how, exit_code, signal) in deaths {
        let good: Vec<_> = (0..8).map(|n| pool.submit(double, n).unwrap()).collect();
        let bad = pool.submit(die, how.to_owned()).unwrap();
        let more: Vec<_> = (8..16).map(|n| pool.submit(double, n).unwrap()).collect();
        let Err(error @ Error::WorkerDied(_)) = bad.into_result() else { panic!("{how}") };
        let death = error.worker_death().unwrap();
        assert_eq!((death.exit_code, death.signal), (exit_code, signal), "{how}: {error}");
        assert!(!error.to_string().contains("not ready"), "it was: {error}");
        assert!(death.pid > 0);
        let call = death.call.as_deref().unwrap();
        assert!(call.contains("each_policy.rs") && call.contains("String"), "{call}");
        for (n, call) in good.into_iter().chain(more).enumerate() {
            assert_eq!(call.into_result().unwrap(), n as u64 * 2, "{how}");
        }
    }
    assert_eq!(pool.stats().died, deaths.len() as u64);
}

// case 102, F102
fn py_crash_during_func_exec_on_worker() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let gate = ProcessGate::new();
    let other = pool.submit(|g: String| ProcessGate::pass(&g), gate.name()).unwrap();
    let other_pid = gate.wait_begun();
    let bad = pool.submit(die, "SIGSEGV".into()).unwrap();
    let waiting: Vec<_> = (0..20).filter_map(|n| pool.submit(double, n).ok()).collect();
    let error = bad.into_result().unwrap_err();
    assert!(error.is_broken_executor());
    assert_eq!(error.worker_death().unwrap().signal, Some(11));
    let text = error.to_string();
    assert!(text.starts_with("A process in the process pool was terminated abruptly"), "{text}");
    assert!(other.into_result().unwrap_err().is_broken_executor());
    for call in waiting {
        assert!(call.into_result().unwrap_err().is_broken_executor());
    }
    let later = pool.submit(double, 1).unwrap_err();
    let text = later.to_string();
    assert!(text.starts_with("A child process terminated abruptly, the process pool is not"));
    assert_eq!(later.worker_death().unwrap().signal, Some(11));
    pool.shutdown();
    assert!(!lives(other_pid), "the others are ended, too");
}

// case 116, F103
fn py_broken_process_pool_traceback() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let bad = pool.submit(die, "exit 99".into()).unwrap();
    let behind = pool.submit(double, 1);
    let causes = [Some(bad), behind.ok()].into_iter().flatten().map(|call| {
        let Err(Error::BrokenProcessPool { cause, .. }) = call.into_result() else {
            panic!("the pool is broken")
        };
        cause
    });
    let causes: Vec<_> = causes.collect();
    assert!(causes.iter().all(|cause| cause.to_string().contains("exit code 99")));
    if let [one, other] = &causes[..] {
        assert!(!std::ptr::eq(&**one, &**other), "each call has its own error");
    }
}

// case 115
fn py_killed_child() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let pid = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    signal(pid, "-KILL");
    eventually("the end of the pool", || pool.submit(double, 1).is_err());
    assert!(pool.submit(double, 1).unwrap_err().is_broken_executor());
}

// case 112
fn py_crash_big_data() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let calls: Vec<_> = (0..4)
        .filter_map(|_| {
            let die = |data: Vec<u8>| -> usize { std::process::exit(i32::from(data[0])) };
            pool.submit(die, vec![5; 8 << 20]).ok()
        })
        .collect();
    for call in calls {
        assert!(call.into_result().unwrap_err().is_broken_executor());
    }
}

fn an_idle_worker_that_is_killed_is_replaced() {
    let pool = replacing(1);
    for n in 0..10 {
        let pid = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
        signal(pid, "-KILL");
        eventually("death", || pool.stats().died == n + 1);
        assert_eq!(pool.submit(double, n).unwrap().into_result().unwrap(), n * 2);
    }
}

fn a_death_in_a_chunk_is_told_to_each_of_its_items() {
    let pool = replacing(1);
    let options = concurrent::futures::MapOptions::new().chunk_size(3);
    let dies = |n: u64| if n == 4 { std::process::abort() } else { n };
    let results: Vec<_> = pool.map_with(options, dies, 0..9).unwrap().collect();
    let alive: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(alive, [true, true, true, false, false, false, true, true, true]);
}

/// Dies unless it has been called `times` times before.
fn die_at_first((directory, times): (String, usize)) -> usize {
    let entries = std::fs::read_dir(&directory).unwrap().count();
    if entries < times + 2 {
        std::fs::write(format!("{directory}/{entries}"), "").unwrap();
        std::process::abort();
    }
    entries - 2
}

fn retry_runs_again_and_gives_up() {
    let retrying = |times| {
        let builder = ProcessPoolExecutor::builder().max_workers(1);
        builder.on_worker_death(OnWorkerDeath::Retry(times)).build().unwrap()
    };
    let gate = ProcessGate::new(); // a directory with two entries
    let call = retrying(2).submit(die_at_first, (gate.name(), 2)).unwrap();
    assert_eq!(call.into_result().unwrap(), 2);
    let gate = ProcessGate::new();
    let call = retrying(2).submit(die_at_first, (gate.name(), 3)).unwrap();
    assert_eq!(call.into_result().unwrap_err().worker_death().unwrap().signal, Some(6));
}

fn innocent_calls_behind_a_death_run_elsewhere() {
    let builder = ProcessPoolExecutor::builder().max_workers(1).prefetch(32);
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    for _ in 0..5 {
        let gate = ProcessGate::new();
        let dies = |gate: String| -> u64 {
            ProcessGate::pass(&gate);
            std::process::abort()
        };
        let bad = pool.submit(dies, gate.name()).unwrap();
        let innocent: Vec<_> = (0..40).map(|n| pool.submit(double, n).unwrap()).collect();
        gate.wait_begun();
        gate.open();
        assert!(bad.into_result().is_err());
        for (n, call) in innocent.into_iter().enumerate() {
            assert_eq!(call.into_result().unwrap(), n as u64 * 2);
        }
    }
}

/// A result whose drop panics, in whichever process it happens.
#[derive(serde::Serialize, serde::Deserialize)]
struct Grenade(bool);

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "boom, on purpose");
    }
}

fn a_panic_in_the_drop_of_a_result_is_not_its_failure() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let mut result = pool.submit(|()| Grenade(true), ()).unwrap().into_result().unwrap();
    assert!(std::mem::take(&mut result.0));
    // One that nobody takes explodes in the supervisor, which goes on.
    drop(pool.submit(|()| Grenade(true), ()).unwrap());
    assert_eq!(pool.submit(double, 1).unwrap().into_result().unwrap(), 2);
    assert_eq!(pool.stats().died, 0);
}

fn the_message_of_a_panic_that_aborts() {
    let pool = replacing(1);
    let twice = |()| {
        hush();
        let _grenade = AbortsWhenDropped;
        panic!("the first of two, on purpose");
    };
    let error = pool.submit::<(), ()>(twice, ()).unwrap().into_result().unwrap_err();
    let death = error.worker_death().unwrap();
    assert_eq!(death.signal, Some(6));
    let words = death.panic_message.as_deref().unwrap();
    assert!(words.contains("the second") || words.contains("destructor"), "{words}");
    let quiet = pool.submit(die, "exit 99".into()).unwrap().into_result().unwrap_err();
    assert_eq!(quiet.worker_death().unwrap().panic_message, None);
}

struct AbortsWhenDropped;

impl Drop for AbortsWhenDropped {
    fn drop(&mut self) {
        panic!("the second, on purpose");
    }
}

fn a_worker_that_closes_its_descriptors() {
    let pool = replacing(1);
    let close = |()| {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let numbers: Vec<i32> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for number in numbers {
            // SAFETY: the process has no more use for any of them.
            unsafe { libc::close(number) };
        }
    };
    // It has returned, and its result is there; then its worker ends.
    pool.submit::<(), ()>(close, ()).unwrap().into_result().unwrap();
    eventually("the end of its worker", || pool.stats().died == 1);
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    // Lives on: its channel is closed, and it is stuck.
    let close = |()| {
        for number in 3..64 {
            // SAFETY: the process has no more use for any of them.
            unsafe { libc::close(number) };
        }
        loop {
            std::thread::park();
        }
    };
    let error = pool.submit::<(), ()>(close, ()).unwrap().into_result().unwrap_err();
    assert_eq!(error.worker_death().unwrap().signal, Some(9), "{error}");
    assert!(error.to_string().contains("closed its channel"), "{error}");
}

/// Fills the memory in which answers travel with bytes that it makes of a seed; the page before
/// tells which call has begun.
fn scribble(seed: u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let shared = maps.lines().filter(|line| line.contains("/memfd:concurrent"));
    let mut state = seed;
    for line in shared {
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        for address in start + 4096..end {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed);
            let byte = std::ptr::with_exposed_provenance_mut::<u8>(address);
            // SAFETY: mapped, and only this process is harmed by what it writes there.
            unsafe { byte.write_volatile((state >> 56) as u8) };
        }
    }
}

fn garbage_on_the_wire_ends_that_worker_only() {
    let pool = replacing(2);
    for seed in 1..20 {
        let error = pool.submit(scribble, seed).unwrap().into_result().unwrap_err();
        assert!(matches!(error, Error::WorkerDied(_)), "{error}");
        assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    }
}

fn a_grandchild_may_outlive_the_worker() {
    let pool = replacing(1);
    #[expect(clippy::zombie_processes, reason = "the worker dies before it could wait")]
    let spawn = |()| -> u32 {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        child.id()
    };
    let grandchild = pool.submit(spawn, ()).unwrap().into_result().unwrap();
    let error = pool.submit(die, "SIGKILL".into()).unwrap().into_result().unwrap_err();
    assert_eq!(error.worker_death().unwrap().signal, Some(9));
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    pool.shutdown();
    assert!(lives(grandchild), "it is none of ours");
    signal(grandchild, "-KILL");
}

fn out_of_memory() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder
        .limit(ResourceLimit::Data, 64 << 20)
        .on_worker_death(OnWorkerDeath::FailCall)
        .build()
        .unwrap();
    let grab = |bytes: usize| {
        hush();
        std::hint::black_box(vec![1u8; bytes]).len()
    };
    let error = pool.submit(grab, 200 << 20).unwrap().into_result().unwrap_err();
    assert_eq!(error.worker_death().unwrap().signal, Some(6), "{error}");
    assert_eq!(pool.submit(grab, 1 << 20).unwrap().into_result().unwrap(), 1 << 20);
}

fn a_worker_that_a_call_has_killed_is_replaced_at_once() {
    let pool = replacing(1);
    assert!(pool.submit(die, "exit 0".into()).unwrap().into_result().is_err());
    eventually("a replacement", || pool.stats().idle == 1);
    assert_eq!((pool.stats().started, pool.stats().died), (2, 1));
}

/// Asks the pool that it knows about itself when something is logged.
struct Curious;

static KNOWN: Mutex<Weak<ProcessPoolExecutor>> = Mutex::new(Weak::new());
static ASKED: AtomicUsize = AtomicUsize::new(0);

impl log::Log for Curious {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        let known = KNOWN.lock().unwrap().upgrade();
        if let Some(pool) = known {
            ASKED.fetch_add(pool.stats().died as usize, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn a_logger_may_use_the_pool() {
    log::set_logger(&Curious).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let pool = Arc::new(replacing(1));
    *KNOWN.lock().unwrap() = Arc::downgrade(&pool);
    let died = pool.submit(die, "exit 99".into()).unwrap().into_result().unwrap_err();
    assert_eq!(died.worker_death().unwrap().exit_code, Some(99));
    eventually("what is logged of it", || ASKED.load(Ordering::Relaxed) > 0);
    *KNOWN.lock().unwrap() = Weak::new();
    assert_eq!(pool.submit(double, 1).unwrap().into_result().unwrap(), 2);
}
