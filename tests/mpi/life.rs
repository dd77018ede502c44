//! How a pool begins and ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use concurrent::Error;
use concurrent::futures::mpi::mpi::{self, Threading, traits::Communicator};
use concurrent::futures::mpi::{MpiPoolExecutor, Role};
use concurrent::futures::{Future, ShutdownOptions};
use libtest_mimic::Trial;

use crate::common::process_gate::ProcessGate;
use crate::support::{acts, passes, run, trial};

acts![
    an_initializer_runs_first_on_every_rank,
    an_initializer_that_fails_breaks_the_pool,
    an_initializer_that_panics_breaks_the_pool,
    a_single_rank_is_an_error_that_says_what_to_do,
    a_single_rank_may_work_alone,
    a_rank_that_cannot_start_leaves_the_others_their_end,
    programs_with_code_of_their_own_go_on,
    programs_of_their_own_make_many_pools,
    programs_of_their_own_need_not_wait,
    programs_of_their_own_make_one_pool_at_a_time,
    another_way_to_initialise_is_refused,
    there_is_one_pool_of_the_whole_program,
    a_call_cannot_make_a_pool,
    a_panic_cancels_what_was_not_sent,
    a_shutdown_in_a_callback_waits_for_nothing,
    a_pool_ends_in_another_thread,
    the_program_may_end_without_a_shutdown,
    the_program_may_exit_while_calls_wait,
    the_program_may_exit_while_a_call_runs,
    the_program_may_exit_while_a_rank_starts,
    settings_that_make_no_sense,
];

pub(crate) fn trials() -> Vec<Trial> {
    let names = acts().into_iter().map(|(name, _)| name);
    let ordinary = |name: &&str| !(name.contains("single_rank") || name.contains("may_"));
    let ranks = |name: &str| if name.contains("many_pools") { 4 } else { 3 };
    let mut trials: Vec<Trial> =
        names.filter(ordinary).map(|name| passes(name, ranks(name))).collect();
    trials.push(passes("mpi::life::a_single_rank_is_an_error_that_says_what_to_do", 1));
    trials.push(passes("mpi::life::a_single_rank_may_work_alone", 1));
    trials.push(passes("mpi::life::the_program_may_end_without_a_shutdown", 3));
    trials.push(trial("life::the_program_may_exit_while_calls_wait", || {
        let run = run(3, "mpi::life::the_program_may_exit_while_calls_wait");
        assert_eq!(run.status.code(), Some(7), "{}", run.output);
    }));
    trials.push(trial("life::the_program_may_exit_while_a_call_runs", || {
        is_aborted("mpi::life::the_program_may_exit_while_a_call_runs");
    }));
    trials.push(trial("life::the_program_may_exit_while_a_rank_starts", || {
        is_aborted("mpi::life::the_program_may_exit_while_a_rank_starts");
    }));
    trials
}

fn is_aborted(act: &str) {
    let run = run(3, act);
    run.failed_with("the program ended while calls were running on other ranks");
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
}

fn a_pool_ends_in_another_thread() {
    let pool = MpiPoolExecutor::new().unwrap();
    assert_eq!(pool.submit(|n: u32| n * 2, 21).unwrap().into_result().unwrap(), 42);
    std::thread::spawn(move || drop(pool)).join().unwrap();
    assert!(crate::threads::is_finalised());
}

static GREETING: OnceLock<String> = OnceLock::new();

fn an_initializer_runs_first_on_every_rank() {
    let set = |text: String| {
        GREETING.set(text).unwrap();
        Ok::<(), String>(())
    };
    let pool = MpiPoolExecutor::builder().initializer(set, "hello".into()).build().unwrap();
    let greeted = pool.map(|_: u32| GREETING.get().cloned(), 0..20);
    assert!(greeted.map(Result::unwrap).all(|greeting| greeting.as_deref() == Some("hello")));
    assert!(GREETING.get().is_none(), "not on root");
}

fn breaks(pool: &MpiPoolExecutor, is_cause: fn(&Error) -> bool) {
    let mut told = 0;
    let error = loop {
        match pool.submit(|n: u32| n, 1) {
            Ok(call) => match call.into_result() {
                // The other rank may have got ready first.
                Ok(_) => {}
                Err(Error::BrokenMpiPool { accepted: true, cause }) => {
                    assert!(is_cause(&cause), "{cause}");
                    told += 1;
                }
                Err(error) => panic!("{error}"),
            },
            Err(error) => break error,
        }
    };
    assert!(error.is_broken_executor() && told <= 1, "{error}");
    let Error::BrokenMpiPool { accepted: false, cause } = &error else { panic!("{error}") };
    assert!(is_cause(cause), "{cause}");
}

fn an_initializer_that_fails_breaks_the_pool() {
    let refuse = |(): ()| Err::<(), &str>("no licence");
    let pool = MpiPoolExecutor::builder().initializer(refuse, ()).build().unwrap();
    breaks(&pool, |cause| matches!(cause, Error::Raised(why) if why.to_string() == "no licence"));
}

fn an_initializer_that_panics_breaks_the_pool() {
    let panics = |(): ()| panic!("not today");
    let pool = MpiPoolExecutor::builder().initializer(panics, ()).build().unwrap();
    breaks(&pool, |cause| matches!(cause, Error::Panicked(why) if why.message() == "not today"));
    drop(pool);
}

/// In a call: whether this is the rank with the highest number.
fn is_last() -> bool {
    let world = mpi::topology::SimpleCommunicator::world();
    world.rank() + 1 == world.size()
}

fn a_rank_that_cannot_start_leaves_the_others_their_end() {
    let (start, end) = (ProcessGate::new(), ProcessGate::new());
    let fails_on_the_last = |gate: String| {
        if !is_last() {
            return Ok(());
        }
        ProcessGate::pass(&gate);
        Err("no licence")
    };
    let pool = MpiPoolExecutor::builder().initializer(fails_on_the_last, start.name());
    let pool = pool.build().unwrap();
    let large = |gate: String| {
        ProcessGate::pass(&gate);
        vec![1_u8; 8 << 20]
    };
    let call = pool.submit(large, end.name()).unwrap();
    end.wait_begun();
    start.wait_begun();
    start.open();
    let error = call.into_result().unwrap_err();
    assert!(matches!(error, Error::BrokenMpiPool { accepted: true, .. }), "{error}");
    end.open(); // and now it sends what nobody waits for
    drop(pool);
}

fn a_single_rank_is_an_error_that_says_what_to_do() {
    let error = MpiPoolExecutor::new().unwrap_err();
    assert!(matches!(error, Error::NoWorkers(_)) && error.to_string().contains("mpirun -n 4"));
}

fn a_single_rank_may_work_alone() {
    let set = |text: String| GREETING.set(text);
    let builder = MpiPoolExecutor::builder().local_fallback(true);
    let pool = builder.initializer(set, "hello".into()).build().unwrap();
    let own = std::process::id();
    assert_eq!(pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap(), own);
    assert_eq!(pool.map(|n: u64| n * n, 0..100).map(Result::unwrap).sum::<u64>(), 328_350);
    let failed =
        pool.submit(|()| -> u32 { panic!("alone") }, ()).unwrap().into_result().unwrap_err();
    assert!(failed.is_call_failure());
    assert_eq!((pool.workers(), GREETING.get().unwrap().as_str()), (1, "hello"));
    pool.shutdown();
}

fn programs_with_code_of_their_own_go_on() {
    let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    let world = universe.world();
    for round in 0..3 {
        match MpiPoolExecutor::enter(&world).unwrap() {
            Role::Root(pool) => {
                assert_eq!(world.rank(), 0);
                let call = pool.submit(|n: u32| n + 1, round).unwrap();
                assert_eq!(call.into_result().unwrap(), round + 1);
            }
            Role::Worker => assert_ne!(world.rank(), 0),
        }
        // Their own messages again.
        mpi::traits::CommunicatorCollectives::barrier(&world);
    }
    // Some of the ranks only.
    let half = world.split_by_color(mpi::topology::Color::with_value(world.rank() % 2)).unwrap();
    if half.size() > 1 {
        if let Role::Root(pool) = MpiPoolExecutor::enter(&half).unwrap() {
            assert_eq!(pool.workers(), half.size() as usize - 1);
            assert_eq!(pool.submit(|n: u32| n, 5).unwrap().into_result().unwrap(), 5);
        }
    } else {
        assert!(matches!(MpiPoolExecutor::enter(&half), Err(Error::NoWorkers(_))));
    }
    mpi::traits::CommunicatorCollectives::barrier(&world);
}

fn programs_of_their_own_make_many_pools() {
    let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    let world = universe.world();
    let late_on_the_last = |()| {
        let begun = Instant::now();
        while is_last() && begun.elapsed() < Duration::from_millis(2) {} // root will be done by then
    };
    for round in 0..300 {
        let builder = MpiPoolExecutor::builder().initializer(late_on_the_last, ());
        if let Role::Root(pool) = builder.enter(&world).unwrap() {
            assert_eq!(pool.submit(|n: u32| n, round).unwrap().into_result().unwrap(), round);
        }
    }
}

fn programs_of_their_own_need_not_wait() {
    let (universe, _) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    let world = universe.world();
    for round in 0..50 {
        if let Role::Root(pool) = MpiPoolExecutor::enter(&world).unwrap() {
            assert_eq!(pool.submit(|n: u32| n, round).unwrap().into_result().unwrap(), round);
            pool.shutdown_with(ShutdownOptions::new().wait(false));
        }
    }
    // And MPI is finalised.
}

fn programs_of_their_own_make_one_pool_at_a_time() {
    let (universe, provided) = mpi::initialize_with_threading(Threading::Serialized).unwrap();
    let world = universe.world();
    if let Role::Root(pool) = MpiPoolExecutor::enter(&world).unwrap() {
        if provided < Threading::Multiple {
            let error = MpiPoolExecutor::enter(&world).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
            assert!(matches!(MpiPoolExecutor::new(), Err(Error::InvalidArgument(_))));
        }
        assert_eq!(pool.submit(|n: u32| n, 1).unwrap().into_result().unwrap(), 1);
    }
    if let Role::Root(pool) = MpiPoolExecutor::enter(&world).unwrap() {
        assert_eq!(pool.submit(|n: u32| n, 2).unwrap().into_result().unwrap(), 2);
    }
}

fn another_way_to_initialise_is_refused() {
    let (universe, provided) = mpi::initialize_with_threading(Threading::Single).unwrap();
    let entered = MpiPoolExecutor::enter(&universe.world());
    if provided < Threading::Serialized {
        let error = entered.unwrap_err();
        assert!(error.to_string().contains("Threading::Serialized"), "{error}");
    }
}

fn there_is_one_pool_of_the_whole_program() {
    let pool = MpiPoolExecutor::new().unwrap();
    assert!(matches!(MpiPoolExecutor::new(), Err(Error::InvalidArgument(_))));
    drop(pool);
    assert!(matches!(MpiPoolExecutor::new(), Err(Error::InvalidArgument(_))));
}

fn a_call_cannot_make_a_pool() {
    let pool = MpiPoolExecutor::new().unwrap();
    let make = |()| MpiPoolExecutor::new().err().map(|error| error.to_string());
    let error = pool.submit(make, ()).unwrap().into_result().unwrap().unwrap();
    assert!(error.contains("cannot make a pool of ranks"), "{error}");
}

fn a_panic_cancels_what_was_not_sent() {
    let gate = ProcessGate::new();
    let mut calls = Vec::new();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let pool = MpiPoolExecutor::builder().credit(1).build().unwrap();
        let pass = |name: String| ProcessGate::pass(&name);
        calls.extend((0..4).map(|_| pool.submit(pass, gate.name()).unwrap()));
        gate.wait_begun_by(2);
        // The others go on when this one is cancelled.
        let opens = ProcessGate::open_from(gate.name());
        calls[3].add_done_callback(move |_: &Future<()>| (0..2).for_each(|_| opens()));
        panic!("in the middle");
    }));
    assert!(unwound.is_err() && calls.iter().all(Future::done));
    assert_eq!(calls.iter().filter(|call| call.cancelled()).count(), 2);
}

fn a_shutdown_in_a_callback_waits_for_nothing() {
    let pool = std::sync::Arc::new(MpiPoolExecutor::new().unwrap());
    let gate = ProcessGate::new();
    let call = pool.submit(|name: String| ProcessGate::pass(&name), gate.name()).unwrap();
    let own = std::sync::Arc::clone(&pool);
    call.add_done_callback(move |_: &Future<()>| own.shutdown());
    gate.wait_begun();
    gate.open();
    call.into_result().unwrap();
    pool.shutdown();
    assert!(matches!(pool.submit(|n: u32| n, 1), Err(Error::Shutdown)));
}

fn the_program_may_end_without_a_shutdown() {
    let pool = MpiPoolExecutor::new().unwrap();
    assert_eq!(pool.submit(|n: u32| n, 1).unwrap().into_result().unwrap(), 1);
    pool.shutdown_with(ShutdownOptions::new().wait(false));
    #[expect(clippy::mem_forget, reason = "that is what is tested")]
    std::mem::forget(pool);
}

fn the_program_may_exit_while_calls_wait() {
    let pool = MpiPoolExecutor::builder().credit(1).build().unwrap();
    let gate = ProcessGate::new();
    let pass = |name: String| ProcessGate::pass(&name);
    let calls: Vec<_> = (0..4).map(|_| pool.submit(pass, gate.name()).unwrap()).collect();
    gate.wait_begun_by(2);
    assert!(calls.iter().all(|call| !call.done()));
    // For all: the ranks may be at the gate for the second time when the program ends.
    (0..4).for_each(|_| gate.open());
    std::process::exit(7);
}

fn the_program_may_exit_while_a_call_runs() {
    let pool = MpiPoolExecutor::new().unwrap();
    let gate = ProcessGate::new();
    let _call = pool.submit(|name: String| ProcessGate::pass(&name), gate.name()).unwrap();
    gate.wait_begun();
    let begun = Instant::now();
    println!("exits {:?}", begun.elapsed());
    std::process::exit(0);
}

fn the_program_may_exit_while_a_rank_starts() {
    let gate = ProcessGate::new();
    let wait_on_the_last = |gate: String| {
        if is_last() {
            ProcessGate::pass(&gate);
        }
        Ok::<(), String>(())
    };
    let pool = MpiPoolExecutor::builder().initializer(wait_on_the_last, gate.name());
    let _pool = pool.build().unwrap();
    gate.wait_begun();
    std::process::exit(0);
}

fn settings_that_make_no_sense() {
    let none = MpiPoolExecutor::builder().credit(0).build();
    assert!(matches!(none, Err(Error::InvalidArgument(_))));
    // That was said before anything was initialised.
    let pool = MpiPoolExecutor::builder().credit(1).build().unwrap();
    assert_eq!(pool.workers(), 2);
}
