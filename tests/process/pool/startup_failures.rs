//! Workers that never become ready.

use std::time::Duration;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;
use rustix::process::Signal;

use crate::fault_injection::send;
use crate::support::{ProcessGate, trials};

trials![
    a_storm_of_deaths_ends,
    three_workers_killed_while_they_start_are_no_storm,
    py_failing_initializer,
    an_initializer_that_exits_or_never_ends,
];

fn double(n: u64) -> u64 {
    n * 2
}

fn a_storm_of_deaths_ends() {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(2)
        .on_worker_death(OnWorkerDeath::FailCall)
        .initializer(|()| -> () { std::process::exit(7) }, ())
        .build()
        .unwrap();
    let error = pool.submit(double, 1).unwrap().into_result().unwrap_err();
    assert!(error.is_broken_executor());
    let death = error.worker_death().unwrap();
    assert_eq!(
        (death.exit_code, death.note),
        (Some(7), Some("it ended while its initializer ran"))
    );
    assert!(pool.stats().started < 10);
}

// A system without memory may pick them.
fn three_workers_killed_while_they_start_are_no_storm() {
    let gate = ProcessGate::new();
    let builder = ProcessPoolExecutor::builder().max_workers(3);
    let builder = builder.on_worker_death(OnWorkerDeath::FailCall);
    let pool =
        builder.initializer(|gate: String| ProcessGate::pass(&gate), gate.name()).build().unwrap();
    let calls: Vec<_> = (0..3).map(|n| pool.submit(double, n).unwrap()).collect();
    let starting = [(); 3].map(|()| gate.wait_begun());
    starting.iter().for_each(|pid| send(*pid, Signal::KILL));
    for _ in starting {
        gate.wait_begun();
    }
    starting.iter().for_each(|_| gate.open());
    let results: Vec<_> = calls.into_iter().map(|call| call.into_result().unwrap()).collect();
    assert_eq!((results, pool.stats().died), (vec![0, 2, 4], 3));
}

// case 95, case 96, F104
fn py_failing_initializer() {
    fn check(builder: concurrent::futures::process::ProcessPoolBuilder, text: &str) {
        let pool = builder.build().unwrap();
        let calls: Vec<_> = (0..3).filter_map(|n| pool.submit(double, n).ok()).collect();
        for call in calls {
            let error = call.into_result().unwrap_err();
            assert!(error.is_broken_executor() && error.to_string().contains(text), "{error}");
        }
        let later = pool.submit(double, 1).unwrap_err();
        assert!(later.is_broken_executor() && later.to_string().contains(text), "{later}");
    }
    let builder = || ProcessPoolExecutor::builder().max_workers(2);
    check(
        builder().initializer(|()| -> () { panic!("no licence, on purpose") }, ()),
        "no licence, on purpose",
    );
    check(
        builder().initializer(|()| Err::<(), _>("no disk"), ()),
        "the initializer returned an error: no disk",
    );
    let replacing = builder().on_worker_death(OnWorkerDeath::FailCall);
    check(
        replacing.initializer(|()| -> () { panic!("no luck, on purpose") }, ()),
        "no luck, on purpose",
    );
}

fn an_initializer_that_exits_or_never_ends() {
    let exits = ProcessPoolExecutor::builder().max_workers(1);
    let exits = exits.initializer(|()| -> () { std::process::exit(5) }, ()).build().unwrap();
    let error = exits.submit(double, 1).unwrap().into_result().unwrap_err();
    assert_eq!(error.worker_death().unwrap().exit_code, Some(5));
    let endless = ProcessPoolExecutor::builder()
        .max_workers(1)
        .on_worker_death(OnWorkerDeath::FailCall) // no other would end either
        .start_timeout(Duration::from_millis(300))
        .initializer(
            |()| -> () {
                loop {
                    std::thread::park();
                }
            },
            (),
        )
        .build()
        .unwrap();
    let error = endless.submit(double, 1).unwrap().into_result().unwrap_err();
    assert!(error.to_string().contains("its initializer did not end in time"), "{error}");
    assert!(!error.to_string().contains("memory"), "{error}");
    assert_eq!(endless.stats().started, 1);
}
