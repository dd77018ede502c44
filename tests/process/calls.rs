//! What calls do when nothing goes wrong with their process.

use std::collections::HashSet;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::process::OnWorkerDeath;
use concurrent::futures::{
    Executor, Future, MapOptions, ProcessPoolExecutor, ReturnWhen, ThreadPoolExecutor,
    as_completed, wait,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::support::{Gate, replacing, trials};

trials![
    functions_and_closures_of_all_kinds,
    py_map_chunksize,
    one_bad_element_leaves_the_others_of_its_chunk,
    a_panic_is_the_failure_of_its_call,
    futures_of_threads_and_processes_mix,
    py_error_at_task_pickle,
    py_error_at_task_unpickle,
    py_error_during_result_pickle_on_worker,
    py_error_during_result_unpickle_in_result_handler,
    a_message_above_the_limit_is_refused,
    py_saturation,
    py_idle_process_reuse_one,
    py_initializer,
    py_max_tasks_per_child,
    py_max_tasks_per_child_pending_tasks_gh115634,
    prefetched_calls_stay_cancellable,
    a_cheap_call_does_not_wait_behind_a_long_one,
    workers_are_told_their_environment_and_directory,
    stdin_is_empty_and_stdout_is_the_users,
    workers_inherit_nothing_but_standard_descriptors,
    a_pool_inside_of_a_worker,
    wrong_settings_are_refused,
    idle_workers_retire,
    arguments_and_results_of_any_shape,
    a_map_ends_with_its_time_limit,
];

fn double(n: u64) -> u64 {
    n * 2
}

mod numbers {
    pub(super) struct Seven;
    impl Seven {
        pub(super) fn plus(n: i32) -> i32 {
            n + 7
        }
    }
    pub(super) fn identity<T>(value: T) -> T {
        value
    }
}

fn functions_and_closures_of_all_kinds() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    assert_eq!(*pool.submit(double, 21).unwrap().result().unwrap(), 42);
    assert_eq!(*pool.submit(numbers::Seven::plus, -7).unwrap().result().unwrap(), 0);
    let text = pool.submit(numbers::identity::<String>, "text".to_owned()).unwrap();
    assert_eq!(text.into_result().unwrap(), "text");
    assert_eq!(*pool.submit(|(a, b)| a + b, (1u8, 2u8)).unwrap().result().unwrap(), 3);
    assert_eq!(*pool.submit(u32::leading_zeros, 1).unwrap().result().unwrap(), 31);
    let table: [fn(u64) -> u64; 2] = [double, |n| n + 1];
    let results = table.map(|f| pool.submit(f, 10).unwrap().into_result().unwrap());
    assert_eq!(results, [20, 11]);
    let unit = pool.submit(|()| (), ()).unwrap();
    unit.into_result().unwrap();
}

// case 117
fn py_map_chunksize() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let expected: Vec<u64> = (0..7).map(double).collect();
    for size in [1, 3, 7, 100] {
        let options = MapOptions::new().chunk_size(size);
        let got: Result<Vec<_>, _> = pool.map_with(options, double, 0..7).unwrap().collect();
        assert_eq!(got.unwrap(), expected);
    }
    let zero = pool.map_with(MapOptions::new().chunk_size(0), double, 0..7);
    assert!(matches!(zero, Err(Error::InvalidArgument(_))));
}

fn one_bad_element_leaves_the_others_of_its_chunk() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let options = MapOptions::new().chunk_size(4);
    let even = |n: u32| if n == 2 { panic!("odd one out") } else { n };
    let got: Vec<_> = pool.map_with(options, even, 0..6).unwrap().collect();
    assert_eq!(got.len(), 6);
    for (n, result) in got.into_iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(value as usize, n),
            Err(Error::Panicked(panic)) => {
                assert_eq!((n, panic.message()), (2, "odd one out"));
                assert!(panic.location().unwrap().contains("calls.rs"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    // An element that cannot be encoded, or decoded, or whose result cannot be encoded.
    let options = MapOptions::new().chunk_size(8);
    let items = [Fussy::Fine, Fussy::Encode, Fussy::Decode, Fussy::Fine, Fussy::Result];
    let got: Vec<_> = pool.map_with(options, fuss, items).unwrap().collect();
    assert!(matches!(got[0], Ok(Fussy::Fine)) && matches!(got[3], Ok(Fussy::Fine)));
    assert!(matches!(got[1], Err(Error::Encode(_))), "{:?}", got[1]);
    assert!(matches!(got[2], Err(Error::Decode(_))), "{:?}", got[2]);
    assert!(matches!(got[4], Err(Error::Encode(_))), "{:?}", got[4]);
    // Without chunks as well.
    let got: Vec<_> = pool.map(fuss, [Fussy::Fine, Fussy::Encode, Fussy::Fine]).collect();
    assert!(got[0].is_ok() && got[1].is_err() && got[2].is_ok());
}

// case 104, case 118, F100, F101
fn a_panic_is_the_failure_of_its_call() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let call = pool.submit(|n: u64| -> u64 { panic!("no {n}") }, 7).unwrap();
    let Err(Error::Panicked(panic)) = call.into_result() else { panic!("it must fail") };
    assert_eq!(panic.message(), "no 7");
    assert!(panic.location().unwrap().contains("calls.rs"));
    assert_eq!(pool.submit(double, 1).unwrap().into_result().unwrap(), 2);
    assert_eq!(pool.stats().started, 1);
    let raised = pool.submit(|s: String| s.parse::<u8>().map_err(|e| e.to_string()), "x".into());
    assert!(raised.unwrap().into_result().unwrap().is_err(), "an Err is a value");
}

fn futures_of_threads_and_processes_mix() {
    let threads = ThreadPoolExecutor::new(1).unwrap();
    let processes = ProcessPoolExecutor::new(1).unwrap();
    let calls: Vec<Future<u64>> =
        vec![threads.spawn(|| 1).unwrap(), processes.submit(double, 1).unwrap()];
    let sum: u64 = as_completed(&calls).map(|call| *call.result().unwrap()).sum();
    assert_eq!(sum, 3);
    assert_eq!(wait(&calls, None, ReturnWhen::AllCompleted).done.len(), 2);
    let (sender, receiver) = std::sync::mpsc::channel();
    let call = processes.submit(double, 4).unwrap();
    call.add_done_callback(move |call| sender.send(*call.result().unwrap()).unwrap());
    assert_eq!(receiver.recv().unwrap(), 8);
    fn on_any(executor: &impl Executor) -> u64 {
        executor.submit(double, 5).unwrap().into_result().unwrap()
    }
    assert_eq!((on_any(&threads), on_any(&processes)), (10, 10));
}

/// Refuses one step of the journey.
#[derive(Debug)]
enum Fussy {
    Fine,
    Encode,
    Decode,
    Result,
    /// Made by the call; the parent cannot decode it.
    Bad,
    PanicEncode,
    PanicDecode,
    ExitDecode,
    AbortEncode,
}

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Encode => Err(serde::ser::Error::custom("not me")),
            Self::PanicEncode => panic!("encode"),
            Self::AbortEncode => std::process::abort(),
            Self::Fine => serializer.serialize_u8(0),
            Self::Decode => serializer.serialize_u8(1),
            Self::Result => serializer.serialize_u8(2),
            Self::Bad => serializer.serialize_u8(9),
            Self::PanicDecode => serializer.serialize_u8(10),
            Self::ExitDecode => serializer.serialize_u8(11),
        }
    }
}

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Fine),
            2 => Ok(Self::Result),
            10 => panic!("decode"),
            11 => std::process::exit(11),
            _ => Err(serde::de::Error::custom("not that")),
        }
    }
}

fn fuss(fussy: Fussy) -> Fussy {
    if matches!(fussy, Fussy::Result) { Fussy::Encode } else { fussy }
}

// case 98, F95, F96
fn py_error_at_task_pickle() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    for bad in [Fussy::Encode, Fussy::PanicEncode] {
        let error = pool.submit(fuss, bad).unwrap_err();
        assert!(matches!(&error, Error::Encode(text) if text.contains("Fussy")), "{error}");
    }
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

// case 99, case 100, F98
fn py_error_at_task_unpickle() {
    let pool = replacing(1);
    for bad in [Fussy::Decode, Fussy::PanicDecode] {
        let error = pool.submit(fuss, bad).unwrap().into_result().unwrap_err();
        assert!(matches!(&error, Error::Decode(text) if text.contains("Fussy")), "{error}");
    }
    assert_eq!(pool.stats().started, 1, "a refused argument is no death");
    let exits = pool.submit(fuss, Fussy::ExitDecode).unwrap().into_result().unwrap_err();
    assert_eq!(exits.worker_death().unwrap().exit_code, Some(11));
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

// case 105, case 107, F97
fn py_error_during_result_pickle_on_worker() {
    let pool = replacing(1);
    let error = pool.submit(fuss, Fussy::Result).unwrap().into_result().unwrap_err();
    assert!(matches!(&error, Error::Encode(text) if text.contains("the result")), "{error}");
    let panics = pool.submit(|()| Fussy::PanicEncode, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(panics, Error::Encode(_)));
    let aborts = pool.submit(|()| Fussy::AbortEncode, ()).unwrap().into_result().unwrap_err();
    assert_eq!(aborts.worker_death().unwrap().signal, Some(6));
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

// case 108
fn py_error_during_result_unpickle_in_result_handler() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let error = pool.submit(|()| Fussy::Bad, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(&error, Error::Decode(text) if text.contains("the result")), "{error}");
    let panics = pool.submit(|()| Fussy::PanicDecode, ()).unwrap().into_result().unwrap_err();
    assert!(matches!(panics, Error::Decode(_)));
    assert!(pool.submit(fuss, Fussy::Fine).unwrap().into_result().is_ok());
}

fn a_message_above_the_limit_is_refused() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(1000).build();
    let pool = pool.unwrap();
    let length = |bytes: Vec<u8>| bytes.len();
    assert_eq!(pool.submit(length, vec![0; 1000]).unwrap().into_result().unwrap(), 1000);
    let error = pool.submit(length, vec![0; 1001]).unwrap_err();
    assert!(matches!(error, Error::MessageTooLarge { limit: 1000 }), "{error}");
    let result = pool.submit(|n: usize| "x".repeat(n), 1001).unwrap().into_result();
    assert!(matches!(result, Err(Error::MessageTooLarge { limit: 1000 })));
    assert!(pool.submit(|n: usize| "x".repeat(n), 900).unwrap().into_result().is_ok());
}

// case 121, F94
fn py_saturation() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    let gate = Gate::new();
    let calls: Vec<_> =
        (0..30).map(|_| pool.submit(|g: String| Gate::pass(&g), gate.name()).unwrap()).collect();
    for _ in 0..30 {
        gate.wait_begun();
        assert!(pool.stats().workers <= 2);
        gate.open();
    }
    calls.into_iter().for_each(|call| call.into_result().unwrap());
    assert_eq!(pool.stats().started, 2);
}

// case 122, case 123
fn py_idle_process_reuse_one() {
    let pool = ProcessPoolExecutor::new(4).unwrap();
    let pids: HashSet<u32> = (0..5)
        .map(|_| pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap())
        .collect();
    assert_eq!(pids.len(), 1);
    assert!(!pids.contains(&std::process::id()));
}

static GREETING: std::sync::OnceLock<String> = std::sync::OnceLock::new();

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

// F99
fn prefetched_calls_stay_cancellable() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).prefetch(8).build().unwrap();
    let gate = Gate::new();
    let first = pool.submit(|g: String| Gate::pass(&g), gate.name()).unwrap();
    let behind: Vec<_> = (0..6).map(|n| pool.submit(double, n).unwrap()).collect();
    gate.wait_begun();
    assert!(first.running() && !first.cancel());
    assert!(behind.iter().all(|call| !call.running()), "only one can run");
    assert!(behind.iter().step_by(2).all(Future::cancel));
    gate.open();
    first.into_result().unwrap();
    for (n, call) in behind.into_iter().enumerate() {
        match call.into_result() {
            Ok(value) => assert_eq!((value, n % 2), (n as u64 * 2, 1)),
            Err(error) => assert!(error.is_cancelled() && n % 2 == 0),
        }
    }
}

fn a_cheap_call_does_not_wait_behind_a_long_one() {
    let pool = ProcessPoolExecutor::new(2).unwrap();
    // Both workers learn that calls are cheap, so that the depth is high.
    assert!(pool.map(double, 0..2000).all(|result| result.is_ok()));
    let gate = Gate::new();
    let mut long = None;
    let cheap: Vec<_> = (0..40)
        .filter_map(|n| {
            if n == 3 {
                long = pool.submit(|g: String| Gate::pass(&g), gate.name()).ok();
                return None;
            }
            pool.submit(double, n).ok()
        })
        .collect();
    gate.wait_begun();
    for call in cheap {
        call.into_result().unwrap(); // hangs if one is stuck behind the long one
    }
    gate.open();
    long.unwrap().into_result().unwrap();
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
    assert_eq!(var("CONCURRENT_PY_WORKER"), None, "a worker's children are no workers");
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

fn a_pool_inside_of_a_worker() {
    fn nested(n: u64) -> u64 {
        let pool = ProcessPoolExecutor::new(1).unwrap();
        pool.submit(double, n).unwrap().into_result().unwrap()
    }
    let pool = ProcessPoolExecutor::new(1).unwrap();
    assert_eq!(pool.submit(nested, 4).unwrap().into_result().unwrap(), 8);
    fn deep(left: u32) -> u32 {
        let Ok(pool) = ProcessPoolExecutor::new(1) else { return left };
        pool.submit(deep, left - 1).unwrap().into_result().unwrap()
    }
    assert_eq!(pool.submit(deep, 20).unwrap().into_result().unwrap(), 11, "ten deep, no more");
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

fn arguments_and_results_of_any_shape() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Tree {
        Leaf { name: String, weight: f64 },
        Node(Vec<Tree>, Option<char>),
    }
    let leaf = Tree::Leaf { name: "ä".into(), weight: f64::MIN };
    let tree = Tree::Node(vec![leaf.clone(), Tree::Node(vec![], Some('x'))], None);
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let back = pool.submit(|t: Tree| t, tree.clone()).unwrap().into_result().unwrap();
    assert_eq!(back, tree);
}

fn a_map_ends_with_its_time_limit() {
    let pool = ProcessPoolExecutor::new(1).unwrap();
    let gate = Gate::new();
    let options = MapOptions::new().timeout(Duration::from_millis(1));
    let names = vec![gate.name(), gate.name()];
    let mut map = pool.map_with(options, |g: String| Gate::pass(&g), names).unwrap();
    gate.wait_begun();
    assert!(map.next().unwrap().unwrap_err().is_timeout());
    assert!(map.next().is_none());
    gate.open();
}
