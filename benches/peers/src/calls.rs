//! Calls through a pool of two workers.

use std::sync::Arc;
use std::thread;

use concurrent::futures::{ThreadPoolExecutor, as_completed};

use crate::table::{Contender, compare};

const WORKERS: usize = 2;
const CALLS: usize = 1_000_000;

type Job = Box<dyn FnOnce() + Send>;

/// The fastest pairing by hand: workers at a crossbeam channel, one oneshot channel a call.
struct Crossbeam {
    sender: Option<crossbeam_channel::Sender<Job>>,
    workers: Vec<thread::JoinHandle<()>>,
}

impl Crossbeam {
    fn new(workers: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded::<Job>();
        let workers = (0..workers)
            .map(|_| {
                let receiver = receiver.clone();
                thread::spawn(move || receiver.iter().for_each(|job| job()))
            })
            .collect();
        Self { sender: Some(sender), workers }
    }

    fn submit<R: Send + 'static>(
        &self,
        function: impl FnOnce() -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (result, receiver) = oneshot::channel();
        let job = Box::new(move || drop(result.send(function())));
        self.sender.as_ref().unwrap().send(job).unwrap();
        receiver
    }
}

impl Drop for Crossbeam {
    fn drop(&mut self) {
        drop(self.sender.take());
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
    }
}

fn rayon_submit<R: Send + 'static>(
    pool: &rayon::ThreadPool,
    function: impl FnOnce() -> R + Send + 'static,
) -> oneshot::Receiver<R> {
    let (result, receiver) = oneshot::channel();
    pool.spawn(move || drop(result.send(function())));
    receiver
}

pub fn run(rounds: usize) {
    let ours = ThreadPoolExecutor::new(WORKERS).unwrap();
    let crossbeam = Crossbeam::new(WORKERS);
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().unwrap();

    let title = "submit empty calls, keep the futures, then take all results";
    compare(
        title,
        CALLS,
        rounds,
        vec![
            Contender {
                name: "concurrent",
                run: Box::new(|| {
                    let calls: Vec<_> = (0..CALLS).map(|_| ours.spawn(|| ()).unwrap()).collect();
                    calls.into_iter().for_each(|call| call.into_result().unwrap());
                }),
            },
            Contender {
                name: "crossbeam + oneshot",
                run: Box::new(|| {
                    let calls: Vec<_> = (0..CALLS).map(|_| crossbeam.submit(|| ())).collect();
                    calls.into_iter().for_each(|call| call.recv().unwrap());
                }),
            },
            Contender {
                name: "rayon::spawn + oneshot",
                run: Box::new(|| {
                    let calls: Vec<_> = (0..CALLS).map(|_| rayon_submit(&rayon, || ())).collect();
                    calls.into_iter().for_each(|call| call.recv().unwrap());
                }),
            },
        ],
    );

    let title = "the same from four submitting threads";
    let four = |submit: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(submit);
            }
        });
    };
    compare(
        title,
        CALLS,
        rounds,
        vec![
            Contender {
                name: "concurrent",
                run: Box::new(|| {
                    four(&|| {
                        let calls: Vec<_> =
                            (0..CALLS / 4).map(|_| ours.spawn(|| ()).unwrap()).collect();
                        calls.into_iter().for_each(|call| call.into_result().unwrap());
                    })
                }),
            },
            Contender {
                name: "crossbeam + oneshot",
                run: Box::new(|| {
                    four(&|| {
                        let calls: Vec<_> =
                            (0..CALLS / 4).map(|_| crossbeam.submit(|| ())).collect();
                        calls.into_iter().for_each(|call| call.recv().unwrap());
                    })
                }),
            },
            Contender {
                name: "rayon::spawn + oneshot",
                run: Box::new(|| {
                    four(&|| {
                        let calls: Vec<_> =
                            (0..CALLS / 4).map(|_| rayon_submit(&rayon, || ())).collect();
                        calls.into_iter().for_each(|call| call.recv().unwrap());
                    })
                }),
            },
        ],
    );

    let trips = 20_000;
    compare(
        "round trip, one call at a time",
        trips,
        rounds,
        vec![
            Contender {
                name: "concurrent",
                run: Box::new(|| {
                    (0..trips).for_each(|_| ours.spawn(|| ()).unwrap().into_result().unwrap());
                }),
            },
            Contender {
                name: "crossbeam + oneshot",
                run: Box::new(|| {
                    (0..trips).for_each(|_| crossbeam.submit(|| ()).recv().unwrap());
                }),
            },
            Contender {
                name: "rayon::spawn + oneshot",
                run: Box::new(|| {
                    (0..trips).for_each(|_| rayon_submit(&rayon, || ()).recv().unwrap());
                }),
            },
        ],
    );

    for calls in [1_000, 10_000, 100_000] {
        compare(
            "as_completed over n futures",
            calls,
            rounds,
            vec![
                Contender {
                    name: "concurrent",
                    run: Box::new(|| {
                        let calls: Vec<_> =
                            (0..calls).map(|_| ours.spawn(|| ()).unwrap()).collect();
                        as_completed(calls).for_each(|call| call.into_result().unwrap());
                    }),
                },
                Contender {
                    name: "crossbeam, results sent back",
                    run: Box::new(|| {
                        let (sender, receiver) = crossbeam_channel::unbounded();
                        let sender = Arc::new(sender);
                        for _ in 0..calls {
                            let sender = Arc::clone(&sender);
                            crossbeam
                                .sender
                                .as_ref()
                                .unwrap()
                                .send(Box::new(move || sender.send(()).unwrap()))
                                .unwrap();
                        }
                        drop(sender);
                        receiver.iter().for_each(drop);
                    }),
                },
            ],
        );
    }
}
