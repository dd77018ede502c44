//! Forks of the program and of its workers.

use crate::support::{in_own_process, replacing, trials};

trials![a_fork_of_the_program_leaves_its_pool_alone, a_call_comes_back_from_a_fork_twice,];

fn double(n: u64) -> u64 {
    n * 2
}

fn a_fork_of_the_program_leaves_its_pool_alone() {
    in_own_process(&["forks"]);
}

/// Runs `child` in a fork, beside `parent`.
fn forked(child: impl FnOnce() -> bool, parent: impl FnOnce()) {
    // SAFETY: the child does what the test is about, and ends without coming back.
    let fork = unsafe { libc::fork() };
    if fork == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    parent();
    let mut status = -1;
    // SAFETY: our child, and there is room for its status.
    unsafe { libc::waitpid(fork, &raw mut status, 0) };
    assert_eq!(status, 0);
}

pub(crate) fn leaves_alone() {
    for end in 0..6 {
        let pool = replacing(2);
        let worker = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
        let before = pool.submit(double, 4).unwrap();
        before.result().unwrap();
        let own = &pool;
        let child = move || {
            // A child whose fate is the kernel's, should it hang.
            // SAFETY: takes a number.
            unsafe { libc::alarm(20) };
            // The child drops its copy of the pool; the parent has another one.
            // SAFETY: the child never comes back to where the original is dropped.
            let pool = unsafe { std::ptr::read(own) };
            let refused = (0..20_u64).all(|n| {
                let error = pool.submit(double, n).unwrap_err();
                error.is_broken_executor() && error.to_string().contains("fork")
            });
            match end {
                0 => pool.shutdown(),
                1 => pool.terminate_workers(),
                2 => pool.kill_workers(),
                3 => assert!(!before.kill()),
                _ => {}
            }
            drop(pool);
            refused
        };
        forked(child, || {
            for n in 0..200 {
                assert_eq!(pool.submit(double, n).unwrap().into_result().unwrap(), 2 * n);
            }
        });
        let later = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
        assert_eq!((later, pool.stats().died), (worker, 0));
    }
}

fn a_call_comes_back_from_a_fork_twice() {
    let fork = |n: u64| {
        // SAFETY: both copies go on as if nothing had happened; the child ends soon.
        assert!(unsafe { libc::fork() } >= 0);
        n * 10
    };
    let pool = replacing(1);
    for n in 0..30 {
        assert_eq!(pool.submit(fork, n).unwrap().into_result().unwrap(), n * 10);
        // None of these is the fork's to take.
        let calls: Vec<_> = (0..20).map(|n| pool.submit(double, n).unwrap()).collect();
        let results = calls.into_iter().map(|call| call.into_result().unwrap());
        assert!(results.eq((0..20).map(double)));
    }
    assert_eq!(pool.stats().died, 0);
}
