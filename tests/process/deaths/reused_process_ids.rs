//! A worker was reaped by other code, and another process has its number.

use std::time::Duration;

use concurrent::Error;
use concurrent::futures::ProcessPoolExecutor;
use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use crate::exchange::Exchange;
use crate::fault_injection::send;
use crate::support::{in_own_process, replacing, trials};
use crate::system::seccomp::{Refusals, Side};

trials![what_is_meant_for_a_worker_reaches_nobody_else];

fn what_is_meant_for_a_worker_reaches_nobody_else() {
    in_own_process(&["reuse"]);
}

/// A process with this number that waits; `None` if the system lets nobody choose numbers.
fn process_with_number(number: Pid) -> Option<()> {
    let number = number.as_raw_nonzero().get();
    let list = (&raw const number).addr() as u64;
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, its size
    let arguments: [u64; 10] = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, list, 1];
    // SAFETY: a fork; both structures live. The child makes system calls only.
    let child =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    if child == 0 {
        // SAFETY: ends with its parent, should the test fail.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    }
    (child == i64::from(number)).then_some(())
}

/// Ways to reach for a worker that has just ended.
const DEEDS: [fn(&ProcessPoolExecutor, &concurrent::futures::Future<()>); 3] = [
    |_, call| assert!(call.kill()),
    |pool, _| pool.terminate_workers(),
    |pool, _| pool.kill_workers(),
];

pub(crate) fn act() {
    let refusals = match Refusals::begin() {
        Ok(refusals) => refusals,
        Err(error) => return eprintln!("skipped: calls cannot be filtered here: {error}"),
    };
    for (number, deed) in DEEDS.into_iter().enumerate() {
        let pool = replacing(1);
        let pid = pool.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
        let worker = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let for_ever = |()| loop {
            std::thread::park();
        };
        let call = pool.submit::<(), ()>(for_ever, ()).unwrap();
        while !call.running() {
            std::thread::park_timeout(Duration::from_micros(100)); // it is being started
        }
        // The pool is about to find out how it ended, and does not get to that.
        refusals.hold(Side::Parent, "SYS_waitid");
        send(pid, Signal::KILL);
        refusals.wait_held();
        assert!(waitpid(Some(worker), WaitOptions::empty()).unwrap().is_some());
        let Some(()) = process_with_number(worker) else {
            refusals.release();
            return eprintln!("skipped: nobody can choose the number of a process here");
        };
        deed(&pool, &call);
        refusals.release();
        let error = call.into_result().unwrap_err();
        let is_right = match number {
            0 => matches!(error, Error::Killed { .. }),
            _ => matches!(error, Error::BrokenProcessPool { .. }),
        };
        assert!(is_right, "{error}");
        if number == 0 {
            Exchange::flawless(&"after a kill of a worker that is gone").with(&pool);
        }
        drop(pool);
        let other = waitpid(Some(worker), WaitOptions::NOHANG).unwrap();
        assert!(other.is_none(), "the other process was ended: {other:?}");
        send(pid, Signal::KILL);
        waitpid(Some(worker), WaitOptions::empty()).unwrap();
    }
}
