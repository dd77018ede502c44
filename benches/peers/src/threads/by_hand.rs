//! Peers that run closures without results: each call is paired with a `oneshot` channel.

use std::thread;

use super::pool::Pool;

/// It runs closures.
pub trait Execute: Sync + 'static {
    fn new(workers: usize) -> Self;
    fn execute(&self, function: impl FnOnce() + Send + 'static);
}

pub struct WithOneshot<E>(E);

impl<E: Execute> Pool for WithOneshot<E> {
    type Handle = oneshot::Receiver<()>;

    fn new(workers: usize) -> Self {
        Self(E::new(workers))
    }

    fn submit(&self, function: impl FnOnce() + Send + 'static) -> Self::Handle {
        let (result, receiver) = oneshot::channel();
        self.0.execute(move || {
            function();
            let _ = result.send(());
        });
        receiver
    }

    fn fire(&self, function: impl FnOnce() + Send + 'static) {
        self.0.execute(function);
    }

    fn take(handle: Self::Handle) {
        handle.recv().unwrap();
    }

    fn take_all(handles: Vec<Self::Handle>) {
        handles.into_iter().for_each(Self::take);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that receive from a channel of closures.
macro_rules! workers_at_a_channel {
    ($name:ident, $channel:ident) => {
        pub struct $name($channel::Sender<Job>);

        impl Execute for $name {
            fn new(workers: usize) -> Self {
                let (sender, receiver) = $channel::unbounded::<Job>();
                for _ in 0..workers {
                    let receiver = receiver.clone();
                    thread::spawn(move || {
                        while let Ok(job) = receiver.recv() {
                            job();
                        }
                    });
                }
                Self(sender)
            }

            fn execute(&self, function: impl FnOnce() + Send + 'static) {
                assert!(self.0.send(Box::new(function)).is_ok());
            }
        }
    };
}

workers_at_a_channel!(Crossbeam, crossbeam_channel);
workers_at_a_channel!(Kanal, kanal);

impl Execute for rayon::ThreadPool {
    fn new(workers: usize) -> Self {
        rayon::ThreadPoolBuilder::new().num_threads(workers).build().unwrap()
    }

    fn execute(&self, function: impl FnOnce() + Send + 'static) {
        self.spawn(function);
    }
}

impl Execute for threadpool::ThreadPool {
    fn new(workers: usize) -> Self {
        Self::new(workers)
    }

    fn execute(&self, function: impl FnOnce() + Send + 'static) {
        self.execute(function);
    }
}

type Parker = executors::parker::StaticParker<executors::parker::SmallThreadData>;
pub type Executors = executors::crossbeam_workstealing_pool::ThreadPool<Parker>;

impl Execute for Executors {
    fn new(workers: usize) -> Self {
        executors::crossbeam_workstealing_pool::small_pool(workers)
    }

    fn execute(&self, function: impl FnOnce() + Send + 'static) {
        executors::Executor::execute(self, function);
    }
}
