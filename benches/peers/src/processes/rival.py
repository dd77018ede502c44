"""A pool of Python's: reads what to do, does it, prints how many ns it took, and CPU ns.

The argument says which pool: cpython, loky, or multiprocessing.
"""
import os
import sys
import time

WORKERS = 2


def increment(n):
    return n + 1


def echo(data):
    return data


def die(code):
    os._exit(code)


class Multiprocessing:
    """multiprocessing.Pool with the methods of an executor."""

    def __init__(self, workers):
        import multiprocessing

        self.pool = multiprocessing.Pool(workers)

    def submit(self, function, argument):
        call = self.pool.apply_async(function, (argument,))
        call.result = call.get
        return call

    def map(self, function, items, chunksize=1):
        return self.pool.map(function, items, chunksize)

    def shutdown(self):
        self.pool.terminate()
        self.pool.join()


def kind(name):
    if name == "loky":
        from loky import ProcessPoolExecutor
    elif name == "multiprocessing":
        return Multiprocessing
    else:
        from concurrent.futures import ProcessPoolExecutor
    return ProcessPoolExecutor


def good(pool):
    for n, result in enumerate(pool.map(increment, range(4))):
        assert result == n + 1


def main():
    Pool = kind(sys.argv[1])
    pool = Pool(WORKERS)
    list(pool.map(increment, range(10)))
    print("ready", flush=True)
    for line in sys.stdin:
        what, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        data = b"x" * numbers[0] if what == "echo" else None
        other = None
        if what == "death":
            other = Pool(WORKERS)
            good(other)
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
            other = Pool(WORKERS)
            other.submit(increment, 1).result()
        elif what == "death":
            try:
                other.submit(die, 3).result()
            except Exception:
                pass
        took = time.perf_counter_ns() - start
        cpu = time.process_time_ns() - cpu
        if other is not None:
            other.shutdown()
        print(took, cpu, flush=True)
    pool.shutdown()


main()
