//! Random programs, run here and by the real Python, must leave the same trace.
//!
//! A program enters, cancels, runs and fails, at the top level, in actions and in the delay
//! function. The trace has every call of the time and delay functions, every action with its time,
//! every result and every snapshot.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use concurrent::Error;
use concurrent::sched::{Event, Scheduler};

const PROGRAMS: u64 = 400;

/// One statement of a program.
#[derive(Clone, Debug)]
enum Step {
    Enter {
        delay: i64,
        priority: i32,
        id: u32,
        body: Arc<[Step]>,
    },
    EnterAbs {
        time: i64,
        priority: i32,
        id: u32,
        body: Arc<[Step]>,
    },
    Cancel(u32),
    /// Takes time, as work does.
    Work(i64),
    Fail(u32),
    Run,
    RunPending,
    Queue,
}

#[derive(Debug)]
struct Program {
    steps: Arc<[Step]>,
    /// Which calls of the delay function do what, by number.
    delays: HashMap<u32, Arc<[Step]>>,
    /// The delay function returns early.
    hasty: bool,
}

/// A small generator: equal numbers are wanted often, quality is not.
struct Random {
    state: u64,
    next_id: u32,
}

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
        (self.state >> 33) % n
    }

    fn small(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).unsigned_abs()) as i64
    }

    fn steps(&mut self, depth: u32, most: u64) -> Arc<[Step]> {
        (0..self.below(most + 1)).map(|_| self.step(depth)).collect()
    }

    fn step(&mut self, depth: u32) -> Step {
        let nested = depth > 0;
        match self.below(if nested { 24 } else { 20 }) {
            kind @ 0..=9 => {
                let id = self.next_id;
                self.next_id += 1;
                let priority = self.small(-1, 1) as i32;
                let body = if depth < 3 { self.steps(depth + 1, 3) } else { Arc::default() };
                if kind < 6 {
                    Step::Enter { delay: self.small(-1, 4), priority, id, body }
                } else {
                    Step::EnterAbs { time: self.small(-2, 12), priority, id, body }
                }
            }
            10..=13 => Step::Cancel(self.below(u64::from(self.next_id) + 2) as u32),
            14 | 15 => Step::Work(self.small(0, 3)),
            16 => Step::Queue,
            17 | 18 => Step::RunPending,
            19 => Step::Run,
            _ if self.below(3) == 0 => Step::Fail(self.next_id),
            _ => Step::Work(1),
        }
    }

    fn program(&mut self) -> Program {
        let steps = self.steps(0, 16);
        let delays =
            (0..self.below(4)).map(|_| (self.below(20) as u32, self.steps(2, 3))).collect();
        Program { steps, delays, hasty: self.below(3) == 0 }
    }
}

/// As JSON.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enter { delay, priority, id, body } => {
                write!(f, r#"["enter", {delay}, {priority}, {id}, {}]"#, Json(body))
            }
            Self::EnterAbs { time, priority, id, body } => {
                write!(f, r#"["enterabs", {time}, {priority}, {id}, {}]"#, Json(body))
            }
            Self::Cancel(id) => write!(f, r#"["cancel", {id}]"#),
            Self::Work(time) => write!(f, r#"["work", {time}]"#),
            Self::Fail(id) => write!(f, r#"["fail", {id}]"#),
            Self::Run => f.write_str(r#"["run"]"#),
            Self::RunPending => f.write_str(r#"["run_pending"]"#),
            Self::Queue => f.write_str(r#"["queue"]"#),
        }
    }
}

struct Json<'a>(&'a [Step]);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", steps.join(", "))
    }
}

impl Program {
    fn json(&self) -> String {
        let delays: Vec<_> = self
            .delays
            .iter()
            .map(|(call, steps)| format!(r#""{call}": {}"#, Json(steps)))
            .collect();
        let (steps, hasty) = (Json(&self.steps), self.hasty);
        format!(r#"{{"steps": {steps}, "delays": {{{}}}, "hasty": {hasty}}}"#, delays.join(", "))
    }
}

const PYTHON: &str = r#"
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
        call, self.calls = str(self.calls), self.calls + 1
        self.trace.append("d%d" % delay)
        if delay > 0:
            self.now += 1 if self.program["hasty"] else delay
        self.perform(self.program["delays"].get(call, []))

    def action(self, id, body):
        self.trace.append("a%d@%d" % (id, self.now))
        self.perform(body)

    def perform(self, steps):
        for kind, *args in steps:
            if kind == "enter":
                delay, priority, id, body = args
                self.events[id] = self.s.enter(delay, priority, self.action, (id, body))
            elif kind == "enterabs":
                time, priority, id, body = args
                self.events[id] = self.s.enterabs(time, priority, self.action, (id, body))
            elif kind == "cancel":
                event = self.events.get(args[0])
                if event is not None:
                    try:
                        self.s.cancel(event)
                        self.trace.append("c%d" % args[0])
                    except ValueError:
                        self.trace.append("c%d no" % args[0])
            elif kind == "work":
                self.now += args[0]
            elif kind == "fail":
                raise Failure(args[0])
            elif kind == "run":
                self.s.run()
                self.trace.append("r")
            elif kind == "run_pending":
                self.trace.append("r%s" % self.s.run(blocking=False))
            elif kind == "queue":
                self.trace.append("q%s%s" % (self.s.empty(), [
                    (e.time, e.priority, e.sequence) for e in self.s.queue]))

    def main(self):
        steps = self.program["steps"]
        for step in steps + [["run"]] * 50:
            try:
                self.perform([step])
            except Failure as failure:
                self.trace.append("f%d" % failure.args[0])
        return ";".join(self.trace)

if sys.version_info < (3, 10):
    sys.exit(77)
for line in sys.stdin:
    print(World(json.loads(line)).main())
"#;

#[derive(Debug, thiserror::Error)]
#[error("failure {0}")]
struct Failure(u32);

#[derive(Default)]
struct State {
    now: i64,
    calls: u32,
    trace: Vec<String>,
    events: HashMap<u32, Event<i64>>,
}

struct World {
    program: Program,
    state: Mutex<State>,
    scheduler: OnceLock<Scheduler<i64>>,
}

impl World {
    fn with<R>(&self, access: impl FnOnce(&mut State) -> R) -> R {
        access(&mut self.state.lock().expect("nothing panics with it"))
    }

    fn note(&self, entry: String) {
        self.with(|state| state.trace.push(entry));
    }

    fn scheduler(&self) -> &Scheduler<i64> {
        self.scheduler.get().expect("set before anything runs")
    }

    fn timefunc(&self) -> i64 {
        self.note("t".into());
        self.with(|state| state.now)
    }

    fn delayfunc(self: &Arc<Self>, delay: i64) -> concurrent::Result<()> {
        self.note(format!("d{delay}"));
        let call = self.with(|state| {
            if delay > 0 {
                state.now += if self.program.hasty { 1 } else { delay };
            }
            state.calls += 1;
            state.calls - 1
        });
        self.program.delays.get(&call).map_or(Ok(()), |steps| self.perform(steps))
    }

    fn action(
        self: &Arc<Self>,
        id: u32,
        body: Arc<[Step]>,
    ) -> impl FnOnce() -> concurrent::Result<()> + use<> {
        let world = Arc::clone(self);
        move || {
            let now = world.with(|state| state.now);
            world.note(format!("a{id}@{now}"));
            world.perform(&body)
        }
    }

    fn perform(self: &Arc<Self>, steps: &[Step]) -> concurrent::Result<()> {
        let s = self.scheduler();
        for step in steps {
            match step {
                Step::Enter { delay, priority, id, body } => {
                    let event = s.enter(*delay, *priority, self.action(*id, body.clone()));
                    self.with(|state| state.events.insert(*id, event));
                }
                Step::EnterAbs { time, priority, id, body } => {
                    let event = s.enterabs(*time, *priority, self.action(*id, body.clone()));
                    self.with(|state| state.events.insert(*id, event));
                }
                Step::Cancel(id) => {
                    let event = self.with(|state| state.events.get(id).copied());
                    match event.map(|event| s.cancel(&event)) {
                        Some(Ok(())) => self.note(format!("c{id}")),
                        Some(Err(_)) => self.note(format!("c{id} no")),
                        None => {}
                    }
                }
                Step::Work(time) => self.with(|state| state.now += time),
                Step::Fail(id) => return Err(Error::raised(Failure(*id))),
                Step::Run => {
                    s.run()?;
                    self.note("r".into());
                }
                Step::RunPending => {
                    let remaining = s.run_pending()?;
                    self.note(remaining.map_or("rNone".into(), |delay| format!("r{delay}")));
                }
                Step::Queue => {
                    let mut entry = String::from(if s.is_empty() { "qTrue[" } else { "qFalse[" });
                    for (n, event) in s.queue().iter().enumerate() {
                        let comma = if n > 0 { ", " } else { "" };
                        let (time, priority) = (event.time(), event.priority());
                        let _ = write!(entry, "{comma}({time}, {priority}, {})", event.sequence());
                    }
                    self.note(entry + "]");
                }
            }
        }
        Ok(())
    }

    fn main(program: Program) -> String {
        let world = Arc::new(Self { program, state: Mutex::default(), scheduler: OnceLock::new() });
        let (time, delay) = (Arc::downgrade(&world), Arc::downgrade(&world));
        let s = Scheduler::with_clock(
            move || time.upgrade().expect("the world goes on").timefunc(),
            move |by| delay.upgrade().expect("the world goes on").delayfunc(by),
        );
        assert!(world.scheduler.set(s).is_ok());
        let ends = std::iter::repeat_n(&Step::Run, 50);
        for step in world.program.steps.iter().chain(ends) {
            if let Err(error) = world.perform(std::slice::from_ref(step)) {
                let failure = error.downcast_ref::<Failure>().expect("nothing else fails");
                world.note(format!("f{}", failure.0));
            }
        }
        world.with(|state| state.trace.join(";"))
    }
}

/// The traces of the programs in Python; `None` if there is no Python that could tell.
fn in_python(programs: &[Program]) -> Option<Vec<String>> {
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = python.stdin.take().expect("it is piped");
    let input: String = programs.iter().map(|program| program.json() + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = python.wait_with_output().expect("it was started");
    if output.status.code() == Some(77) {
        return None;
    }
    writer.join().expect("writing does not panic").expect("Python reads everything");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).expect("the trace is text");
    Some(text.lines().map(str::to_owned).collect())
}

// S4, S5, S6, S7, S8, S10, S11, S16, S18, S21, S26, S27, S28, S29, S30, S31, S32, S33, S34, S35, S36,
// S38, S42, S43 against the original.
#[test]
fn random_programs_leave_the_same_trace_as_in_python() {
    let mut random = Random { state: 20, next_id: 0 };
    let programs: Vec<_> = (0..PROGRAMS)
        .map(|_| {
            random.next_id = 0;
            random.program()
        })
        .collect();
    let Some(expected) = in_python(&programs) else {
        println!("SKIPPED: no python3 of version 3.10 or newer to compare with");
        return;
    };
    assert_eq!(expected.len(), programs.len());
    // A comparison of traces in which nothing happens proves nothing.
    for kind in ["t", "d0", "d2", "a", "c", "r", "rNone", "r2", "f", "qTrue[]", "qFalse[("] {
        let has_kind = |trace: &&String| trace.split(';').any(|entry| entry.starts_with(kind));
        assert!(expected.iter().filter(has_kind).count() >= 20, "too few programs with {kind}");
    }
    for (program, expected) in programs.into_iter().zip(expected) {
        let source = program.json();
        assert_eq!(World::main(program), expected, "{source}");
    }
}
