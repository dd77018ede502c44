"""CPython's sched at the same work. Reads `work count` from stdin, answers `wall cpu` or figures.

bulk, hold, cancel: nanoseconds, wall and processor time, for each item; memory: bytes for each
event; lateness: processor time for each event, then microseconds late, one by one; earlier:
microseconds late.
"""

import gc
import random
import sched
import sys
import threading
import time

SPAN = 1 << 24
ran = 0


def action(one, zero):
    global ran
    ran += one + zero


class Clock:
    def __init__(self):
        self.now = 0
        self.scheduler = sched.scheduler(lambda: self.now, self.advance)

    def advance(self, delay):
        self.now += delay


def measured(items, work):
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    work()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    return wall / items, cpu / items


def bulk(count):
    times = [random.randrange(SPAN) for _ in range(count)]
    s = Clock().scheduler

    def work():
        for moment in times:
            s.enterabs(moment, 1, action, (1, 0))
        s.run()

    return measured(count, work)


class Enough(Exception):
    pass


def hold(pending):
    operations, left = 50_000, 5_000  # the first few to warm up
    s = Clock().scheduler

    def again(one, zero):
        nonlocal left
        left -= 1
        action(one, zero)
        s.enter(random.randrange(SPAN), 1, again, (one, zero))
        if not left:
            raise Enough

    for _ in range(pending):
        s.enterabs(random.randrange(SPAN), 1, again, (1, 0))

    def work():
        try:
            s.run()
        except Enough:
            pass

    work()
    left = operations
    return measured(operations, work)


def cancel(count):
    s = Clock().scheduler
    events = [s.enterabs(random.randrange(SPAN), 1, action, (1, 0)) for _ in range(count)]
    # Each takes milliseconds where there are many; half of them would take an hour.
    few = random.sample(events, min(count // 2, max(2, 1_000_000 // count)))

    def work():
        for event in few:
            s.cancel(event)

    return measured(len(few), work)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def memory(count):
    s = Clock().scheduler
    before = resident()
    for _ in range(count):
        s.enterabs(random.randrange(SPAN), 1, action, (1, 0))
    return ((resident() - before) / count,)


def lateness(count):
    late = []
    s = sched.scheduler()

    def look(due):
        late.append((time.monotonic() - due) * 1e6)

    start = time.monotonic() + 0.005
    for number in range(count):
        due = start + number / 1000
        s.enterabs(due, 1, look, (due,))
    _, cpu = measured(count, s.run)
    return (cpu / 1e3, *late)


def earlier(_):
    late = []
    s = sched.scheduler()
    s.enter(1, 1, lambda: None)
    runner = threading.Thread(target=s.run)
    runner.start()
    time.sleep(0.005)
    due = time.monotonic() + 0.02
    s.enterabs(due, 1, lambda: late.append((time.monotonic() - due) * 1e6))
    runner.join()
    return late


random.seed(20)
gc.disable()  # it would only add to its time
for line in sys.stdin:
    name, number = line.split()
    print(*globals()[name](int(number)), flush=True)
    if int(number) >= 100_000:
        gc.collect()
