//! Messages of errors: what happened, to what, and what can be done.

use std::io;
use std::time::Duration;

use concurrent::futures::{ThreadPoolExecutor, with_worker_state};
use concurrent::{Cause, Error, WorkerDeath};

use crate::support::{finished, pending, pool};

fn death() -> WorkerDeath {
    let mut death = WorkerDeath::default();
    death.pid = 12;
    death.signal = Some(9);
    death.call = Some("the call submitted at src/main.rs:7:9, fn(u64) -> u64".into());
    death
}

#[test]
fn each_message_says_what_happened() {
    let died = Error::WorkerDied(Cause::new(death()));
    let texts = [
        (Error::Cancelled, "the call was cancelled"),
        (Error::Timeout { unfinished: 2, total: 4 }, "2 (of 4) futures unfinished"),
        (Error::Timeout { unfinished: 1, total: 1 }, "1 (of 1) futures unfinished"),
        (
            Error::BrokenPromise,
            "the executor dropped the promise of the call without completing it",
        ),
        #[cfg(all(feature = "process", target_os = "linux"))] // which have the name of the signal
        (
            died.clone(),
            "worker process 12 was ended by signal 9 (SIGKILL), as the system does when memory \
             runs out, while it ran the call submitted at src/main.rs:7:9, fn(u64) -> u64",
        ),
        (
            Error::BrokenThreadPool(Cause::new(Error::raised("no licence"))),
            "A thread initializer failed, the thread pool is not usable anymore: the initializer \
             returned an error: no licence",
        ),
        (Error::Killed { pid: 12 }, "the call was killed on purpose, with its worker process 12"),
        (
            Error::DeadlineExceeded { limit: Duration::from_secs(5), call: None },
            "the call ran longer than its deadline of 5s and was killed with its worker process",
        ),
        (
            Error::MessageTooLarge { limit: 1024 },
            "the argument or result is larger than max_message_size, 1024 bytes",
        ),
        (
            Error::ThreadStart(Cause::new(io::Error::other("no room"))),
            "can't start new thread: no room",
        ),
        (Error::QueueFull, "the queue of the executor is full, the call was not taken"),
        (Error::Shutdown, "cannot schedule new futures after shutdown"),
    ];
    for (error, text) in texts {
        assert_eq!(error.to_string(), text);
    }
    let broken = Error::BrokenProcessPool { accepted: false, cause: Cause::new(died) }.to_string();
    assert!(
        broken.starts_with("A child process terminated abruptly, the process pool"),
        "{broken}"
    );
    assert!(broken.contains("src/main.rs:7:9") && broken.contains("on_worker_death"), "{broken}");
}

#[test]
fn a_deadlock_says_who_waits_for_whom_and_what_would_help() {
    let (left, right) = (pool(1), std::sync::Arc::new(pool(1)));
    let left = std::sync::Arc::new(left);
    let call = {
        let (left, right) = (left.clone(), right.clone());
        left.clone().spawn(move || {
            let inner = right.spawn(move || {
                let queued = left.spawn(|| ()).unwrap();
                queued.into_result().map_err(|error| error.to_string())
            });
            // Whichever of the two waits second closes the circle, and fails.
            inner.unwrap().into_result().unwrap_or_else(|error| Err(error.to_string()))
        })
    };
    let text = call.unwrap().into_result().unwrap().unwrap_err();
    assert!(text.starts_with("deadlock: `"), "{text}");
    assert!(text.contains("waits for") && text.contains("`and_then`"), "{text}");
}

#[test]
fn refused_settings_name_the_setting() {
    let refused = |built: concurrent::Result<ThreadPoolExecutor>| built.unwrap_err().to_string();
    let zero = refused(ThreadPoolExecutor::new(0));
    assert_eq!(zero, "max_workers must be greater than 0");
    let priority = pool(1).spawn_with_priority(1, || ()).unwrap_err().to_string();
    assert!(priority.contains(".discipline(Discipline::Priority)"), "{priority}");
    assert!(with_worker_state(|(): &mut ()| ()).is_none());
}

// F33
#[test]
fn a_wrong_state_names_the_future() {
    let (promise, _future) = finished(1);
    let text = promise.set_result(2).unwrap_err().to_string();
    assert!(text.starts_with("FINISHED: <Future at 0x"), "{text}");
    let (promise, future) = pending::<()>();
    assert!(future.cancel());
    let text = promise.set_result(()).unwrap_err().to_string();
    assert!(text.starts_with("CANCELLED: <Future at 0x"), "{text}");
}
