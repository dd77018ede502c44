//! Mixed load with faults, and samples while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use concurrent::futures::process::{OnWorkerDeath, ResourceLimit, SharedBytes};
use concurrent::futures::{Future, ProcessPoolExecutor, Promise, ThreadPoolExecutor, join_all};
use concurrent::sched::{Every, Scheduler, VirtualClock};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::proc::children;
use crate::common::random::Random;
use crate::sample::Sample;

/// How often to look; more often if there is little time.
const PERIOD: Duration = Duration::from_secs(1);
const SAMPLES: u32 = 40;

/// How long a load may take to end: its calls have deadlines of five seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// State that all kinds of load share.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    begun: AtomicU64,
    ended: Arc<AtomicU64>,
    failed: AtomicU64,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn watch<T: Send + Sync + 'static>(&self, future: &Future<T>) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let ended = Arc::clone(&self.ended);
        future.add_done_callback(move |_| {
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Waits for a call that may fail.
    fn settle<T: Send + Sync + 'static>(&self, future: Future<T>) {
        self.failed.fetch_add(u64::from(future.into_result().is_err()), Ordering::Relaxed);
    }

    fn see_through<T: Send + Sync + 'static>(&self, future: Future<T>) {
        self.watch(&future);
        self.settle(future);
    }

    /// Sees all through; if `step` is given, tries to cancel each that is so far from the last.
    fn see_all_through(&self, calls: Vec<Future<u64>>, step: Option<usize>) {
        calls.iter().for_each(|call| self.watch(call));
        if let Some(step) = step {
            calls.iter().step_by(step).for_each(|call| _ = call.cancel());
        }
        calls.into_iter().for_each(|call| self.settle(call));
    }

    fn action(&self) -> impl FnOnce() + Send + use<> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let ended = Arc::clone(&self.ended);
        move || {
            ended.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event was cancelled: that is an end, too.
    fn cancelled(&self, won: bool) {
        self.ended.fetch_add(u64::from(won), Ordering::Relaxed);
    }
}

/// Ends the load also if a part of it fails.
struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Runs the load for so long, and checks that each call and event has ended once and that nothing
/// is left.
pub(crate) fn run(time: Duration, seed: u64) -> Vec<Sample> {
    // The thread behind all timeouts stays once there was one.
    let (_promise, never) = Promise::<()>::pair();
    assert!(never.with_timeout(Duration::from_millis(1)).into_result().is_err());
    let before = Sample::take(0.0, 0);
    let load = Load::default();
    let samples = under_load(&load, time, seed);
    let (begun, ended) = (load.begun.into_inner(), load.ended.load(Ordering::Relaxed));
    println!("{begun} calls and events, {} of the calls failed", load.failed.into_inner());
    assert_eq!(begun, ended, "each ends once");
    let begin = Instant::now();
    loop {
        let now = Sample::take(0.0, 0);
        let counts = |sample: &Sample| [sample.children, sample.descriptors, sample.threads];
        if counts(&now) == counts(&before) {
            break;
        }
        let found = format!("left behind: {now:?}, there was {before:?}");
        assert!(begin.elapsed() < Duration::from_secs(20), "{found}");
        std::thread::yield_now();
    }
    samples
}

fn under_load(load: &Load, time: Duration, seed: u64) -> Vec<Sample> {
    let threads = ThreadPoolExecutor::new(4).unwrap();
    let builder = ProcessPoolExecutor::builder().max_workers(3).limit(ResourceLimit::CoreDump, 0);
    let builder = builder.on_worker_death(OnWorkerDeath::FailCall);
    let processes = builder.call_deadline(Duration::from_secs(5)).build().unwrap();
    let pool = Arc::new(ThreadPoolExecutor::new(2).unwrap());
    let executor = Arc::clone(&pool);
    let dispatch = move |due: concurrent::sched::Due| executor.spawn(|| due.run()).map(drop);
    let scheduler = Scheduler::builder().dispatch(dispatch).build();
    std::thread::scope(|scope| {
        let (threads, processes, scheduler) = (&threads, &processes, &scheduler);
        let started = |name: &str, work| {
            let thread = std::thread::Builder::new().name(name.into());
            thread.spawn_scoped(scope, work).unwrap()
        };
        let part = |name, work: fn(&Load, &Parts<'_>, &mut Random), number: u64| {
            let parts = Parts { threads, processes, scheduler };
            let work: Box<dyn FnOnce() + Send> = Box::new(move || {
                let _over = Over(load);
                let mut random = Random::new(seed + number);
                while load.goes_on() {
                    work(load, &parts, &mut random);
                }
            });
            started(name, work)
        };
        let parts = [
            part("threads 1", thread_calls, 1),
            part("threads 2", thread_calls, 2),
            part("processes 1", process_calls, 3),
            part("processes 2", process_calls, 4),
            part("faults", faults, 5),
            part("events", events, 6),
            part("virtual events", virtual_events, 7),
        ];
        let runs = Box::new(move || while scheduler.run_forever().is_err() {});
        let runner = started("runner", runs);
        let runner = Runner { scheduler, runner: &runner };
        let (ended, end) = mpsc::channel::<()>();
        started(
            "watchdog",
            Box::new(move || {
                if end.recv_timeout(time + LIMIT) == Err(RecvTimeoutError::Timeout) {
                    tell_where(processes, threads, scheduler);
                }
            }),
        );
        let _ended = ended; // dropped before the scope waits for the watchdog
        let samples = watch(load, time);
        parts.into_iter().for_each(|part| part.join().unwrap());
        while !scheduler.is_empty() {
            std::thread::yield_now(); // the last are due within milliseconds
        }
        drop(runner);
        samples
    })
}

/// Ends a load that hangs, and says of each thread whether it lives and in what it waits.
fn tell_where(
    processes: &ProcessPoolExecutor,
    threads: &ThreadPoolExecutor,
    scheduler: &Scheduler,
) {
    eprintln!("the load did not end: {} events queued", scheduler.len());
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (name, waits_in, call) = (read("comm"), read("wchan"), read("syscall"));
        eprintln!("{}: {waits_in}, {}", name.trim(), call.trim());
    }
    for child in children(std::process::id()) {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
        eprintln!("worker process {child}: {state}");
    }
    eprintln!("{:#?}\n{:#?}", processes.stats(), threads.stats());
    std::process::abort();
}

/// Ends the runs of a scheduler, also when a part of the load has failed.
struct Runner<'a, 'scope> {
    scheduler: &'a Scheduler,
    runner: &'a ScopedJoinHandle<'scope, ()>,
}

impl Drop for Runner<'_, '_> {
    fn drop(&mut self) {
        // Again and again: a run that is stopped while its last action fails returns that error, and the
        // next run is not stopped.
        while !self.runner.is_finished() {
            self.scheduler.stop();
            std::thread::yield_now();
        }
    }
}

struct Parts<'a> {
    threads: &'a ThreadPoolExecutor,
    processes: &'a ProcessPoolExecutor,
    scheduler: &'a Scheduler,
}

fn watch(load: &Load, time: Duration) -> Vec<Sample> {
    let begin = Instant::now();
    let (_keep, clock) = mpsc::channel::<()>();
    let mut samples = Vec::new();
    let _over = Over(load);
    while begin.elapsed() < time && load.goes_on() {
        let seconds = begin.elapsed().as_secs_f64();
        samples.push(Sample::take(seconds, load.ended.load(Ordering::Relaxed)));
        let pause = PERIOD.min(time / SAMPLES);
        assert_eq!(clock.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
    }
    samples
}

fn thread_calls(load: &Load, parts: &Parts<'_>, random: &mut Random) {
    let pool = parts.threads;
    let n = random.below(1000);
    let calls: Vec<Future<u64>> = (0..n % 50).map(|n| pool.spawn(move || n * 2).unwrap()).collect();
    load.see_all_through(calls, (n % 3 == 0).then_some(2));
    match n {
        0..50 => {
            let call: Future<()> = pool.spawn(|| panic!("on purpose: part of the load")).unwrap();
            load.see_through(call);
        }
        50..150 => {
            let call = pool.spawn(move || vec![n; 10_000]).unwrap();
            load.watch(&call);
            let timed =
                call.map(|numbers| numbers.len()).with_timeout(Duration::from_millis(n % 3));
            load.see_through(timed);
        }
        150..250 => {
            let calls: Vec<_> = (0..8).map(|n| pool.spawn(move || n).unwrap()).collect();
            let all = join_all(calls);
            load.see_through(all);
        }
        250..260 => {
            let own = Arc::new(ThreadPoolExecutor::new(2).unwrap());
            let inner = Arc::clone(&own);
            let call = own.spawn(move || inner.spawn(|| 1)?.into_result()).unwrap();
            load.see_through(call);
        }
        _ => {}
    }
}

fn double(n: u64) -> u64 {
    n * 2
}

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn share(len: usize) -> SharedBytes {
    SharedBytes::new(len, |bytes| bytes.fill(9)).unwrap()
}

fn die(how: u64) {
    match how % 4 {
        0 => std::process::abort(),
        1 => std::process::exit(0),
        2 => panic!("on purpose: part of the load"),
        _ => kill_process(rustix::process::getpid(), Signal::KILL).unwrap(),
    }
}

fn park(_: ()) {
    loop {
        std::thread::park();
    }
}

fn process_calls(load: &Load, parts: &Parts<'_>, random: &mut Random) {
    let pool = parts.processes;
    let n = random.below(1000);
    let calls: Vec<_> = (0..n % 40).map(|n| pool.submit(double, n).unwrap()).collect();
    load.see_all_through(calls, (n % 3 == 0).then_some(3));
    match n {
        0..300 => {
            let call = pool.submit(echo, vec![1; random.below(300_000) as usize]).unwrap();
            load.see_through(call);
        }
        300..400 => {
            let call = pool.submit(share, random.below(1 << 20) as usize).unwrap();
            load.see_through(call);
        }
        400..440 => {
            let call = pool.submit(die, random.below(4)).unwrap();
            load.see_through(call);
        }
        440..450 => {
            let call = pool.submit(park, ()).unwrap();
            load.watch(&call);
            let _ = call.result_timeout(Duration::from_millis(1));
            call.kill();
            load.settle(call);
        }
        450..455 => {
            let own = ProcessPoolExecutor::builder().max_workers(2);
            let own = own.on_worker_death(OnWorkerDeath::Retry(9)).build().unwrap();
            let calls: Vec<_> = (0..20).filter_map(|n| own.submit(double, n).ok()).collect();
            calls.iter().for_each(|call| load.watch(call));
            own.shutdown();
            calls.into_iter().for_each(|call| load.settle(call));
        }
        _ => {}
    }
}

/// Signals a random worker of any pool.
fn faults(load: &Load, parts: &Parts<'_>, random: &mut Random) {
    let workers = children(std::process::id());
    let victim = workers.get(random.below(workers.len().max(1) as u64) as usize);
    let halts = random.below(3) == 0;
    if let Some(victim) = victim.and_then(|pid| Pid::from_raw(*pid as i32)) {
        let _ = kill_process(victim, if halts { Signal::STOP } else { Signal::KILL });
        let call = parts.processes.submit(double, 1).unwrap();
        load.watch(&call);
        let _ = call.result_timeout(Duration::from_millis(random.below(50)));
        if halts {
            let _ = kill_process(victim, Signal::CONT);
        }
        load.settle(call);
    }
    for _ in 0..random.below(200) {
        let call = parts.processes.submit(double, 1).unwrap();
        load.see_through(call);
    }
}

fn events(load: &Load, parts: &Parts<'_>, random: &mut Random) {
    let scheduler = parts.scheduler;
    let mut entered = Vec::new();
    for _ in 0..100 {
        let delay = Duration::from_micros(random.below(5_000));
        let action = load.action();
        entered.push(scheduler.enter(delay, random.below(3) as i32, action));
    }
    let ticks = Every::fixed_rate(Duration::from_micros(300));
    let every = scheduler.every(ticks, 0, || ()).unwrap();
    let fails = scheduler.enter(Duration::from_millis(1), 0, || Err::<(), _>("part of the load"));
    for event in entered.drain(..).skip(random.below(90) as usize) {
        load.cancelled(scheduler.cancel(&event).is_ok());
    }
    let call = parts.threads.spawn(|| ()).unwrap();
    load.see_through(call);
    let _ = (scheduler.cancel(&every), scheduler.cancel(&fails));
    while scheduler.len() > 2_000 && load.goes_on() {
        std::thread::yield_now();
    }
}

fn virtual_events(load: &Load, _: &Parts<'_>, random: &mut Random) {
    let clock = VirtualClock::new();
    let scheduler = Scheduler::<Duration>::with_virtual_clock(&clock);
    let entered: Vec<_> = (0..200)
        .map(|_| {
            let delay = Duration::from_secs(random.below(100_000));
            scheduler.enter(delay, random.below(3) as i32, load.action())
        })
        .collect();
    for event in entered.iter().step_by(3) {
        load.cancelled(scheduler.cancel(event).is_ok());
    }
    scheduler.run().unwrap();
    // Leave the other parts their share of the processors.
    (0..50).for_each(|_| std::thread::yield_now());
}
