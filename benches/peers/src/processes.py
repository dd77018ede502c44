"""CPython's ProcessPoolExecutor: reads what to do, does it, prints how many ns it took."""
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def increment(n):
    return n + 1


def echo(data):
    return data


def die(code):
    os._exit(code)


def main():
    pool = ProcessPoolExecutor(2)
    list(pool.map(increment, range(10)))
    for line in sys.stdin:
        what, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        data = b"x" * numbers[0] if what == "echo" else None
        cpu = time.process_time_ns()
        start = time.perf_counter_ns()
        if what == "round":
            for n in range(numbers[0]):
                pool.submit(increment, n).result()
        elif what == "submit":
            for future in [pool.submit(increment, n) for n in range(numbers[0])]:
                future.result()
        elif what == "map":
            for _ in pool.map(increment, range(numbers[0]), chunksize=100):
                pass
        elif what == "echo":
            assert len(pool.submit(echo, data).result()) == numbers[0]
        elif what == "first":
            other = ProcessPoolExecutor(2)
            other.submit(increment, 1).result()
        elif what == "death":
            other = ProcessPoolExecutor(2)
            other.submit(increment, 1).result()
            start = time.perf_counter_ns()
            try:
                other.submit(die, 3).result()
            except Exception:
                pass
        took = time.perf_counter_ns() - start
        cpu = time.process_time_ns() - cpu
        if what == "first":
            other.shutdown()
        print(took, cpu, flush=True)


main()
