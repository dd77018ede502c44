//! Programs over `sched`.
//!
//! A program enters, cancels, runs and fails, at the top level, in actions and in the delay
//! function. The trace has every call of the time and delay functions, every action with its time,
//! every result and every snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use concurrent::Error;
use concurrent::sched::{Event, Scheduler, VirtualClock};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::BoxedStrategy;
use serde::{Deserialize, Serialize};

use crate::search::{Language, Way, compare};

/// One statement of a program.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Step {
    Enter {
        when: i64,
        priority: i32,
        id: u32,
        body: Vec<Step>,
    },
    EnterAbs {
        when: i64,
        priority: i32,
        id: u32,
        body: Vec<Step>,
    },
    Cancel {
        id: u32,
    },
    /// Takes time, as work does.
    Work {
        time: i64,
    },
    Fail {
        id: u32,
    },
    Run,
    #[serde(rename = "run_pending")]
    RunPending,
    Queue,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Program {
    steps: Vec<Step>,
    /// Which calls of the delay function do what, by number.
    delays: Vec<(u32, Vec<Step>)>,
    /// The delay function returns early.
    hasty: bool,
}

/// Few, so that an event is often spoken of.
const IDS: u32 = 10;

fn step(body: impl Strategy<Value = Vec<Step>> + Clone + 'static) -> BoxedStrategy<Step> {
    let simple = prop_oneof![
        4 => (0..IDS).prop_map(|id| Step::Cancel { id }),
        2 => (0..4_i64).prop_map(|time| Step::Work { time }),
        2 => Just(Step::RunPending),
        1 => Just(Step::Run),
        1 => Just(Step::Queue),
    ];
    let enter = (-1..5_i64, -1..2, 0..IDS, body.clone());
    let enterabs = (-2..13_i64, -1..2, 0..IDS, body);
    prop_oneof![
        10 => simple,
        6 => enter.prop_map(|(when, priority, id, body)| Step::Enter { when, priority, id, body }),
        4 => enterabs
            .prop_map(|(when, priority, id, body)| Step::EnterAbs { when, priority, id, body }),
    ]
    .boxed()
}

/// Statements inside of an action or a delay; each may fail.
fn body(depth: u32, most: usize) -> BoxedStrategy<Vec<Step>> {
    let inner = if depth == 0 { Just(Vec::new()).boxed() } else { body(depth - 1, 3) };
    let failure = prop_oneof![9 => Just(None), 1 => (0..IDS).prop_map(Some)];
    (vec(step(inner), 0..=most), failure)
        .prop_map(|(mut steps, failure)| {
            steps.extend(failure.map(|id| Step::Fail { id }));
            steps
        })
        .boxed()
}

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
    /// The clock in the place of one's own two functions.
    simulated: Option<VirtualClock<i64>>,
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

    fn now(&self) -> i64 {
        self.simulated.as_ref().map_or_else(|| self.with(|state| state.now), VirtualClock::time)
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
        let delays = self.program.delays.iter().filter(|(when, _)| *when == call);
        delays.into_iter().try_for_each(|(_, steps)| self.perform(steps))
    }

    fn action(
        self: &Arc<Self>,
        id: u32,
        body: &[Step],
    ) -> impl FnOnce() -> concurrent::Result<()> + use<> {
        let (world, body) = (Arc::clone(self), body.to_vec());
        move || {
            world.note(format!("a{id}@{}", world.now()));
            world.perform(&body)
        }
    }

    fn perform(self: &Arc<Self>, steps: &[Step]) -> concurrent::Result<()> {
        steps.iter().try_for_each(|step| self.perform_one(step))
    }

    fn perform_one(self: &Arc<Self>, step: &Step) -> concurrent::Result<()> {
        let s = self.scheduler();
        match step {
            Step::Enter { when, priority, id, body } => {
                let event = s.enter(*when, *priority, self.action(*id, body));
                self.with(|state| state.events.insert(*id, event));
            }
            Step::EnterAbs { when, priority, id, body } => {
                let event = s.enterabs(*when, *priority, self.action(*id, body));
                self.with(|state| state.events.insert(*id, event));
            }
            Step::Cancel { id } => {
                let event = self.with(|state| state.events.get(id).copied());
                match event.map(|event| s.cancel(&event)) {
                    Some(Ok(())) => self.note(format!("c{id}")),
                    Some(Err(_)) => self.note(format!("c{id} no")),
                    None => {}
                }
            }
            Step::Work { time } => match &self.simulated {
                Some(clock) => clock.advance(*time),
                None => self.with(|state| state.now += time),
            },
            Step::Fail { id } => return Err(Error::raised(Failure(*id))),
            Step::Run => {
                s.run()?;
                self.note("r".into());
            }
            Step::RunPending => {
                let remaining = s.run_pending()?;
                self.note(remaining.map_or("rNone".into(), |delay| format!("r{delay}")));
            }
            Step::Queue => {
                let entry = |event: &Event<i64>| {
                    format!("({}, {}, {})", event.time(), event.priority(), event.sequence())
                };
                let queue: Vec<_> = s.queue().iter().map(entry).collect();
                let empty = if s.is_empty() { "True" } else { "False" };
                self.note(format!("q{empty}[{}]", queue.join(", ")));
            }
        }
        Ok(())
    }

    fn statement(self: &Arc<Self>, step: &Step) {
        if let Err(error) = self.perform_one(step) {
            let failure = error.downcast_ref::<Failure>().expect("nothing else fails");
            self.note(format!("f{}", failure.0));
        }
    }

    /// Runs the program on a scheduler that `make` makes for this world.
    fn main(
        program: &Program,
        simulated: Option<VirtualClock<i64>>,
        make: impl FnOnce(&Arc<Self>) -> Scheduler<i64>,
    ) -> Vec<String> {
        let (program, state) = (program.clone(), Mutex::default());
        let world = Arc::new(Self { program, state, simulated, scheduler: OnceLock::new() });
        assert!(world.scheduler.set(make(&world)).is_ok());
        for step in &world.program.steps {
            world.statement(step);
        }
        while !world.scheduler().is_empty() {
            world.statement(&Step::Run);
        }
        world.with(|state| std::mem::take(&mut state.trace))
    }
}

struct Sched;

impl Language for Sched {
    type Program = Program;
    const NAME: &'static str = "sched";
    const PYTHON: &'static str = include_str!("sched.py");
    const KINDS: &'static [&'static str] =
        &["t", "d0", "d2", "a", "c", "r", "rNone", "r2", "f", "qTrue[]", "qFalse[("];

    fn programs() -> BoxedStrategy<Program> {
        let steps = vec(step(body(2, 3)), 0..=16);
        let delays = vec((0..20_u32, body(1, 3)), 0..4);
        (steps, delays, any::<bool>())
            .prop_map(|(steps, delays, hasty)| Program { steps, delays, hasty })
            .boxed()
    }

    fn run(program: &Program) -> Vec<Way> {
        let functions = |world: &Arc<World>| {
            let (time, delay) = (Arc::downgrade(world), Arc::downgrade(world));
            let timefunc = move || time.upgrade().expect("the world goes on").timefunc();
            let delayfunc = move |by| delay.upgrade().expect("the world goes on").delayfunc(by);
            (timefunc, delayfunc)
        };
        let plain = World::main(program, None, |world| {
            let (time, delay) = functions(world);
            Scheduler::with_clock(time, delay)
        });
        let bounded = World::main(program, None, |world| {
            let (time, delay) = functions(world);
            Scheduler::builder().clock(time, delay).bounded_latency().build()
        });
        let all = |_: &str| true;
        let mut ways = vec![
            Way { name: "two functions", trace: plain, has: all },
            Way { name: "bounded latency", trace: bounded, has: all },
        ];
        // Nobody sees such a clock being asked or waited for, and nothing can happen meanwhile.
        if program.delays.is_empty() && !program.hasty {
            let clock = VirtualClock::starting_at(0);
            let trace = World::main(program, Some(clock.clone()), |_| {
                Scheduler::with_virtual_clock(&clock)
            });
            let has = |entry: &str| !entry.starts_with(['t', 'd']);
            ways.push(Way { name: "virtual clock", trace, has });
        }
        ways
    }
}

// S4, S5, S6, S7, S8, S10, S11, S16, S18, S21, S26, S27, S28, S29, S30, S31, S32, S33, S34, S35, S36,
// S38, S42, S43 against the original.
#[test]
fn random_programs_leave_the_same_trace_as_in_python() {
    compare::<Sched>();
}
