//! The settings of the builder, and what a worker inherits.

use std::time::Duration;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;

use crate::support::trials;

trials![
    py_initializer,
    py_max_tasks_per_child,
    py_max_tasks_per_child_pending_tasks_gh115634,
    workers_are_told_their_environment_and_directory,
    stdin_is_empty_and_stdout_is_the_users,
    workers_inherit_nothing_but_standard_descriptors,
    wrong_settings_are_refused,
    idle_workers_retire,
];

static GREETING: std::sync::OnceLock<String> = std::sync::OnceLock::new();

fn double(n: u64) -> u64 {
    n * 2
}

// case 94
fn py_initializer() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(2)
        .initializer(|text: String| GREETING.set(text).map_err(|_| "twice"), "hello".into())
        .build()
        .unwrap();
    let greeting = |_: u32| GREETING.get().cloned().unwrap();
    assert!(pool.map(greeting, 0..20).all(|text| text.unwrap() == "hello"));
}

// case 124, F105
fn py_max_tasks_per_child() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(3);
    let pool = pool.build().unwrap();
    let pid = || pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    let pids: Vec<u32> = (0..6).map(|_| pid()).collect();
    assert_eq!((pids[0], pids[0]), (pids[1], pids[2]));
    assert_eq!((pids[3], pids[3]), (pids[4], pids[5]));
    assert_ne!(pids[0], pids[3]);
    assert!(pool.stats().workers <= 1);
    assert_eq!(pool.stats().died, 0, "recycling is no death");
}

// case 126, case 131
fn py_max_tasks_per_child_pending_tasks_gh115634() {
    let pool = ProcessPoolExecutor::builder().max_workers(2).max_tasks_per_child(2);
    let pool = pool.build().unwrap();
    let calls: Vec<_> = (0..23).map(|n| pool.submit(double, n).unwrap()).collect();
    pool.shutdown();
    let results: Vec<u64> = calls.into_iter().map(|call| call.into_result().unwrap()).collect();
    assert_eq!(results, (0..23).map(double).collect::<Vec<_>>());
    assert!(pool.stats().started >= 12);
}

fn workers_are_told_their_environment_and_directory() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(1)
        .env("CONCURRENT_TEST", "yes")
        .env_remove("PATH")
        .working_directory("/")
        .build()
        .unwrap();
    let look = |name: String| std::env::var(name).ok();
    let var = |name: &str| pool.submit(look, name.to_owned()).unwrap().into_result().unwrap();
    assert_eq!(var("CONCURRENT_TEST").as_deref(), Some("yes"));
    assert_eq!(var("PATH"), None);
    let directory = |()| std::env::current_dir().unwrap().to_str().unwrap().to_owned();
    assert_eq!(pool.submit(directory, ()).unwrap().into_result().unwrap(), "/");
    let cleared = ProcessPoolExecutor::builder().max_workers(1).env_clear().build().unwrap();
    let count = cleared.submit(|()| std::env::vars_os().count(), ()).unwrap();
    assert_eq!(count.into_result().unwrap(), 0);
}

fn stdin_is_empty_and_stdout_is_the_users() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let read = |()| {
        print!(""); // the channel is elsewhere
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).map(|n| n as u64).ok()
    };
    assert_eq!(pool.submit(read, ()).unwrap().into_result().unwrap(), Some(0));
    let target = |fd: u32| {
        std::fs::read_link(format!("/proc/self/fd/{fd}"))
            .unwrap()
            .into_os_string()
            .into_string()
            .unwrap()
    };
    for fd in [1, 2] {
        assert_eq!(pool.submit(target, fd).unwrap().into_result().unwrap(), target(fd));
    }
}

fn workers_inherit_nothing_but_standard_descriptors() {
    use std::os::fd::AsRawFd;
    // A descriptor that is not close-on-exec, as C code makes them.
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let leaky = rustix::io::dup(&file).unwrap();
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let names = |()| -> Vec<String> {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.map(|link| link.display().to_string()).collect()
    };
    let names = pool.submit(names, ()).unwrap().into_result().unwrap();
    assert!(!names.iter().any(|name| name.contains("passwd")), "{names:?}");
    assert!(leaky.as_raw_fd() > 2);
}

// F89, F90
fn wrong_settings_are_refused() {
    let zero = ProcessPoolExecutor::new(0).unwrap_err();
    assert_eq!(zero.to_string(), "max_workers must be greater than 0");
    let zero = ProcessPoolExecutor::builder().max_tasks_per_child(0).build().unwrap_err();
    assert_eq!(zero.to_string(), "max_tasks_per_child must be >= 1");
    let many = ProcessPoolExecutor::new(usize::MAX).unwrap();
    assert_eq!(many.submit(double, 1).unwrap().into_result().unwrap(), 2);
}

fn idle_workers_retire() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(1)
        .idle_timeout(Duration::from_millis(1))
        .on_worker_death(OnWorkerDeath::BreakPool)
        .build()
        .unwrap();
    for n in 0..3 {
        assert_eq!(pool.submit(double, n).unwrap().into_result().unwrap(), n * 2);
        crate::support::eventually("retirement", || pool.stats().workers == 0);
    }
    assert_eq!((pool.stats().started, pool.stats().died), (3, 0));
}
