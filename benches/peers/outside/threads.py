"""CPython's ThreadPoolExecutor at the same work; its argument is the number of workers.

Reads `work calls more` from stdin; answers processor time for each call, then the time for each of
them, all in nanoseconds, or, to memory, bytes for each pending call.
"""

import gc
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

pool = ThreadPoolExecutor(int(sys.argv[1]))


def empty():
    pass


def measured(calls, work):
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    work()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    return cpu / calls, wall / calls


def batch(calls, submitters):
    def share():
        futures = [pool.submit(empty) for _ in range(calls // submitters)]
        for future in futures:
            future.result()

    def all_shares():
        threads = [threading.Thread(target=share) for _ in range(submitters)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return measured(calls, share if submitters == 1 else all_shares)


class Latch:
    def __init__(self, count):
        self.left = count
        self.lock = threading.Lock()
        self.open = threading.Event()

    def count_down(self):
        with self.lock:
            self.left -= 1
            left = self.left
        if not left:
            self.open.set()


def fire(calls, _):
    latch = Latch(calls)

    def work():
        for _ in range(calls):
            pool.submit(latch.count_down)
        latch.open.wait()

    return measured(calls, work)


def trips(trips, pause):
    times = []

    def work():
        for _ in range(trips):
            if pause:
                time.sleep(pause / 1e9)
            start = time.perf_counter_ns()
            pool.submit(empty).result()
            times.append(time.perf_counter_ns() - start)

    cpu, _ = measured(trips, work)
    return (cpu, *times)


def tree(*_):
    depth = 12  # the whole would take half a minute
    leaves = Latch(1 << depth)

    def grow(depth):
        if not depth:
            leaves.count_down()
            return
        pool.submit(grow, depth - 1)
        pool.submit(grow, depth - 1)

    def work():
        pool.submit(grow, depth)
        leaves.open.wait()

    return measured((2 << depth) - 1, work)


def drain(calls, _):
    def work():
        for future in as_completed([pool.submit(empty) for _ in range(calls)]):
            future.result()

    return measured(calls, work)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def memory(calls, _):
    gate = threading.Event()
    with ThreadPoolExecutor(1) as one:
        one.submit(gate.wait)
        before = resident()
        futures = [one.submit(empty) for _ in range(calls)]
        each = (resident() - before) / calls
        gate.set()
        del futures
    return (each,)


gc.disable()  # it would only add to its time
for line in sys.stdin:
    name, calls, more = line.split()
    print(*globals()[name](int(calls), int(more)), flush=True)
    gc.collect()
