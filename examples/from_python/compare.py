#!/usr/bin/env python3
"""Runs each Python program of this folder and its port on the same input, compares what they print.

    python3 examples/from_python/compare.py FOLDER_OF_THE_BUILT_EXAMPLES
"""

import pathlib
import random
import subprocess
import sys
import tempfile
import time

import server

HERE = pathlib.Path(__file__).parent


def write_texts(folder):
    """Two hundred files of words, the same in each run."""
    dice = random.Random(1)
    words = ["".join(dice.choices("abcdefgh", k=dice.randint(2, 9))) for _ in range(5000)]
    for n in range(200):
        text = " ".join(dice.choices(words, k=8000))
        (folder / f"{n:03}.txt").write_text(text.capitalize() + ".\n")


def run(command):
    begin = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"{command} ended with {done.returncode}")
    return done.stdout.splitlines(), seconds


def main():
    built = pathlib.Path(sys.argv[1])
    site = server.start()
    with tempfile.TemporaryDirectory() as texts:
        write_texts(pathlib.Path(texts))
        # Name, arguments, and whether the order of the lines is that in which pages arrive.
        programs = [
            ("load_urls", [site], True),
            ("primes", [], False),
            ("print_times", [], False),
            ("crawler", [site], False),
            ("words", [texts], False),
        ]
        print(f"{'program':<12} {'Python':>9} {'Rust':>9}   lines")
        for name, arguments, any_order in programs:
            theirs, python = run([sys.executable, HERE / f"{name}.py", *arguments])
            ours, rust = run([built / f"from_python_{name}", *arguments])
            if any_order:
                theirs, ours = sorted(theirs), sorted(ours)
            if ours != theirs:
                print("\n".join(["Python:", *theirs, "Rust:", *ours]))
                sys.exit(f"{name}: they print different things")
            print(f"{name:<12} {python:>7.2f} s {rust:>7.2f} s   {len(ours)}, the same")


if __name__ == "__main__":
    main()
