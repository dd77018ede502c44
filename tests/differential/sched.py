# Runs a program of sched.rs from each line of its input and prints its trace.
import json, sched, sys

class Failure(Exception):
    pass

class World:
    def __init__(self, program):
        self.now, self.calls, self.trace, self.events = 0, 0, [], {}
        self.program = program
        self.s = sched.scheduler(self.timefunc, self.delayfunc)

    def timefunc(self):
        self.trace.append("t")
        return self.now

    def delayfunc(self, delay):
        call, self.calls = self.calls, self.calls + 1
        self.trace.append("d%d" % delay)
        if delay > 0:
            self.now += 1 if self.program["hasty"] else delay
        for when, steps in self.program["delays"]:
            if when == call:
                self.perform(steps)

    def action(self, id, body):
        self.trace.append("a%d@%d" % (id, self.now))
        self.perform(body)

    def perform(self, steps):
        for step in steps:
            kind = step["do"]
            if kind in ("enter", "enterabs"):
                enter, id = getattr(self.s, kind), step["id"]
                self.events[id] = enter(
                    step["when"], step["priority"], self.action, (id, step["body"]))
            elif kind == "cancel":
                id = step["id"]
                event = self.events.get(id)
                if event is not None:
                    try:
                        self.s.cancel(event)
                        self.trace.append("c%d" % id)
                    except ValueError:
                        self.trace.append("c%d no" % id)
            elif kind == "work":
                self.now += step["time"]
            elif kind == "fail":
                raise Failure(step["id"])
            elif kind == "run":
                self.s.run()
                self.trace.append("r")
            elif kind == "run_pending":
                self.trace.append("r%s" % self.s.run(blocking=False))
            elif kind == "queue":
                self.trace.append("q%s%s" % (self.s.empty(), [
                    (e.time, e.priority, e.sequence) for e in self.s.queue]))

    def statement(self, step):
        try:
            self.perform([step])
        except Failure as failure:
            self.trace.append("f%d" % failure.args[0])

    def main(self):
        for step in self.program["steps"]:
            self.statement(step)
        while not self.s.empty():
            self.statement({"do": "run"})
        return ";".join(self.trace)

for line in sys.stdin:
    print(World(json.loads(line)).main(), flush=True)
