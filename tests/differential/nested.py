"""Programs of calls that wait for calls; see nested.rs. The value of the first, or "hang"."""

import json
import os
import sys
from collections import Counter
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from threading import Lock

MODES = {"all": ALL_COMPLETED, "first": FIRST_COMPLETED, "exception": FIRST_EXCEPTION}


class Failure(Exception):
    pass


class World:
    def __init__(self, pools):
        self.workers = pools + [1]
        self.pools = [ThreadPoolExecutor(workers) for workers in self.workers]
        self.over = False
        self.futures = []
        # Under the lock: how many calls of each pool are queued and run, and who waits: for each, what
        # tells whether its wait is over.
        self.lock = Lock()
        self.queued, self.running, self.waits = Counter(), Counter(), {}

    def submit(self, pool, function, *args):
        with self.lock:
            self.queued[pool] += 1

        def call():
            with self.lock:
                self.queued[pool] -= 1
                self.running[pool] += 1
            return function(*args)

        def done(_):
            with self.lock:
                self.running[pool] -= 1

        future = self.pools[pool].submit(call)
        self.futures.append(future)
        future.add_done_callback(done)
        return future

    def wait(self, is_over, wait):
        key = object()
        with self.lock:
            self.waits[key] = is_over
        try:
            return wait()
        finally:
            with self.lock:
                del self.waits[key]

    def hangs(self):
        """Whether nothing can move any more."""
        with self.lock:
            for pool, workers in enumerate(self.workers):
                if self.queued[pool] > 0 and self.running[pool] < workers:
                    return False
            all_wait = len(self.waits) == sum(self.running.values())
            is_over = any(is_over() for is_over in self.waits.values())
            return len(self.waits) > 0 and all_wait and not is_over

    def free(self):
        """Ends what hangs."""
        self.over = True
        for future in list(self.futures):
            future.cancel()
        for pool in self.pools:
            pool.shutdown(wait=False, cancel_futures=True)


def fold(value, number):
    return (value * 31 + number) % 1_000_003


def failed(future):
    return future.done() and not future.cancelled() and future.exception() is not None


def result(world, future, timeout=None):
    try:
        return world.wait(future.done, lambda: future.result(timeout))
    except Failure:
        return 7


def completed(world, some):
    calls, value = as_completed(some), 0
    for seen in range(1, len(set(some)) + 1):
        is_over = lambda: sum(future.done() for future in set(some)) >= seen
        value += result(world, world.wait(is_over, lambda: next(calls)))
    return value


def waited(world, some, mode):
    def is_over():
        done = [future.done() for future in some]
        return (all(done) or mode == "first" and any(done)
                or mode == "exception" and any(map(failed, some)))

    done = world.wait(is_over, lambda: wait(some, return_when=MODES[mode])).done
    return len(done) if mode == "all" else 1


def leaf(fails):
    if fails:
        raise Failure
    return 1


def run(world, own, body, seen):
    value = 1
    leaves = len(world.pools) - 1
    for step in body:
        if world.over:
            raise Failure
        do = step["do"]
        if do == "submit":
            pool = own + step["pool"] % (leaves - own)
            known = [(future, of) for future, of in seen if of >= pool]
            seen.append((world.submit(pool, run, world, pool, step["body"], known), pool))
        elif do == "leaf":
            seen.append((world.submit(leaves, leaf, step["fails"]), leaves))
        elif do == "fail":
            raise Failure
        elif not seen:
            pass
        elif do == "result":
            future, pool = seen[step["of"] % len(seen)]
            timeout = 3600 if step["limited"] and pool == leaves else None
            value = fold(value, result(world, future, timeout))
        else:
            some = [seen[of % len(seen)][0] for of in step["of"]]
            if do == "completed":
                value = fold(value, completed(world, some))
            elif some:
                value = fold(value, waited(world, some, step["mode"]))
    return value


def trace(world, first):
    # Those that nobody waits for have to end, too.
    for future in world.futures:
        while not future.done():
            wait([future], 0.001)
            if world.hangs():
                return "hang"
    return "failed" if failed(first) else "v%d" % first.result()


for line in sys.stdin:
    program = json.loads(line)
    world = World(program["pools"])
    print(trace(world, world.submit(0, run, world, 0, program["body"], [])), flush=True)
    world.free()
sys.stdout.flush()
os._exit(0)
