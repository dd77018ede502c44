//! Calls through a pool of two worker processes, beside procspawn, CPython and the bare floor.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use concurrent::futures::process::{OnWorkerDeath, SharedBytes};
use concurrent::futures::{Future, MapOptions, ProcessPoolExecutor};
use serde_bytes::ByteBuf;

const WORKERS: usize = 2;
const MIB: usize = 1 << 20;

/// One way to do the work.
struct Contender<'a> {
    name: &'static str,
    /// Does it once; gives ns per item.
    run: Box<dyn FnMut() -> f64 + 'a>,
}

fn contender<'a>(name: &'static str, run: impl FnMut() -> f64 + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// Runs all in turn; prints ns per item, and how many times longer than ours, the first, each
/// takes (the median over rounds of the ratio within a round).
fn compare(title: &str, rounds: usize, mut contenders: Vec<Contender<'_>>) {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, own) in contenders.iter_mut().zip(&mut times) {
            let time = (contender.run)();
            if round > 0 {
                own.push(time); // round 0 warms up
            }
        }
    }
    println!("\n{title} ({rounds} rounds)");
    println!("{:<34} {:>13} {:>13} {:>12}", "", "min ns", "median ns", "this / ours");
    for (contender, own) in contenders.iter().zip(&times) {
        let ratios = own.iter().zip(&times[0]).map(|(theirs, ours)| theirs / ours).collect();
        let minimum = own.iter().copied().fold(f64::INFINITY, f64::min);
        let (name, middle) = (contender.name, median(own.clone()));
        println!("{name:<34} {minimum:>13.0} {middle:>13.0} {:>12.2}", median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn time(items: usize, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64 / items as f64
}

fn keep<T>(value: T) {
    std::hint::black_box(value);
}

fn increment(n: u64) -> u64 {
    n + 1
}

fn increment_all(numbers: Vec<u64>) -> Vec<u64> {
    numbers.into_iter().map(increment).collect()
}

/// A Python process that does what it is told.
struct Python {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Self {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("processes.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    /// Gives elapsed ns, and CPU ns of the parent, per item.
    fn ask(&mut self, order: &str, items: usize) -> (f64, f64) {
        writeln!(self.orders, "{order}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let mut numbers = line.split_whitespace().map(|n| n.parse::<f64>().unwrap());
        let mut next = || numbers.next().unwrap() / items as f64;
        (next(), next())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two processes and a socket between them. The other is this program, told by a variable.
struct PingPong {
    socket: UnixStream,
}

impl PingPong {
    fn start() -> Self {
        let (socket, other) = UnixStream::pair().unwrap();
        let child = Command::new("/proc/self/exe")
            .env("PEERS_PING_PONG", "1")
            .arg("processes")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(other)))
            .spawn();
        drop(child.unwrap());
        Self { socket }
    }

    fn serve() {
        let stdin = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().unwrap();
        let mut socket = UnixStream::from(stdin);
        let mut message = [0; 64];
        while socket.read_exact(&mut message).is_ok() {
            socket.write_all(&message).unwrap();
        }
    }

    fn round(&mut self) {
        let mut message = [1; 64];
        self.socket.write_all(&message).unwrap();
        self.socket.read_exact(&mut message).unwrap();
    }
}

fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 1e7
}

pub fn run(rounds: usize) {
    if std::env::var_os("PEERS_PING_PONG").is_some() {
        return PingPong::serve();
    }
    let pool = ProcessPoolExecutor::new(WORKERS).unwrap();
    let procspawn = procspawn::Pool::new(WORKERS).unwrap();
    let python = std::cell::RefCell::new(Python::start());
    let ask = |order: &str, items| python.borrow_mut().ask(order, items).0;
    let mut ping_pong = PingPong::start();

    compare(
        "round trip of an empty call",
        rounds,
        vec![
            contender("ours", || {
                time(2000, || {
                    for n in 0..2000 {
                        pool.submit(increment, n).unwrap().into_result().unwrap();
                    }
                })
            }),
            contender("procspawn", || {
                time(1000, || {
                    for n in 0..1000 {
                        procspawn.spawn(n, increment).join().unwrap();
                    }
                })
            }),
            contender("CPython", || ask("round 300", 300)),
            contender("socket ping-pong (floor)", || {
                time(2000, || (0..2000).for_each(|_| ping_pong.round()))
            }),
        ],
    );

    compare(
        "empty calls submitted one by one, then waited for",
        rounds,
        vec![
            contender("ours", || {
                time(100_000, || {
                    let calls: Vec<Future<u64>> =
                        (0..100_000).map(|n| pool.submit(increment, n).unwrap()).collect();
                    calls.into_iter().for_each(|call| keep(call.into_result().unwrap()));
                })
            }),
            contender("procspawn (200 at a time)", || {
                time(2000, || {
                    for _ in 0..10 {
                        let calls: Vec<_> =
                            (0..200).map(|n| procspawn.spawn(n, increment)).collect();
                        calls.into_iter().for_each(|call| keep(call.join().unwrap()));
                    }
                })
            }),
            contender("CPython", || ask("submit 2000", 2000)),
        ],
    );

    compare(
        "map, chunks of 100: per item",
        rounds,
        vec![
            contender("ours", || {
                time(1_000_000, || {
                    let options = MapOptions::new().chunk_size(100);
                    let map = pool.map_with(options, increment, 0..1_000_000).unwrap();
                    map.for_each(|result| keep(result.unwrap()));
                })
            }),
            contender("procspawn by hand", || {
                time(100_000, || {
                    for first in (0..100_000).step_by(20_000) {
                        let chunks = (first..first + 20_000u64).step_by(100);
                        let calls: Vec<_> = chunks
                            .map(|n| procspawn.spawn((n..n + 100).collect(), increment_all))
                            .collect();
                        calls.into_iter().for_each(|call| keep(call.join().unwrap()));
                    }
                })
            }),
            contender("CPython", || ask("map 20000", 20_000)),
        ],
    );

    let (before, calls) = (cpu_ns(), 400_000);
    let futures: Vec<_> = (0..calls).map(|n| pool.submit(increment, n).unwrap()).collect();
    futures.into_iter().for_each(|call| keep(call.into_result().unwrap()));
    let ours = (cpu_ns() - before) / calls as f64;
    let theirs = python.borrow_mut().ask("submit 5000", 5000).1;
    println!("\nCPU time of the parent per call: ours {ours:.0} ns, CPython {theirs:.0} ns");
    println!("{:.1} times less", theirs / ours);

    for size in [MIB, 64 * MIB] {
        let data = std::cell::RefCell::new(Some(vec![1u8; size]));
        let bytes = std::cell::RefCell::new(Some(ByteBuf::from(vec![1u8; size])));
        compare(
            &format!("echo of {} MiB", size / MIB),
            rounds,
            vec![
                contender("ours, Vec<u8>", || {
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
                }),
                contender("CPython, bytes", || ask(&format!("echo {size}"), 1)),
            ],
        );
    }
    println!("peak memory of the parent: {}", status("VmHWM"));

    let shared = SharedBytes::copy_from(&vec![1; 64 * MIB]).unwrap();
    compare(
        "SharedBytes of 64 MiB handed over",
        rounds,
        vec![
            contender("ours", || {
                time(1000, || {
                    for _ in 0..1000 {
                        let call = pool.submit(|b: SharedBytes| b.len(), shared.clone());
                        call.unwrap().into_result().unwrap();
                    }
                })
            }),
            contender("socket ping-pong (floor)", || {
                time(2000, || (0..2000).for_each(|_| ping_pong.round()))
            }),
        ],
    );

    for gib in [0, 2] {
        let ballast = vec![1u8; gib << 30];
        compare(
            &format!("pool made up to the first result, parent holds {gib} GiB"),
            rounds,
            vec![
                contender("ours", || {
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
                }),
                contender("CPython (its parent is small)", || ask("first", 1)),
            ],
        );
        drop(ballast);
    }

    deaths(rounds, &ask);

    let idle = ProcessPoolExecutor::new(1).unwrap();
    let pid = idle.submit(|()| std::process::id(), ()).unwrap().into_result().unwrap();
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    println!("\nprivate memory of an idle worker:");
    rollup.lines().filter(|line| line.starts_with("Private_")).for_each(|line| println!("{line}"));
}

fn deaths(rounds: usize, ask: &dyn Fn(&str, usize) -> f64) {
    let die = |code: i32| -> u64 { std::process::exit(code) };
    let builder = ProcessPoolExecutor::builder().max_workers(WORKERS);
    let pool = builder.on_worker_death(OnWorkerDeath::FailCall).build().unwrap();
    let procspawn = procspawn::Pool::new(WORKERS).unwrap();
    compare(
        "a call kills its worker: caller told",
        rounds,
        vec![
            contender("ours", || {
                time(1, || {
                    assert!(pool.submit(die, 3).unwrap().into_result().is_err());
                })
            }),
            contender("procspawn", || time(1, || assert!(procspawn.spawn(3, die).join().is_err()))),
            contender("CPython", || ask("death", 1)),
        ],
    );
    compare(
        "a call kills its worker: four good answers afterwards",
        rounds,
        vec![
            contender("ours", || {
                pool.map(increment, 0..4).for_each(|result| keep(result.unwrap()));
                time(1, || {
                    assert!(pool.submit(die, 3).unwrap().into_result().is_err());
                    pool.map(increment, 0..4).for_each(|result| keep(result.unwrap()));
                })
            }),
            contender("procspawn", || {
                time(1, || {
                    assert!(procspawn.spawn(3, die).join().is_err());
                    let calls: Vec<_> = (0..4).map(|n| procspawn.spawn(n, increment)).collect();
                    calls.into_iter().for_each(|call| keep(call.join().unwrap()));
                })
            }),
            contender("bare start of a process", || {
                time(1, || keep(Command::new("/bin/true").status().unwrap()))
            }),
        ],
    );
}

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with(field)).unwrap_or("").to_owned()
}
