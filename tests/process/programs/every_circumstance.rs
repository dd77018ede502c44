//! Circumstances of a program, each alone and with each other one: values are right, a worker that is
//! killed is replaced, and the pool goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use concurrent::futures::process::{OnWorkerDeath, ResourceLimit};
use concurrent::futures::{ProcessPoolExecutor, ShutdownOptions};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::exchange::Exchange;
use crate::fault_injection::send;
use crate::support::{LIMIT, children, eventually, in_own_process, trials};

trials![within LIMIT * 4, every_circumstance_with_every_other];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circumstance {
    /// SIGPIPE is at its default, which ends a program.
    Sigpipe,
    /// All signals are blocked.
    Blocked,
    /// Nobody reaps children but the system.
    NoZombies,
    /// Standard streams are closed.
    Closed,
    /// Little stack, for the workers as well.
    Stack,
    /// Files must not be as long as large messages are.
    FileSize,
    AddressSpace,
    CpuTime,
    /// A fork of the program has all that it had open.
    Forked,
    /// Workers are stopped, and go on, all the time.
    Stopped,
    /// Another part of the program reaps all children.
    Reaped,
}

use Circumstance::{
    AddressSpace, Blocked, Closed, CpuTime, FileSize, Forked, NoZombies, Reaped, Sigpipe, Stack,
    Stopped,
};

impl Circumstance {
    const ALL: [Self; 11] = [
        Sigpipe,
        Blocked,
        NoZombies,
        Closed,
        Stack,
        FileSize,
        AddressSpace,
        CpuTime,
        Forked,
        Stopped,
        Reaped,
    ];

    fn begin(self) {
        match self {
            Sigpipe => act_on(libc::SIGPIPE, libc::SIG_DFL),
            NoZombies => act_on(libc::SIGCHLD, libc::SIG_IGN),
            Blocked => block_all(),
            Closed => (0..3).for_each(|stream| {
                // SAFETY: nothing in this process uses it from here on, but for what goes nowhere.
                unsafe { libc::close(stream) };
            }),
            Stack => limit(Resource::Stack, 256 << 10),
            FileSize => limit(Resource::Fsize, 64 << 10),
            AddressSpace => limit(Resource::As, 4 << 30),
            CpuTime => limit(Resource::Cpu, 3600),
            Forked => fork(),
            Stopped => {
                std::thread::spawn(stop_and_go_on);
            }
            Reaped => {
                std::thread::spawn(|| {
                    loop {
                        if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
                            std::thread::park_timeout(Duration::from_micros(100)); // there is none
                        }
                    }
                });
            }
        }
    }
}

/// Has nobody or the system act on a signal.
fn act_on(signal: libc::c_int, how: libc::sighandler_t) {
    // SAFETY: no function is called for it.
    let before = unsafe { libc::signal(signal, how) };
    assert_ne!(before, libc::SIG_ERR);
}

fn block_all() {
    // SAFETY: zeros are a valid set.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: there is room for it.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: the set lives; the mask that there was is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
}

/// A soft limit: it can be raised again.
fn limit(resource: Resource, current: u64) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(current), maximum }).unwrap();
}

fn fork() {
    // SAFETY: the child makes system calls only.
    if unsafe { libc::fork() } == 0 {
        // SAFETY: ends with its parent.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    }
}

static IS_OVER: AtomicBool = AtomicBool::new(false);

fn stop_and_go_on() {
    while !IS_OVER.load(Ordering::SeqCst) {
        let workers = children(std::process::id());
        workers.iter().for_each(|worker| send(*worker, Signal::STOP));
        std::thread::park_timeout(Duration::from_millis(2));
        workers.iter().for_each(|worker| send(*worker, Signal::CONT));
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn every_circumstance_with_every_other() {
    for (index, one) in Circumstance::ALL.into_iter().enumerate() {
        for other in &Circumstance::ALL[index..] {
            in_own_process(&["matrix", &format!("{one:?}"), &format!("{other:?}")]);
        }
    }
}

pub(crate) fn act(one: &str, other: &str) {
    let named = |name: &str| {
        Circumstance::ALL.into_iter().find(|known| format!("{known:?}") == name).unwrap()
    };
    let (one, other) = (named(one), named(other));
    let name = format!("{one:?} and {other:?}");
    let flawless = Exchange::flawless(&name);
    let before = pool(2);
    flawless.with(&before);
    one.begin();
    if other != one {
        other.begin();
    }
    flawless.with(&before);
    let after = pool(2);
    for pool in [&before, &after] {
        flawless.with(pool);
        let dies = pool.submit(|()| -> () { std::process::exit(3) }, ()).unwrap();
        let error = dies.into_result().unwrap_err();
        let death = error.worker_death().expect("a death");
        // Or who has reaped it knows that, and not the pool.
        let is_reaped = |by| matches!(by, Reaped | NoZombies);
        let is_lost = death.exit_code.is_none() && (is_reaped(one) || is_reaped(other));
        assert!(death.exit_code == Some(3) || is_lost, "{name}: {error}");
        flawless.with(pool);
        let call = pool
            .submit(
                |()| -> () {
                    loop {
                        std::thread::park()
                    }
                },
                (),
            )
            .unwrap();
        eventually("the beginning of a call", || call.running());
        assert!(call.kill(), "{name}");
        let error = call.into_result().unwrap_err();
        assert!(matches!(error, concurrent::Error::Killed { .. }), "{name}: {error}");
        flawless.with(pool);
        pool.shutdown_with(ShutdownOptions::new());
        assert_eq!((pool.stats().workers, pool.stats().died), (0, 1), "{name}");
    }
    IS_OVER.store(true, Ordering::SeqCst);
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers);
    let builder = builder.limit(ResourceLimit::CoreDump, 0);
    builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap()
}
