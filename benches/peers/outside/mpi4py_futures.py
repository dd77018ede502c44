"""mpi4py.futures at the same work: `mpirun -n 3 python -m mpi4py.futures mpi4py_futures.py`.

Reads `work count` from stdin, answers nanoseconds for each item: trip (the median), calls, map (in
chunks of 1000), echo (bytes, one call at a time: the median), echoes (eight at a time).
"""

import sys
import time
from statistics import median

from mpi4py.futures import MPIPoolExecutor


def increment(n):
    return n + 1


def echo(data):
    return data


def each(count, function, argument):
    times = []
    for _ in range(count):
        start = time.perf_counter_ns()
        pool.submit(function, argument).result()
        times.append(time.perf_counter_ns() - start)
    return median(times)


def trip(count):
    return each(count, increment, 1)


def calls(count):
    start = time.perf_counter_ns()
    futures = [pool.submit(increment, n) for n in range(count)]
    for future in futures:
        future.result()
    return (time.perf_counter_ns() - start) / count


def map(count):
    start = time.perf_counter_ns()
    for _ in pool.map(increment, range(count), chunksize=1000):
        pass
    return (time.perf_counter_ns() - start) / count


def repeats(size):
    return max(8, min(64, (32 << 20) // size))


def echo_one(size):
    return each(repeats(size), echo, b"x" * size)


def echo_many(size):
    data = b"x" * size
    count = repeats(size)
    start = time.perf_counter_ns()
    for _ in range(0, count, 8):
        for future in [pool.submit(echo, data) for _ in range(8)]:
            future.result()
    return (time.perf_counter_ns() - start) / count


works = {"trip": trip, "calls": calls, "map": map, "echo": echo_one, "echoes": echo_many}

if __name__ == "__main__":
    with MPIPoolExecutor() as pool:
        list(pool.map(increment, range(100)))
        print("ready", flush=True)
        for line in sys.stdin:
            name, number = line.split()
            print(works[name](int(number)), flush=True)
