# Runs a program of futures.rs from each line of its input and prints its trace.
#
# Where the crate departs from Python on purpose, Python is changed here, under the name that the
# departure has in the README; everything else is CPython's.
import json, logging, sys, threading
from concurrent.futures import (
    ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, Executor, Future,
    InvalidStateError, TimeoutError, as_completed, wait)

logging.disable(logging.CRITICAL)
MODES = {"all": ALL_COMPLETED, "first": FIRST_COMPLETED, "exception": FIRST_EXCEPTION}

class Failure(Exception):
    pass

# Departure: a cancelled future is done at once for everybody.
class Call(Future):
    def _invoke_callbacks(self):
        if self.cancelled():
            super().set_running_or_notify_cancel()
        super()._invoke_callbacks()

    def set_running_or_notify_cancel(self):
        return not self.cancelled() and super().set_running_or_notify_cancel()

def call(label):
    future = Call()
    future.label = label
    return future

class Stepped(Executor):
    def __init__(self, world):
        self.world, self.queue, self.closed = world, [], False

    def submit(self, fn, argument):
        if self.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = call(argument[0])
        self.queue.append((future, fn, argument))
        self.world.jobs[argument[0]] = future
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.closed = True
        if cancel_futures:
            for future, _, _ in list(self.queue):
                # Those of a map belong to it alone.
                if future.label in self.world.shared:
                    self.world.note("x%s" % future.cancel())
                    self.world.settle()

    def step(self):
        future, fn, argument = self.queue.pop(0)
        if not future.set_running_or_notify_cancel():
            self.world.note("skip%d" % argument[0])
            return
        self.world.note("run%d" % argument[0])
        try:
            result = fn(argument)
        except Failure as failure:
            future.set_exception(failure)
        else:
            future.set_result(result)
        self.world.settle()

def labels(futures):
    return "[%s]" % ",".join(str(n) for n in sorted(future.label for future in futures))

def outcome(ask):
    try:
        value = ask()
    except CancelledError:
        return "cancelled"
    except TimeoutError:
        return "timeout"
    except Failure as failure:
        return "failed%d" % failure.args[0]
    return "failed%d" % value.args[0] if isinstance(value, Failure) else str(value)

class Watcher:
    """A thread that waits, and what it waits for."""
    def __init__(self, ask, holds):
        self.holds, self.entry = holds, None
        def run():
            self.entry = ask()
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def join(self):
        self.thread.join(60)
        return self.entry or "hangs"

class World:
    def __init__(self, program):
        self.program, self.trace = program, []
        self.executor, self.next_label = Stepped(self), 0
        self.futures, self.promises, self.jobs = {}, {}, {}
        self.shared, self.made = set(), []
        self.watchers, self.iterators, self.maps = [], {}, {}

    def note(self, entry):
        self.trace.append(entry)

    def label(self):
        self.next_label += 1
        return self.next_label

    def settle(self):
        """Takes leave of the threads that have what they wait for, before anything else is done."""
        for watcher in [w for w in self.watchers if w.holds()]:
            self.watchers.remove(watcher)
            self.note(watcher.join())

    def run(self, argument):
        label, body = argument
        self.perform(body)
        return label

    def some(self, ids):
        return [self.futures[id] for id in ids if id in self.futures]

    def perform(self, steps):
        for step in steps:
            getattr(self, step["do"])(**{k: v for k, v in step.items() if k != "do"})
            self.settle()

    def submit(self, id, body):
        label = self.label()
        try:
            self.futures[id] = self.executor.submit(self.run, (label, body))
            self.shared.add(label)
            self.promises.pop(id, None)
        except RuntimeError:
            self.note("refused")

    def promise(self, id):
        self.futures[id] = self.promises[id] = call(self.label())
        self.made.append(self.promises[id])

    def start(self, id):
        if id in self.promises:
            try:
                self.note("s%s" % self.promises[id].set_running_or_notify_cancel())
            except (RuntimeError, InvalidStateError):
                self.note("sinvalid")

    def set(self, id, failed):
        if id in self.promises:
            self.complete(self.promises[id], failed)

    def complete(self, promise, failed):
        try:
            if failed:
                promise.set_exception(Failure(promise.label))
            else:
                promise.set_result(promise.label)
            self.note("p")
        except InvalidStateError:
            self.note("pinvalid")

    def cancel(self, id):
        for future in self.some([id]):
            self.note("c%s" % future.cancel())

    def look(self, id):
        for future in self.some([id]):
            flags = future.cancelled(), future.running(), future.done()
            self.note("l%d%d%d" % flags)
            self.note("o" + outcome(lambda: future.result(timeout=0)))
            self.note("e" + outcome(lambda: future.exception(timeout=0)))

    def callback(self, id, tag, body):
        def run(future):
            self.settle()
            self.note("b%d:%d" % (tag, future.label))
            self.perform(body)
        for future in self.some([id]):
            future.add_done_callback(run)
            self.note("B")

    def wait(self, ids, mode):
        done, not_done = wait(self.some(ids), 0, MODES[mode])
        self.note("w%s%s" % (labels(done), labels(not_done)))

    def block(self, ids, mode):
        futures = self.some(ids)
        def holds():
            done = [f for f in futures if f.done()]
            failed = any(not f.cancelled() and f.exception() is not None for f in done)
            return (len(done) == len(futures) or mode == "first" and len(done) > 0
                    or mode == "exception" and failed)
        def ask():
            done, not_done = wait(futures, None, MODES[mode])
            return "W%s%s" % (labels(done), labels(not_done))
        self.watchers.append(Watcher(ask, holds))

    def await_(self, id):
        for future in self.some([id]):
            ask = lambda: "R" + outcome(future.result)
            self.watchers.append(Watcher(ask, future.done))

    def open(self, key, ids):
        futures = self.some(ids)
        # Departure: as_completed begins at its call, so that it is taken to its first element here,
        # which must not block.
        begun = call(0)
        begun.set_result(0)
        iterator = as_completed(futures + [begun])
        ready = [f for f in set(futures) if f.done()]
        taken = [next(iterator) for _ in range(len(ready) + 1)]
        self.note("O" + labels(taken))
        self.iterators[key] = [iterator, futures, len(ready)]

    def pull(self, key):
        if key in self.iterators:
            entry = self.iterators[key]
            iterator, futures, taken = entry
            if taken == len(set(futures)):
                self.note("i%s" % next(iterator, "end"))
            elif taken < sum(f.done() for f in set(futures)):
                entry[2] += 1
                self.note("i%d" % next(iterator).label)

    def map(self, key, bodies, late):
        items = [(self.label(), body) for body in bodies]
        if key in self.maps:
            self.unmap(key)
        try:
            results = self.executor.map(self.run, items, timeout=0 if late else None)
            self.maps[key] = results, [label for label, _ in items], late
        except RuntimeError:
            self.note("refused")

    def next(self, key):
        if key not in self.maps:
            return
        results, left, late = self.maps[key]
        while not late and left and not self.jobs[left[0]].done():
            if not self.executor.queue:
                return self.note("busy")
            self.executor.step()
            # What was done meanwhile may have ended it.
            if self.maps.get(key, [None])[0] is not results:
                return
        if not left:
            self.note("m%s" % next(results, "end"))
            return
        label = left.pop(0)
        result = outcome(lambda: next(results))
        self.note("m" + result)
        # Departure: map goes on after an error. It is given up here on both sides.
        if result != str(label):
            del self.maps[key]

    def unmap(self, key):
        if key in self.maps:
            results, left, _ = self.maps.pop(key)
            results.close()
            # Departure: a map that is dropped cancels its calls even if it was never advanced.
            for label in left:
                self.jobs[label].cancel()

    def advance(self):
        if self.executor.queue:
            self.executor.step()

    def shutdown(self, cancel):
        self.executor.shutdown(cancel_futures=cancel)

    def fail(self, n):
        raise Failure(n)

    def main(self):
        for step in self.program:
            try:
                self.perform([step])
            except Failure as failure:
                self.note("f%d" % failure.args[0])
        # To the end of everything, so that no thread is left waiting.
        while self.executor.queue or self.made:
            if self.executor.queue:
                self.executor.step()
            else:
                self.complete(self.made.pop(0), False)
            self.settle()
        self.note("left%d" % len(self.watchers))
        return ";".join(self.trace)

for line in sys.stdin:
    print(World(json.loads(line)).main(), flush=True)
