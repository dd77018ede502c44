//! How workers begin, how they die, and what they cost while they wait.

use std::process::Command;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::OnWorkerDeath;

use super::report::{OURS, Report, contender, keep, time};
use super::{Rivals, WORKERS, increment};

pub fn run(report: &Report, rivals: &Rivals) {
    first_results(report, rivals);
    deaths(report, rivals);
    let title = "private memory of an idle worker";
    if report.wants(title) {
        report.single(title, "MB", idle_memory(), 0.5);
    }
}

fn first_results(report: &Report, rivals: &Rivals) {
    for gib in [0, 2] {
        let title = format!("pool up to the first result, holding {gib} GiB");
        if !report.wants(&title) {
            continue;
        }
        let ballast = vec![1u8; gib << 30];
        let mut all = vec![
            contender(OURS, || {
                let mut made = None;
                let time = time(1, || {
                    let pool = ProcessPoolExecutor::new(WORKERS).unwrap();
                    pool.submit(increment, 1).unwrap().into_result().unwrap();
                    made = Some(pool);
                });
                drop(made);
                time
            }),
            contender("procspawn", || {
                let mut made = None;
                let time = time(1, || {
                    let pool = procspawn::Pool::new(WORKERS).unwrap();
                    pool.spawn(1, increment).join().unwrap();
                    made = Some(pool);
                });
                made.unwrap().shutdown();
                time
            })
            .asked(1.),
        ];
        let pythons = [("CPython (small)", &rivals.cpython), ("loky (small)", &rivals.loky)];
        for (name, python) in pythons {
            all.extend(python.iter().map(|p| contender(name, move || p.ask("first", 1))));
        }
        report.compare(&title, all);
        drop(ballast);
    }
}

fn deaths(report: &Report, rivals: &Rivals) {
    let die = |code: i32| -> u64 { std::process::exit(code) };
    let builder = ProcessPoolExecutor::builder().max_workers(WORKERS);
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    let procspawn = procspawn::Pool::new(WORKERS).unwrap();
    let four = || pool.map(increment, 0..4).for_each(|result| keep(result.unwrap()));
    let four_of_procspawn = || {
        let calls: Vec<_> = (0..4).map(|n| procspawn.spawn(n, increment)).collect();
        calls.into_iter().for_each(|call| keep(call.join().unwrap()));
    };
    let mut all = vec![
        contender(OURS, || {
            four();
            time(1, || assert!(pool.submit(die, 3).unwrap().into_result().is_err()))
        }),
        contender("procspawn", || {
            four_of_procspawn();
            time(1, || assert!(procspawn.spawn(3, die).join().is_err()))
        })
        .asked(1.),
    ];
    let pythons = [("CPython", &rivals.cpython), ("loky", &rivals.loky)];
    for (name, python) in pythons {
        all.extend(python.iter().map(|p| contender(name, move || p.ask("death", 1))));
    }
    report.compare("a call kills its worker: caller told", all);

    let all = vec![
        contender(OURS, || {
            four();
            time(1, || {
                assert!(pool.submit(die, 3).unwrap().into_result().is_err());
                four();
            })
        }),
        contender("procspawn", || {
            four_of_procspawn();
            time(1, || {
                assert!(procspawn.spawn(3, die).join().is_err());
                four_of_procspawn();
            })
        }),
        contender("bare start of a process", || {
            time(1, || keep(Command::new("/bin/true").status().unwrap()))
        })
        .asked(1. / 3.),
    ];
    report.compare("a call kills its worker: four good answers", all);

    let title = "innocent calls lost to ten deaths";
    if report.wants(title) {
        let mut lost = 0;
        for _ in 0..10 {
            let calls: Vec<_> = (0..100).map(|n| pool.submit(increment, n).unwrap()).collect();
            let bad = pool.submit(die, 3).unwrap();
            let more: Vec<_> = (0..100).map(|n| pool.submit(increment, n).unwrap()).collect();
            assert!(bad.into_result().is_err());
            let all = calls.into_iter().chain(more);
            lost += all.filter(|call| call.result().is_err()).count();
        }
        report.single(title, "calls", lost as f64, 0.);
    }
}

fn idle_memory() -> f64 {
    let idle = ProcessPoolExecutor::new(1).unwrap();
    let pid = idle.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let kib = private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap());
    kib.sum::<f64>() / 1024.
}
