//! Memory, descriptors and temporary files run out while a pool is at work.

use std::os::unix::process::CommandExt;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{OnWorkerDeath, ResourceLimit, SharedBytes};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

use crate::fault_injection::send;
use crate::support::{
    ProcessGate, census, children, eventually, in_own_process, own, replacing, trials,
};
use crate::system::limits::somebody;

trials![
    no_place_for_temporary_files,
    descriptors_that_run_out_and_come_back,
    no_memory_for_a_result_is_an_error_and_no_death,
    no_memory_in_the_parent_for_a_result,
    a_result_that_finds_no_memory_costs_no_worker,
    descriptors_that_are_cut_off_in_a_worker,
    descriptors_that_are_cut_off_in_the_parent,
    shared_memory_that_did_not_come_is_used_again,
    no_descriptors_for_large_results,
    an_argument_that_finds_no_memory_in_a_worker,
];

fn double(n: u64) -> u64 {
    n * 2
}

pub(crate) fn act(test: &str) {
    match test {
        "no-temp" => without_temporary_files(),
        "descriptors-run-out" => descriptors_run_out(),
        "parent-memory" => little_memory(),
        "large-result" => large_result(),
        "cut-off" => cut_off_in_the_parent(),
        "no-descriptors-left" => no_descriptors_left(),
        _ => unreachable!("no such act"),
    }
}

fn no_place_for_temporary_files() {
    let mut command = own(&["no-temp"]);
    command.env("TMPDIR", "/proc/no/such/place").env_remove("HOME").current_dir("/proc");
    if rustix::process::geteuid().is_root() {
        command.uid(somebody()).gid(somebody()); // root may write anywhere
    }
    assert!(command.status().unwrap().success());
}

fn without_temporary_files() {
    assert!(std::fs::write(std::env::temp_dir().join("file"), "").is_err());
    let pool = replacing(2);
    let large = vec![5; 8 << 20];
    let echo = pool.submit(|bytes: Vec<u8>| bytes, large.clone()).unwrap();
    assert!(echo.into_result().unwrap() == large);
    let shared = SharedBytes::copy_from(&large).unwrap();
    let echo = pool.submit(|bytes: SharedBytes| bytes, shared.clone()).unwrap();
    assert_eq!(echo.into_result().unwrap(), shared);
    let died = pool.submit(|()| -> () { std::process::abort() }, ()).unwrap().into_result();
    assert!(died.unwrap_err().worker_death().is_some());
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
}

fn descriptors_that_run_out_and_come_back() {
    in_own_process(&["descriptors-run-out"]);
}

fn allow_descriptors(count: u64) {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: Some(count), maximum };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
}

fn descriptors_run_out() {
    let start = census();
    let pool = replacing(2);
    let both = || -> Vec<_> { (0..40).map(|n| pool.submit(double, n).unwrap()).collect() };
    both().into_iter().for_each(|call| assert!(call.into_result().is_ok()));
    eventually("two workers", || {
        both().into_iter().for_each(|call| assert!(call.into_result().is_ok()));
        pool.stats().idle == 2
    });
    let enough = rustix::process::getrlimit(Resource::Nofile).current.unwrap();
    let worker = children(std::process::id())[0]; // to look for it takes descriptors, too
    allow_descriptors(census().descriptors as u64);
    // One dies and cannot be replaced; large results have no memory to come in.
    send(worker, Signal::KILL);
    eventually("the death", || pool.stats().died == 1);
    let large: Vec<_> =
        (0..8).map(|n| pool.submit(|n| vec![n; 4 << 20], n as u8).unwrap()).collect();
    for (n, call) in large.into_iter().enumerate() {
        match call.into_result() {
            Ok(bytes) => assert!(bytes == vec![n as u8; 4 << 20]),
            Err(error) => {
                let lost = matches!(error, Error::Undelivered(_));
                assert!(lost && error.to_string().contains("too many open files"), "{n} {error}");
            }
        }
    }
    allow_descriptors(enough);
    both().into_iter().for_each(|call| assert!(call.into_result().is_ok()));
    drop(pool);
    eventually("the end of all", || census() == start);
}

/// Takes so many MiB when it is written down, and none before.
struct Grows(usize);

struct Chunk;

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        static CHUNK: [u8; 1 << 20] = [1; 1 << 20];
        serializer.serialize_bytes(&CHUNK)
    }
}

impl Serialize for Grows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut chunks = serializer.serialize_seq(Some(self.0))?;
        (0..self.0).try_for_each(|_| chunks.serialize_element(&Chunk))?;
        chunks.end()
    }
}

impl<'de> Deserialize<'de> for Grows {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("it is never read"))
    }
}

fn no_memory_for_a_result_is_an_error_and_no_death() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder
        .limit(ResourceLimit::AddressSpace, 512 << 20)
        .on_worker_death(OnWorkerDeath::FailCall)
        .build()
        .unwrap();
    for _ in 0..3 {
        let error = pool.submit(Grows, 1024).unwrap().into_result().err().unwrap();
        assert!(error.to_string().contains("no shared memory"), "{error}");
        assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    }
    assert_eq!(pool.stats().died, 0);
}

fn no_memory_in_the_parent_for_a_result() {
    in_own_process(&["parent-memory"]);
}

/// Allows this process little more memory than it has; gives back how much it may have had.
fn allow_little_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').next().unwrap().parse().unwrap();
    let maximum = rustix::process::getrlimit(Resource::As).maximum;
    allow_memory(Some(pages * 4096 + (32 << 20)), maximum);
    maximum
}

fn allow_memory(current: Option<u64>, maximum: Option<u64>) {
    rustix::process::setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
}

fn little_memory() {
    let pool = replacing(1);
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    let maximum = allow_little_memory();
    let make = |len| SharedBytes::new(len, |bytes| bytes.fill(1)).unwrap();
    let error = pool.submit(make, 256 << 20).unwrap().into_result().unwrap_err();
    assert!(matches!(error, Error::Decode(_)), "{error}");
    allow_memory(maximum, maximum);
    assert_eq!(pool.submit(make, 1 << 20).unwrap().into_result().unwrap().len(), 1 << 20);
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
}

fn a_result_that_finds_no_memory_costs_no_worker() {
    in_own_process(&["large-result"]);
}

fn large_result() {
    let pool = std::sync::Arc::new(replacing(1));
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    let maximum = allow_little_memory();
    let call = pool.submit(|len: usize| vec![1u8; len], 256 << 20).unwrap();
    let (seen, next) = std::sync::mpsc::channel();
    let same = std::sync::Arc::clone(&pool);
    call.add_done_callback(move |_| {
        allow_memory(maximum, maximum);
        seen.send(same.submit(double, 5).unwrap()).unwrap();
    });
    assert_eq!(next.recv().unwrap().into_result().unwrap(), 10);
    let error = call.into_result().unwrap_err();
    assert!(error.to_string().contains("no memory"), "{error}");
    assert_eq!((pool.stats().died, pool.stats().started), (0, 1));
}

/// In a worker: takes all descriptors that it may have, but for so many.
fn exhaust(left: usize) {
    static TAKEN: std::sync::Mutex<Vec<std::fs::File>> = std::sync::Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    taken.extend(std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()));
    let count = taken.len();
    taken.truncate(count - left);
}

fn sum(ones: Vec<u64>) -> u64 {
    ones.iter().sum()
}

fn descriptors_that_are_cut_off_in_a_worker() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder
        .limit(ResourceLimit::OpenFiles, 64)
        .on_worker_death(OnWorkerDeath::FailCall)
        .build()
        .unwrap();
    let both = |(shared, text): (SharedBytes, String)| shared.len() + text.len();
    let shared = SharedBytes::copy_from(&[7; 5000]).unwrap();
    for left in [1, 0] {
        pool.submit(exhaust, left).unwrap().into_result().unwrap();
        for _ in 0..2 {
            let call = pool.submit(both, (shared.clone(), "x".repeat(10_000))).unwrap();
            let error = call.into_result().unwrap_err();
            assert!(matches!(error, Error::Undelivered(_)), "{error}");
            assert!(error.to_string().contains("too many open files"), "{error}");
        }
        for ones in [2000, 30_000, 2000] {
            let call = pool.submit(sum, vec![1; ones]).unwrap();
            match call.into_result() {
                Ok(sum) => assert_eq!(sum, ones as u64),
                Err(error) => {
                    assert!(left == 0 && matches!(error, Error::Undelivered(_)), "{error}")
                }
            }
            assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
        }
    }
    // A result of its own: it has no descriptor for the memory.
    let error = pool.submit(|len: usize| vec![1u8; len], 1 << 20).unwrap().into_result();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("no shared memory") && error.contains("open files"), "{error}");
    assert_eq!((pool.stats().died, pool.stats().started), (0, 1));
}

fn take_all_descriptors(gate: String) {
    ProcessGate::pass(&gate);
    exhaust(0);
}

fn shared_memory_that_did_not_come_is_used_again() {
    let builder = ProcessPoolExecutor::builder().max_workers(2).prefetch(4);
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    let gates = [(); 3].map(|()| ProcessGate::new());
    let hold = |gate: String| ProcessGate::pass(&gate);
    let short = pool.submit(take_all_descriptors, gates[0].name()).unwrap();
    gates[0].wait_begun();
    let other = pool.submit(hold, gates[1].name()).unwrap();
    gates[1].wait_begun();
    // It goes to the first worker, is taken back, and runs in the other one.
    let first = pool.submit(sum, vec![1; 3000]).unwrap();
    let last = pool.submit(hold, gates[2].name()).unwrap();
    gates[1].open();
    assert_eq!(first.into_result().unwrap(), 3000);
    other.into_result().unwrap();
    gates[2].wait_begun();
    // With the memory that the first worker was sent and could not receive.
    let second = pool.submit(sum, vec![2; 3000]).unwrap();
    gates[0].open();
    short.into_result().unwrap();
    match second.into_result() {
        Ok(sum) => assert_eq!(sum, 6000),
        Err(error) => assert!(error.to_string().contains("too many open files"), "{error}"),
    }
    gates[2].open();
    last.into_result().unwrap();
    assert_eq!(pool.stats().died, 0);
}

fn descriptors_that_are_cut_off_in_the_parent() {
    in_own_process(&["cut-off"]);
}

/// All descriptors that this process may have, but for so many.
fn take_descriptors(left: usize) -> Vec<std::fs::File> {
    allow_descriptors(200);
    let mut files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    files.truncate(files.len() - left);
    files
}

fn cut_off_in_the_parent() {
    let both = |n: usize| (SharedBytes::copy_from(&[7; 5000]).unwrap(), vec![n as u32; 50_000]);
    let twos = |n: usize| vec![n as u64; 50_000];
    for left in [1, 0] {
        let pool = replacing(1);
        assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
        let taken = take_descriptors(left);
        for _ in 0..2 {
            // The first brings two descriptors, the next none or one.
            match pool.submit(both, 3).unwrap().into_result() {
                Ok((_, numbers)) => assert!(left == 1 && numbers == [3; 50_000]),
                Err(error) => assert!(matches!(error, Error::Undelivered(_)), "{left} {error}"),
            }
            match pool.submit(twos, 2).unwrap().into_result() {
                Ok(numbers) => assert!(left == 1 && numbers == twos(2)),
                Err(error) => {
                    assert!(left == 0 && matches!(error, Error::Undelivered(_)), "{error}");
                }
            }
            assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
        }
        drop(taken);
        assert!(pool.submit(both, 3).unwrap().into_result().unwrap().1 == [3; 50_000]);
        assert!(pool.submit(twos, 2).unwrap().into_result().unwrap() == twos(2));
        assert_eq!((pool.stats().died, pool.stats().started), (0, 1));
    }
}

fn no_descriptors_for_large_results() {
    in_own_process(&["no-descriptors-left"]);
}

fn no_descriptors_left() {
    let pool = replacing(1);
    let zeros = |len: usize| vec![7u8; len];
    assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    let taken = take_descriptors(0);
    for _ in 0..3 {
        let error = pool.submit(zeros, 1 << 20).unwrap().into_result().map(drop).unwrap_err();
        assert!(error.to_string().contains("too many open files"), "{error}");
        let error = pool.submit(sum, vec![1; 1 << 20]).unwrap().into_result().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("shared memory") && text.contains("open files"), "{text}");
        assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    }
    drop(taken);
    assert!(pool.submit(zeros, 1 << 20).unwrap().into_result().unwrap() == zeros(1 << 20));
    assert_eq!(pool.submit(sum, vec![1; 1 << 20]).unwrap().into_result().unwrap(), 1 << 20);
    assert_eq!((pool.stats().died, pool.stats().started), (0, 1));
}

fn an_argument_that_finds_no_memory_in_a_worker() {
    let builder = ProcessPoolExecutor::builder().max_workers(1);
    let pool = builder.limit(ResourceLimit::AddressSpace, 256 << 20).build().unwrap();
    for _ in 0..2 {
        let call = pool.submit(|text: String| text.len(), "x".repeat(300 << 20)).unwrap();
        let error = call.into_result().unwrap_err();
        assert!(error.to_string().contains("no memory for 3145728"), "{error}");
        assert_eq!(pool.submit(double, 4).unwrap().into_result().unwrap(), 8);
    }
    assert_eq!(pool.stats().died, 0);
}
