use super::*;
use crate::futures::thread::queue::Discipline;

fn state(max_workers: usize) -> QueueState {
    let known = PoolCapacity::new("pool".into());
    QueueState::new(WaitList::new(Discipline::Fifo), max_workers, known)
}

fn starts(_: Arc<WorkerStatus>, _: usize) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().spawn(|| ())
}

#[test]
fn a_pool_may_grow_up_to_its_limit_unless_it_takes_no_calls_or_gets_no_threads() {
    let mut pool = state(2);
    assert!(pool.may_grow());
    pool.start_worker(&starts).expect("there are threads");
    assert!(pool.may_grow());
    pool.start_worker(&starts).expect("there are threads");
    assert!(!pool.may_grow());
    pool.max_workers = 3;
    assert!(pool.may_grow());
    pool.start_worker(&|_, _| Err(std::io::ErrorKind::WouldBlock.into())).unwrap_err();
    assert!(!pool.may_grow(), "the system refused a thread");
    pool.start_worker(&starts).expect("there are threads");
    pool.max_workers = 4;
    assert!(pool.may_grow(), "it gives one again");
    pool.closed = true;
    assert!(!pool.may_grow());
    let mut broken = state(1);
    broken.broken = Some(Error::Shutdown);
    assert!(!broken.may_grow());
}

#[test]
fn a_worker_can_spare_time_unless_it_runs_user_code() {
    let worker = WorkerStatus::new();
    assert!(worker.has_taken_at_most());
    worker.raise();
    assert!(worker.has_taken_at_most(), "it has not begun the call that it took");
    worker.begins();
    assert!(!worker.has_taken_at_most());
    worker.ended(false);
    assert!(worker.has_taken_at_most(), "the call has returned");
    worker.begins();
    worker.begins(); // in place
    worker.ended(true);
    assert!(!worker.has_taken_at_most(), "the outer call still runs");
    worker.ended(false);
    worker.raise_after_call();
    assert!(!worker.has_taken_at_most(), "it runs a callback");
    worker.lower();
    assert!(worker.has_taken_at_most());

    let mut pool = state(1);
    assert!(pool.has_worker_to_spare(), "one can be started");
    pool.start_worker(&starts).expect("there are threads");
    assert!(pool.has_worker_to_spare(), "it is free");
    pool.workers[0].status.raise_after_call();
    assert!(!pool.has_worker_to_spare());
    pool.workers[0].status.lower();
    pool.workers[0].ended = true;
    assert!(!pool.has_worker_to_spare());
}
