//! Every step of a worker's life x every way to end or halt it x every policy.
//!
//! After each, every accepted call has ended once and as it should, the pool takes calls as before if
//! the policy lets it live (else it refuses them, and a new pool works), and nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use concurrent::Error;
use concurrent::futures::process::OnWorkerDeath;
use concurrent::futures::{Future, ProcessPoolExecutor, ShutdownOptions};
use rustix::process::Signal;
use std::time::Duration;

use crate::fault_injection::{
    Bytes, Fault, FaultPoint, Product, Step, is_stopped, send, size, work,
};
use crate::support::{ProcessGate, census, eventually, in_own_process, trials};

trials![
    before_the_handshake,
    in_the_initializer,
    while_an_argument_is_decoded,
    while_a_call_runs,
    while_a_result_is_encoded,
    half_way_through_a_large_result,
    before_a_result_is_sent,
    while_idle,
    while_retiring,
    during_shutdown,
];

fn before_the_handshake() {
    every_fault_at("BeforeHandshake");
}

fn in_the_initializer() {
    every_fault_at("Initializing");
}

fn while_an_argument_is_decoded() {
    every_fault_at("Decoding");
}

fn while_a_call_runs() {
    every_fault_at("Running");
}

fn while_a_result_is_encoded() {
    every_fault_at("Encoding");
}

fn half_way_through_a_large_result() {
    every_fault_at("HalfWay");
}

fn before_a_result_is_sent() {
    every_fault_at("Sending");
}

fn while_idle() {
    every_fault_at("Beside");
}

fn while_retiring() {
    every_fault_at("Ending");
}

fn during_shutdown() {
    every_fault_at("shutdown");
}

fn every_fault_at(step: &str) {
    in_own_process(&["faults", step]);
}

/// All cells of one step.
pub(crate) fn act(step: &str) {
    let shutdown = step == "shutdown";
    let steps =
        if shutdown { vec![Step::Running, Step::Ending] } else { vec![Step::from_name(step)] };
    // The first pool starts threads that stay.
    let warm = |()| ProcessPoolExecutor::new(1).unwrap().submit(double, 1).unwrap().into_result();
    assert_eq!(warm(()).unwrap(), 2);
    let before = census();
    for step in steps {
        for policy in [OnWorkerDeath::FailCall, OnWorkerDeath::Retry(1), OnWorkerDeath::BreakPool] {
            for how in How::ALL.into_iter().filter(|how| how.fits(step, policy)) {
                let cell = Cell { step, how, policy, shutdown };
                eprintln!("{cell:?}");
                cell.play();
                eventually("the end of all that the pool had", || census() == before);
            }
        }
    }
}

fn double(n: u64) -> u64 {
    n * 2
}

/// Large enough for a segment of its own, there and back.
const LARGE: usize = 3 << 20;

/// Moves each byte: what comes back is what this call has made.
fn turn(mut bytes: Bytes) -> Bytes {
    bytes.0.rotate_left(1);
    bytes
}

/// A small and a large value come back right.
fn is_usable(pool: &ProcessPoolExecutor) {
    let bytes = (0..251).collect::<Vec<u8>>().repeat(LARGE / 251);
    let small = pool.submit(double, 21).unwrap();
    let large = pool.submit(turn, Bytes(bytes.clone())).unwrap();
    let last = pool.submit(double, 34).unwrap();
    assert_eq!(small.into_result().unwrap(), 42);
    assert!(large.into_result().unwrap().0 == turn(Bytes(bytes)).0, "bytes have changed");
    assert_eq!(last.into_result().unwrap(), 68);
}

/// What happens to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Ends(Fault),
    StopsAndGoesOn,
    StopsAndIsKilled,
    /// And a time limit of the pool runs out.
    Stops,
    /// The same, and it has left its channel before.
    LeavesAndStops,
    /// And its call is killed.
    StopsAndIsGivenUp,
}

impl How {
    const ALL: [Self; 9] = [
        Self::Ends(Fault::Kill),
        Self::Ends(Fault::Segv),
        Self::Ends(Fault::Abort),
        Self::Ends(Fault::Exit),
        Self::StopsAndGoesOn,
        Self::StopsAndIsKilled,
        Self::Stops,
        Self::LeavesAndStops,
        Self::StopsAndIsGivenUp,
    ];

    fn fault(self) -> Fault {
        match self {
            Self::Ends(fault) => fault,
            Self::LeavesAndStops => Fault::LeaveAndStop,
            _ => Fault::Stop,
        }
    }

    /// Exit code and signal.
    fn end(self) -> (Option<i32>, Option<i32>) {
        match self.fault() {
            Fault::Segv => (None, Some(11)),
            Fault::Abort => (None, Some(6)),
            Fault::Exit => (Some(0), None),
            Fault::Kill | Fault::Stop | Fault::LeaveAndStop | Fault::Nothing => (None, Some(9)),
        }
    }

    fn fits(self, step: Step, policy: OnWorkerDeath) -> bool {
        match self {
            // There is no call to be given up.
            Self::StopsAndIsGivenUp => step.is_in_call() || step == Step::Beside,
            // It takes some seconds, and says the same of each policy.
            Self::LeavesAndStops => step == Step::Ending && policy == OnWorkerDeath::FailCall,
            // These take some seconds each.
            Self::Stops => policy == OnWorkerDeath::FailCall || !step.is_in_call(),
            _ => true,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    step: Step,
    how: How,
    policy: OnWorkerDeath,
    shutdown: bool,
}

/// A call, and how often it has ended.
struct Watched<T: 'static> {
    future: Future<T>,
    ends: Arc<AtomicUsize>,
}

impl<T: Send + Sync> Watched<T> {
    fn new(future: Future<T>) -> Self {
        let ends = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ends);
        future.add_done_callback(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        Self { future, ends }
    }

    /// When the pool is gone, and with it everybody who could end it.
    fn check(self, what: &str, is_right: impl Fn(&Result<T, Error>) -> bool) {
        assert!(self.future.done(), "{what}: not over");
        assert_eq!(self.ends.load(Ordering::SeqCst), 1, "{what}: ends");
        let result = self.future.into_result();
        let error = result.as_ref().err();
        assert!(is_right(&result), "{what}: {error:?}");
    }
}

impl Cell {
    fn play(self) {
        let gate = ProcessGate::new();
        let point = FaultPoint::new(self.step, self.how.fault(), gate.name());
        let mut builder = point.builder().on_worker_death(self.policy);
        // A worker that halts while it ends is ended by the pool's own limit. Others must not be hit
        // by these, however busy the machine is.
        if self.how == How::Stops && self.step != Step::Ending {
            let limit = Duration::from_secs(2);
            builder = builder.call_deadline(limit);
            if !self.step.is_in_call() {
                builder = builder.start_timeout(limit);
            }
        }
        let pool = builder.prefetch(8).build().unwrap();
        let call = Watched::new(pool.submit(work, point.order()).unwrap());
        let double = |n| Watched::new(pool.submit(double, n).unwrap());
        if self.step == Step::Beside {
            call.future.result().unwrap();
            let pid = gate.wait_begun();
            gate.open();
            let behind = self.strike_idle(pid, &pool);
            self.use_again(&pool, &behind);
            pool.shutdown();
            call.check("the call before", Result::is_ok);
            return self.check_behind(behind);
        }
        let behind: Vec<_> = if self.shutdown && self.step == Step::Ending {
            Vec::new()
        } else {
            (0..3).map(double).collect()
        };
        if self.shutdown {
            pool.shutdown_with(ShutdownOptions::new().wait(false));
        }
        let pid = gate.wait_begun();
        gate.open();
        self.strike(pid, &call.future);
        let _ = call.future.result();
        self.use_again(&pool, &behind);
        pool.shutdown();
        let died = pool.stats().died;
        drop(pool);
        call.check("the call", |result| self.is_right(result));
        self.check_behind(behind);
        let counts = !matches!(self.how, How::StopsAndGoesOn | How::StopsAndIsGivenUp)
            && self.step != Step::Ending
            && !(self.how == How::Stops && self.step.is_in_call());
        assert_eq!(died, u64::from(counts), "deaths");
    }

    /// Uses the pool when all that the fault has hit is over.
    fn use_again(self, pool: &ProcessPoolExecutor, behind: &[Watched<u64>]) {
        for call in behind {
            let _ = call.future.result();
        }
        if !self.shutdown && !self.breaks() {
            return is_usable(pool);
        }
        let error = pool.submit(double, 1).expect_err("the pool takes nothing");
        let is_right = self.breaks() && self.is_broken(&error);
        assert!(is_right || self.shutdown && matches!(error, Error::Shutdown), "{error}");
        is_usable(&ProcessPoolExecutor::new(1).unwrap());
    }

    /// The worker has passed the gate, and what it does to itself is under way.
    fn strike(self, pid: u32, call: &Future<Product>) {
        match self.how {
            How::Ends(_) | How::Stops | How::LeavesAndStops => {}
            How::StopsAndGoesOn => {
                eventually("a halt", || is_stopped(pid));
                send(pid, Signal::CONT);
            }
            How::StopsAndIsKilled => {
                eventually("a halt", || is_stopped(pid));
                send(pid, Signal::KILL);
            }
            How::StopsAndIsGivenUp => {
                eventually("a halt", || is_stopped(pid));
                assert!(call.kill());
            }
        }
    }

    /// The same for a worker that has nothing to do; gives calls that were made after it.
    fn strike_idle(self, pid: u32, pool: &ProcessPoolExecutor) -> Vec<Watched<u64>> {
        let submit = |n| pool.submit(double, n).map(Watched::new);
        let halts = !matches!(self.how, How::Ends(_));
        if halts {
            eventually("a halt", || is_stopped(pid));
        }
        if self.how == How::StopsAndIsKilled {
            send(pid, Signal::KILL);
        }
        if !halts || self.how == How::StopsAndIsKilled {
            eventually("the death", || pool.stats().died == 1);
        }
        if self.breaks() {
            let error = submit(1).err().expect("the pool is broken");
            assert!(self.is_broken(&error), "{error}");
            return Vec::new();
        }
        let behind = (0..3).map(|n| submit(n).unwrap()).collect::<Vec<_>>();
        match self.how {
            How::StopsAndGoesOn => send(pid, Signal::CONT),
            How::StopsAndIsGivenUp => {
                // They wait for a worker that does not read, and have not begun.
                let given_up = submit(4).unwrap();
                assert!(behind[0].future.kill() && given_up.future.kill());
                given_up
                    .check("the last", |result| result.as_ref().is_err_and(Error::is_cancelled));
                send(pid, Signal::CONT);
            }
            _ => {}
        }
        behind
    }

    fn is_right(self, result: &Result<Product, Error>) -> bool {
        let fine = result.as_ref().is_ok_and(|product| product.len() == size(self.step));
        let Err(error) = result else { return fine && (!self.breaks()) && !self.fails() };
        if self.breaks() {
            return self.is_broken(error);
        }
        self.fails()
            && match self.how {
                How::Stops => matches!(error, Error::DeadlineExceeded { .. }),
                How::StopsAndIsGivenUp => matches!(error, Error::Killed { .. }),
                _ => matches!(error, Error::WorkerDied(_)) && self.is_told(error),
            }
    }

    /// Whether the call that reached the fault point fails, and it alone.
    fn fails(self) -> bool {
        let retried = matches!(self.policy, OnWorkerDeath::Retry(_));
        self.step.is_in_call()
            && match self.how {
                How::StopsAndGoesOn | How::LeavesAndStops => false,
                How::Stops | How::StopsAndIsGivenUp => true,
                _ => !retried,
            }
    }

    /// Whether the pool is at its end.
    fn breaks(self) -> bool {
        let dies = match self.how {
            How::StopsAndGoesOn | How::StopsAndIsGivenUp | How::LeavesAndStops => false,
            // A deadline of a call breaks nothing, a worker that does not get ready does.
            How::Stops => matches!(self.step, Step::BeforeHandshake | Step::Initializing),
            How::Ends(_) | How::StopsAndIsKilled => true,
        };
        dies && self.step != Step::Ending && self.policy == OnWorkerDeath::BreakPool
    }

    fn is_broken(self, error: &Error) -> bool {
        matches!(error, Error::BrokenProcessPool { .. }) && self.is_told(error)
    }

    fn is_told(self, error: &Error) -> bool {
        error.worker_death().is_some_and(|death| (death.exit_code, death.signal) == self.how.end())
    }

    /// Calls that no fault has hit.
    fn check_behind(self, behind: Vec<Watched<u64>>) {
        for (n, call) in behind.into_iter().enumerate() {
            let killed = self.step == Step::Beside && self.how == How::StopsAndIsGivenUp && n == 0;
            call.check("a call behind", |result| match result {
                Ok(twice) => !self.breaks() && !killed && *twice == n as u64 * 2,
                Err(error) if killed => error.is_cancelled(),
                Err(error) => self.breaks() && self.is_broken(error),
            });
        }
    }
}
