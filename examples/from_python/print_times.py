"""The example of sched in Python's documentation, with shorter delays and a coarser clock."""

import sched
import time

TICK = 0.2  # seconds; the documentation has 5
start = time.time()
s = sched.scheduler(time.time, time.sleep)


def tick():
    return int((time.time() - start) / TICK)


def print_time(a="default"):
    print("From print_time", tick(), a)


def print_some_times():
    print(tick())
    s.enter(2 * TICK, 1, print_time)
    s.enter(TICK, 2, print_time, argument=("positional",))
    # despite having higher priority, 'keyword' runs after 'positional' as enter() is relative
    s.enter(TICK, 1, print_time, kwargs={"a": "keyword"})
    s.enterabs(1_650_000_000, 10, print_time, argument=("first enterabs",))
    s.enterabs(1_650_000_000, 5, print_time, argument=("second enterabs",))
    s.run()
    print(tick())


print_some_times()
