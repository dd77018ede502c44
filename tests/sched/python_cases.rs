//! CPython's `test_sched`, case by case.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use concurrent::sched::{Float, Scheduler};

use crate::support::{Log, SOON, simulated};

fn float(value: f64) -> Float {
    Float::new(value).expect("it is not NaN")
}

/// CPython's `Timer`: time goes on only as far as the test has allowed.
#[derive(Default)]
struct Timer {
    /// The time, and how far it may go.
    state: Mutex<(u64, u64)>,
    moved: Condvar,
}

impl Timer {
    fn time(&self) -> u64 {
        self.state.lock().expect("no test panics with it").0
    }

    fn sleep(&self, delay: u64) {
        let mut state = self.state.lock().expect("no test panics with it");
        let end = state.0 + delay;
        while state.1 < end {
            state.0 = state.1;
            state = self.moved.wait(state).expect("no test panics with it");
        }
        state.0 = end;
    }

    fn advance(&self, by: u64) {
        self.state.lock().expect("no test panics with it").1 += by;
        self.moved.notify_all();
    }

    fn scheduler(self: &Arc<Self>) -> Scheduler<u64> {
        let (read, wait) = (Arc::clone(self), Arc::clone(self));
        Scheduler::with_clock(move || read.time(), move |delay| wait.sleep(delay))
    }
}

fn put(queue: &Sender<u64>, value: u64) -> impl FnOnce() + Send + 'static {
    let queue = queue.clone();
    move || queue.send(value).expect("the test still listens")
}

fn get(queue: &Receiver<u64>) -> u64 {
    queue.recv_timeout(SOON).expect("the event runs")
}

// case 1, S6
#[test]
fn py_enter() {
    let log = Log::new();
    let (s, _) = simulated();
    for delay in [5, 4, 3, 2, 1] {
        s.enter(delay, 1, log.note(delay));
    }
    s.run().unwrap();
    assert_eq!(log.take(), [1, 2, 3, 4, 5]);
}

// case 2, S11
#[test]
fn py_enterabs() {
    let log = Log::new();
    let s = Scheduler::with_clock(|| float(1e9), |_| ());
    for time in [0.05, 0.04, 0.03, 0.02, 0.01] {
        s.enterabs(float(time), 1, log.note(time));
    }
    s.run().unwrap();
    assert_eq!(log.take(), [0.01, 0.02, 0.03, 0.04, 0.05]);
}

// case 3, S18
#[test]
fn py_enter_concurrent() {
    let (sender, queue) = channel();
    let timer = Arc::new(Timer::default());
    let s = timer.scheduler();
    s.enter(1, 1, put(&sender, 1));
    s.enter(3, 1, put(&sender, 3));
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run()
    });
    timer.advance(1);
    assert_eq!(get(&queue), 1);
    assert!(queue.try_recv().is_err());
    for time in [4, 5, 2] {
        s.enter(time - 1, 1, put(&sender, time));
    }
    timer.advance(2);
    assert_eq!([get(&queue), get(&queue)], [2, 3]);
    assert!(queue.try_recv().is_err());
    timer.advance(1);
    assert_eq!(get(&queue), 4);
    assert!(queue.try_recv().is_err());
    timer.advance(1);
    assert_eq!(get(&queue), 5);
    timer.advance(1000);
    runner.join().unwrap().unwrap();
    assert!(queue.try_recv().is_err());
    assert_eq!(timer.time(), 5);
}

// case 4, S7
#[test]
fn py_priority() {
    let log = Log::new();
    let (s, _) = simulated();
    let lists: [&[i32]; 7] = [
        &[1, 2, 3, 4, 5],
        &[5, 4, 3, 2, 1],
        &[2, 5, 3, 1, 4],
        &[1, 2, 3, 2, 1],
        &[0, 0, 0],
        &[-3, 7, -1, 0],
        &[i32::MAX, 0, i32::MIN],
    ];
    for priorities in lists {
        for priority in priorities {
            s.enterabs(1, *priority, log.note(*priority));
        }
        s.run().unwrap();
        let mut expected = priorities.to_vec();
        expected.sort_unstable();
        assert_eq!(log.take(), expected);
        assert!(s.is_empty());
    }
}

// case 5
#[test]
fn py_cancel() {
    let log = Log::new();
    let (s, _) = simulated();
    let events = [1, 2, 3, 4, 5].map(|time| s.enterabs(time, 1, log.note(time)));
    s.cancel(&events[0]).unwrap();
    s.cancel(&events[4]).unwrap();
    s.run().unwrap();
    assert_eq!(log.take(), [2, 3, 4]);
}

// case 6
#[test]
fn py_cancel_concurrent() {
    let (sender, queue) = channel();
    let timer = Arc::new(Timer::default());
    let s = timer.scheduler();
    let [_, event2, _, event5, _] = [1, 2, 4, 5, 3].map(|at| s.enter(at, 1, put(&sender, at)));
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run()
    });
    timer.advance(1);
    assert_eq!(get(&queue), 1);
    assert!(queue.try_recv().is_err());
    s.cancel(&event2).unwrap();
    s.cancel(&event5).unwrap();
    timer.advance(1);
    assert!(queue.try_recv().is_err());
    timer.advance(1);
    assert_eq!(get(&queue), 3);
    assert!(queue.try_recv().is_err());
    timer.advance(1);
    assert_eq!(get(&queue), 4);
    assert!(queue.try_recv().is_err());
    timer.advance(1000);
    runner.join().unwrap().unwrap();
    assert_eq!(timer.time(), 4);
}

// case 7, S23
#[test]
fn py_cancel_correct_event() {
    let log = Log::new();
    let (s, _) = simulated();
    s.enterabs(1, 1, log.note("a"));
    let b = s.enterabs(1, 1, log.note("b"));
    s.enterabs(1, 1, log.note("c"));
    s.cancel(&b).unwrap();
    s.run().unwrap();
    assert_eq!(log.take(), ["a", "c"]);
}

// case 8, S42
#[test]
fn py_empty() {
    let (s, _) = simulated();
    assert!(s.is_empty());
    for delay in [5, 4, 3, 2, 1] {
        s.enter(delay, 1, || {});
    }
    assert!(!s.is_empty());
    s.run().unwrap();
    assert!(s.is_empty());
}

// case 9, S43
#[test]
fn py_queue() {
    let (s, _) = simulated();
    let e5 = s.enterabs(5, 1, || {});
    let e1 = s.enterabs(1, 1, || {});
    let e2 = s.enterabs(2, 1, || {});
    let e4 = s.enterabs(4, 1, || {});
    let e3 = s.enterabs(3, 1, || {});
    assert_eq!(s.queue(), [e1, e2, e3, e4, e5]);
}

// case 10, S17: arguments are captures
#[test]
fn py_args_kwargs() {
    let log = Log::new();
    let (s, _) = simulated();
    let (args, kwargs) = (vec![1, 2, 3], std::collections::BTreeMap::from([("foo", 1)]));
    s.enterabs(1, 1, {
        let log = log.clone();
        move || log.push((args, kwargs))
    });
    s.run().unwrap();
    assert_eq!(log.take(), [(vec![1, 2, 3], [("foo", 1)].into())]);
}

// case 11, S31
#[test]
fn py_run_non_blocking() {
    let log = Log::new();
    let (s, _) = simulated();
    for delay in [10, 9, 8, 7, 6] {
        s.enter(delay, 1, log.note(delay));
    }
    assert_eq!(s.run_pending().unwrap(), Some(6));
    assert!(log.take().is_empty());
}
