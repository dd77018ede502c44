#!/usr/bin/env python3
"""What a pool of threads costs to build, here and with others: `python3 benches/size.py > docs/size.csv`.

Each contender is a program that runs one call on a pool. It is built from nothing, optimised and stripped,
several times in turn. The figures are the packages that are compiled, the least processor time that a build
took, and the size of the program. `docs/speed.py` makes the table of them.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
OURS = f'concurrent-py = {{ path = "{ROOT}", default-features = false, features = [%s] }}'
POOL = """
fn main() {
    let pool = concurrent::futures::ThreadPoolExecutor::new(2).unwrap();
    println!("{}", pool.spawn(|| 42).unwrap().into_result().unwrap());
}
"""
CONTENDERS = {
    "this crate, threads and `sched` alone": (OURS % "", POOL),
    "... with `deep-stacks`": (OURS % '"deep-stacks"', POOL),
    "this crate, default features": (OURS % '"process"', POOL),
    "rayon": ('rayon = "1"', """
fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    println!("{}", pool.install(|| 42));
}
"""),
    "threadpool": ('threadpool = "1"', """
fn main() {
    let pool = threadpool::ThreadPool::new(2);
    let (tell, told) = std::sync::mpsc::channel();
    pool.execute(move || tell.send(42).unwrap());
    println!("{}", told.recv().unwrap());
}
"""),
    "tokio, `rt-multi-thread`": ('tokio = { version = "1", features = ["rt-multi-thread"] }', """
fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    println!("{}", runtime.block_on(async { tokio::task::spawn_blocking(|| 42).await.unwrap() }));
}
"""),
    "no dependency": ("", 'fn main() {\n    println!("{}", std::thread::spawn(|| 42).join().unwrap());\n}\n'),
}


def cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(crate, *command):
    return subprocess.run(command, cwd=crate, check=True, capture_output=True, text=True).stdout


def prepare(folder, dependency, source):
    """A crate; its packages are downloaded. Returns how many are compiled beside the program."""
    (folder / "src").mkdir(parents=True)
    (folder / "src/main.rs").write_text(source)
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "size"\nversion = "0.1.0"\nedition = "2024"\n[dependencies]\n{dependency}\n'
        "[profile.release]\nstrip = true\n[workspace]\n"
    )
    run(folder, "cargo", "fetch", "--quiet")
    listed = run(folder, "cargo", "tree", "--edges", "normal,build", "--prefix", "none", "--no-dedupe")
    return len({line.split(" (")[0] for line in listed.splitlines()} - {"size v0.1.0"})


def build(folder, target):
    """A build from nothing: its processor time, and the size of the program."""
    before = cpu()
    with tempfile.TemporaryDirectory(dir=target) as built:
        environment = {**os.environ, "CARGO_TARGET_DIR": built, "CARGO_INCREMENTAL": "0"}
        command = ["cargo", "build", "--release", "--offline", "--quiet"]
        subprocess.run(command, cwd=folder, check=True, env=environment)
        took = cpu() - before
        program = Path(built) / "release/size"
        assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "42\n"
        return took, program.stat().st_size


def main():
    model = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    print(f"# {os.cpu_count()} processors ({model}), Linux {os.uname().release}")
    print(f"# {run(ROOT, 'rustc', '--version').strip()}")
    with tempfile.TemporaryDirectory() as work:
        packages = {
            name: prepare(Path(work) / str(number), *contender)
            for number, (name, contender) in enumerate(CONTENDERS.items())
        }
        seconds, sizes = dict.fromkeys(CONTENDERS, float("inf")), {}
        for _ in range(ROUNDS):
            for number, name in enumerate(CONTENDERS):
                took, sizes[name] = build(Path(work) / str(number), work)
                seconds[name] = min(seconds[name], took)
    print("name,packages,seconds,bytes")
    for name in CONTENDERS:
        print(f'"{name}",{packages[name]},{seconds[name]:.2f},{sizes[name]}')


main()
