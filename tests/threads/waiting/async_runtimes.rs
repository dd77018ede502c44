//! Calls awaited in tokio and in smol, and tasks of a runtime waited for by threads.

use std::future::IntoFuture;
use std::sync::mpsc;
use std::time::Duration;

use concurrent::Error;
use concurrent::futures::{
    Future, Promise, ReturnWhen, ThreadPoolExecutor, as_completed, wait as wait_for,
};
use tokio::runtime::{Builder, Runtime};

fn tokio() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn many_calls_are_awaited_by_many_tasks_of_tokio() {
    let (pool, runtime) = (ThreadPoolExecutor::new(2).unwrap(), tokio());
    let tasks: Vec<_> =
        (0..2_000).map(|n| runtime.spawn(pool.submit(square, n).unwrap().into_future())).collect();
    let sum = runtime.block_on(async {
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap().unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..2_000).map(|n| n * n).sum::<u64>());
}

#[test]
fn many_calls_are_awaited_by_many_tasks_of_smol() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let tasks: Vec<_> =
        (0..2_000).map(|n| smol::spawn(pool.submit(square, n).unwrap().into_future())).collect();
    let sum = smol::block_on(async {
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..2_000).map(|n| n * n).sum::<u64>());
}

/// As `select!`, a timeout and an aborted task do.
#[test]
fn dropping_the_awaiting_side_leaves_the_call_running() {
    let (pool, runtime) = (ThreadPoolExecutor::new(1).unwrap(), tokio());
    let (open, gate) = mpsc::channel::<()>();
    let (done, ran) = mpsc::channel();
    let call = pool.spawn(move || {
        let _ = gate.recv();
        done.send(()).unwrap();
    });
    let call = call.unwrap();
    let late = runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(1), async { call.await }).await
    });
    assert!(late.is_err());
    drop(open);
    ran.recv().expect("the call ran to its end");
    pool.shutdown();
}

#[test]
fn an_aborted_task_lets_go_of_the_call_it_awaited() {
    let runtime = tokio();
    let (promise, future) = Promise::<u32>::pair();
    let (polled, was_polled) = mpsc::channel();
    let task = runtime.spawn(async move {
        polled.send(()).unwrap();
        future.await
    });
    was_polled.recv().unwrap();
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    promise.set_result(1).unwrap(); // nobody is there to be woken
}

#[test]
fn a_failure_and_a_deadline_come_out_of_the_await() {
    let pool = ThreadPoolExecutor::new(2).unwrap();
    let panics = pool.spawn(|| -> u32 { panic!("on purpose") }).unwrap();
    let (open, gate) = mpsc::channel::<()>();
    let late = pool.spawn(move || gate.recv().is_ok()).unwrap();
    let late = late.with_timeout(Duration::from_millis(1));
    tokio().block_on(async {
        assert!(panics.await.unwrap_err().is_call_failure());
        assert!(late.await.unwrap_err().is_timeout());
    });
    drop(open);
}

/// Python's `run_in_executor`, in the other direction: the guide has it.
fn run_in_tokio<T: Send + 'static>(
    runtime: &Runtime,
    task: impl std::future::Future<Output = T> + Send + 'static,
) -> Future<T> {
    let (promise, future) = Promise::pair();
    runtime.spawn(async move {
        let _ = promise.set_result(task.await);
    });
    future
}

#[test]
fn threads_wait_for_tasks_and_calls_alike() {
    let (pool, runtime) = (ThreadPoolExecutor::new(1).unwrap(), tokio());
    let calls = vec![
        run_in_tokio(&runtime, async { 1 }),
        pool.spawn(|| 2).unwrap(),
        run_in_tokio(&runtime, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            3
        }),
    ];
    let sum: i32 = as_completed(calls).map(|call| call.into_result().unwrap()).sum();
    assert_eq!(sum, 6);
}

#[test]
fn a_task_that_its_runtime_drops_fails_the_call() {
    let runtime = tokio();
    let future = run_in_tokio(&runtime, std::future::pending::<()>());
    runtime.shutdown_background();
    let outcome = wait_for([&future], Duration::from_secs(60), ReturnWhen::AllCompleted);
    assert_eq!(outcome.done.len(), 1);
    assert!(matches!(future.into_result(), Err(Error::BrokenPromise)));
}

#[test]
fn a_call_in_a_worker_may_block_on_a_task_that_awaits_another_call() {
    let outer = ThreadPoolExecutor::new(1).unwrap();
    let inner = std::sync::Arc::new(ThreadPoolExecutor::new(1).unwrap());
    let call = outer.spawn(move || {
        let call = inner.submit(square, 5).unwrap();
        smol::block_on(async { call.await }).unwrap()
    });
    assert_eq!(call.unwrap().into_result().unwrap(), 25);
}
