//! Large arguments and results.

use std::cell::RefCell;
use std::process::Command;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::SharedBytes;
use serde_bytes::ByteBuf;

use super::report::{OURS, Report, contender, time};
use super::rivals::Python;
use super::{Rivals, WORKERS};

const MIB: usize = 1 << 20;
const LARGE: usize = 64 * MIB;

pub fn run(report: &Report, pool: &ProcessPoolExecutor, rivals: &Rivals) {
    let Rivals { procspawn, cpython, loky, multiprocessing, ping_pong } = rivals;
    for (size, procspawn_asked, python_asked) in [(MIB, 1., 3.), (LARGE, 3., 3.)] {
        let data = RefCell::new(Some(vec![1u8; size]));
        let bytes = RefCell::new(Some(ByteBuf::from(vec![1u8; size])));
        let mut all = vec![
            contender("concurrent, Vec<u8>", || {
                let sent = data.take().unwrap();
                let mut back = None;
                let time = time(1, || {
                    back = Some(pool.submit(|v: Vec<u8>| v, sent).unwrap().into_result());
                });
                data.replace(Some(back.unwrap().unwrap()));
                time
            }),
            contender("procspawn, ByteBuf", || {
                let sent = bytes.take().unwrap();
                let mut back = None;
                let time = time(1, || {
                    back = Some(procspawn.spawn(sent, |v: ByteBuf| v).join().unwrap());
                });
                bytes.replace(back);
                time
            })
            .asked(procspawn_asked),
        ];
        let ask = |p: &Python| p.ask(&format!("echo {size}"), 1);
        let asked = python_asked;
        all.extend(cpython.iter().map(|p| contender("CPython", move || ask(p)).asked(asked)));
        all.extend(loky.iter().map(|p| contender("loky", move || ask(p)).asked(asked)));
        all.extend(
            multiprocessing
                .iter()
                .map(|p| contender("multiprocessing.Pool", move || ask(p)).asked(asked)),
        );
        report.compare(&format!("echo of {} MiB", size / MIB), all);
    }

    let title = "peak of the parent above the payload";
    if report.wants(title) {
        let output = Command::new("/proc/self/exe").arg("processes").env(PEAK, "1").output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        report.single(title, "payloads", text.trim().parse().unwrap(), 2.);
    }

    let shared = SharedBytes::copy_from(&vec![1; LARGE]).unwrap();
    let hand_over = || {
        let call = pool.submit(|b: SharedBytes| b.len(), shared.clone());
        call.unwrap().into_result().unwrap();
    };
    report.compare(
        "SharedBytes of 64 MiB handed over",
        vec![
            contender(OURS, || time(1000, || (0..1000).for_each(|_| hand_over()))),
            contender("socket ping-pong", || {
                time(2000, || (0..2000).for_each(|_| ping_pong.round()))
            })
            .asked(0.2),
        ],
    );
}

const PEAK: &str = "PEERS_PEAK";

/// Whether this process was started to measure its own peak. Then it has printed how many payloads of
/// memory an echo takes on top.
pub fn measure_peak() -> bool {
    if std::env::var_os(PEAK).is_none() {
        return false;
    }
    let pool = ProcessPoolExecutor::new(WORKERS).unwrap();
    pool.submit(super::increment, 1).unwrap().into_result().unwrap();
    let mut data = vec![1u8; LARGE];
    let before = kib("VmRSS");
    for _ in 0..4 {
        data = pool.submit(|v: Vec<u8>| v, data).unwrap().into_result().unwrap();
    }
    println!("{:.2}", (kib("VmHWM") - before) / (LARGE / 1024) as f64);
    true
}

fn kib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
