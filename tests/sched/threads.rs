//! Several threads at one scheduler. The interleavings are model-checked in `src/sched/model.rs`;
//! these run on the real clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use concurrent::sched::{Scheduler, VirtualClock};

use crate::support::{HOUR, SOON};

const ROUNDS: usize = if cfg!(miri) { 10 } else { 100 };

// S39: each event runs once, whoever runs it.
#[test]
fn several_threads_run_one_scheduler() {
    const EVENTS: usize = if cfg!(miri) { 60 } else { 2_000 };
    let s = Scheduler::with_virtual_clock(&VirtualClock::starting_at(0_u64));
    let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..EVENTS).map(|_| AtomicUsize::new(0)).collect());
    for n in 0..EVENTS {
        let runs = runs.clone();
        s.enter((n % 17) as u64, 1, move || {
            runs[n].fetch_add(1, Ordering::Relaxed);
        });
    }
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                s.run().unwrap();
            });
        }
    });
    assert!(runs.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    assert!(s.is_empty());
}

// S3, S18: entered, cancelled and run by many at once, every event runs or was cancelled.
#[test]
fn enter_and_cancel_from_many_threads() {
    const EACH: u64 = if cfg!(miri) { 20 } else { 300 };
    let s = Scheduler::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let cancelled = AtomicUsize::new(0);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                start.wait();
                for n in 0..EACH {
                    let ran = ran.clone();
                    let action = move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                    };
                    let event = s.enter(Duration::from_micros(n % 7), 1, action);
                    if n % 2 == 0 && s.cancel(&event).is_ok() {
                        cancelled.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        start.wait();
        s.run().unwrap();
    });
    s.run().unwrap();
    let ended = ran.load(Ordering::Relaxed) + cancelled.load(Ordering::Relaxed);
    assert_eq!(ended as u64, 3 * EACH);
}

// S19: Python sleeps on, and the event would run an hour late.
#[test]
fn an_earlier_event_wakes_a_run_that_sleeps() {
    let s = Scheduler::new();
    let last = s.enter(HOUR, 1, || {});
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run()
    });
    for n in 0..ROUNDS {
        let (sender, receiver) = channel();
        s.enter(Duration::ZERO, 1, move || sender.send(n).expect("the test listens"));
        assert_eq!(receiver.recv_timeout(SOON), Ok(n));
    }
    s.cancel(&last).unwrap();
    runner.join().unwrap().unwrap();
}

// S24: Python sleeps on, although nothing is left to wait for.
#[test]
fn cancelling_the_first_event_wakes_a_run_that_sleeps() {
    for clear in [false, true] {
        let s = Scheduler::new();
        let (sender, receiver) = channel();
        s.enter(Duration::ZERO, 1, move || sender.send(()).expect("the test listens"));
        let only = s.enter(HOUR, 1, || {});
        let runner = thread::spawn({
            let s = s.clone();
            move || s.run()
        });
        receiver.recv_timeout(SOON).unwrap();
        if clear {
            s.clear();
        } else {
            s.cancel(&only).unwrap();
        }
        runner.join().unwrap().unwrap();
    }
}

// S24 with our own time function and the default delay.
#[test]
fn the_default_delay_can_be_interrupted_on_any_clock() {
    let s = Scheduler::builder().timefunc(std::time::SystemTime::now).build();
    let (sender, receiver) = channel();
    s.enter(Duration::ZERO, 1, move || sender.send(()).expect("the test listens"));
    s.enter(Duration::MAX, 1, || {});
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run()
    });
    receiver.recv_timeout(SOON).unwrap();
    s.clear();
    runner.join().unwrap().unwrap();
}

#[test]
fn stop_ends_a_run_that_sleeps_and_a_later_one_works() {
    let s = Scheduler::new();
    for _ in 0..if cfg!(miri) { 2 } else { 20 } {
        let (sender, receiver) = channel();
        s.enter(Duration::ZERO, 1, move || sender.send(()).expect("the test listens"));
        s.enter(HOUR, 1, || {});
        let runners = [(); 3].map(|()| {
            let s = s.clone();
            let began = Arc::new(Barrier::new(2));
            let handle = thread::spawn({
                let began = began.clone();
                move || {
                    // The run has begun when an event that it alone can run does.
                    s.enter(Duration::ZERO, 0, move || {
                        began.wait();
                    });
                    s.run()
                }
            });
            began.wait();
            handle
        });
        receiver.recv_timeout(SOON).unwrap();
        // Those that are between entering and running may miss a stop: that is what it promises.
        while !runners.iter().all(thread::JoinHandle::is_finished) {
            s.stop();
            thread::yield_now();
        }
        for runner in runners {
            runner.join().unwrap().unwrap();
        }
        assert_eq!(s.clear(), 1);
    }
}

#[test]
fn run_forever_waits_for_new_events() {
    let s = Scheduler::new();
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run_forever()
    });
    for n in 0..ROUNDS {
        let (sender, receiver) = channel();
        s.enter(Duration::ZERO, 1, move || sender.send(n).expect("the test listens"));
        assert_eq!(receiver.recv_timeout(SOON), Ok(n));
    }
    s.stop();
    runner.join().unwrap().unwrap();
}

#[test]
fn run_until_sleeps_with_an_empty_queue_and_can_be_stopped() {
    let s = Scheduler::new();
    s.run_until(std::time::Instant::now() + Duration::from_millis(1)).unwrap();
    let (sender, receiver) = channel();
    s.enter(Duration::ZERO, 1, move || sender.send(()).expect("the test listens"));
    let runner = thread::spawn({
        let s = s.clone();
        move || s.run_until(std::time::Instant::now() + HOUR)
    });
    receiver.recv_timeout(SOON).unwrap();
    s.stop();
    runner.join().unwrap().unwrap();
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
