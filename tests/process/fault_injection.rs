//! Makes one worker suffer one fault at a certain step of its life.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Mutex;

use concurrent::futures::ProcessPoolExecutor;
use concurrent::futures::process::{ProcessPoolBuilder, ResourceLimit};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::support::ProcessGate;

/// The variable that says which fault point lies before the handshake.
const BEFORE: &str = "CONCURRENT_TEST_FAULT_POINT";

/// The steps of a worker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    BeforeHandshake,
    Initializing,
    Decoding,
    Running,
    Encoding,
    /// In the middle of a result of 64 MiB.
    HalfWay,
    /// The result is written down, and not sent.
    Sending,
    /// In a thread beside the one that waits for calls, or has them.
    Beside,
    /// At the end of a worker that was told to end.
    Ending,
}

impl Step {
    pub(crate) const ALL: [Self; 9] = [
        Self::BeforeHandshake,
        Self::Initializing,
        Self::Decoding,
        Self::Running,
        Self::Encoding,
        Self::HalfWay,
        Self::Sending,
        Self::Beside,
        Self::Ending,
    ];

    pub(crate) fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|step| format!("{step:?}") == name).expect("a step")
    }

    /// Whether the worker has begun the call then, and not answered.
    pub(crate) fn is_in_call(self) -> bool {
        use Step::{Decoding, Encoding, HalfWay, Running, Sending};
        matches!(self, Decoding | Running | Encoding | HalfWay | Sending)
    }
}

/// The fault that a process brings upon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    Kill,
    Segv,
    Abort,
    Exit,
    Stop,
    /// The same, when it has closed what it has open.
    LeaveAndStop,
    Nothing,
}

impl Fault {
    pub(crate) fn strike(self) {
        match self {
            Self::Kill => kill_process(getpid(), Signal::KILL).unwrap(),
            Self::Segv => {
                // SAFETY: not at all; nothing is mapped there, and the process ends.
                unsafe {
                    std::hint::black_box(std::ptr::without_provenance::<u64>(64)).read_volatile()
                };
            }
            Self::Abort => std::process::abort(),
            Self::Exit => std::process::exit(0),
            Self::Nothing => return,
            Self::Stop => return kill_process(getpid(), Signal::STOP).unwrap(),
            Self::LeaveAndStop => {
                // SAFETY: the process is about to end, and uses none of them again.
                unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
                return kill_process(getpid(), Signal::STOP).unwrap();
            }
        }
        loop {
            std::thread::park(); // until the signal has come
        }
    }
}

/// Lies at one step, and strikes the first process to come there, after that has passed the gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FaultPoint {
    pub(crate) step: Step,
    fault: Fault,
    gate: String,
    /// Is spared.
    owner: u32,
}

impl FaultPoint {
    pub(crate) fn new(step: Step, fault: Fault, gate: String) -> Self {
        Self { step, fault, gate, owner: std::process::id() }
    }

    pub(crate) fn reach(&self, at: Step) {
        let hits = self.step == at && std::process::id() != self.owner;
        if hits && File::create_new(format!("{}/sprung", self.gate)).is_ok() {
            ProcessGate::pass(&self.gate);
            self.fault.strike();
        }
    }

    /// For pools whose workers reach the point.
    pub(crate) fn builder(&self) -> ProcessPoolBuilder {
        let builder =
            ProcessPoolExecutor::builder().max_workers(1).limit(ResourceLimit::CoreDump, 0);
        match self.step {
            Step::BeforeHandshake => {
                let Self { step, fault, gate, owner } = self;
                builder.env(BEFORE, format!("{step:?} {fault:?} {owner} {gate}"))
            }
            Step::Initializing => {
                builder.initializer(|point: Self| point.reach(Step::Initializing), self.clone())
            }
            Step::Ending => builder.max_tasks_per_child(1),
            _ => builder,
        }
    }

    pub(crate) fn order(&self) -> Order {
        Order(Trigger { point: self.clone(), at: Step::Decoding })
    }
}

/// In a worker, before it says so.
pub(crate) fn before_init() {
    let Ok(text) = std::env::var(BEFORE) else { return };
    let [_, fault, owner, gate] = text.splitn(4, ' ').collect::<Vec<_>>()[..] else { return };
    use Fault::{Abort, Exit, Kill, LeaveAndStop, Nothing, Segv, Stop};
    let faults = [Kill, Segv, Abort, Exit, Stop, LeaveAndStop, Nothing];
    let fault = faults.into_iter().find(|known| format!("{known:?}") == fault).unwrap();
    let gate = gate.to_owned();
    let point =
        FaultPoint { step: Step::BeforeHandshake, fault, gate, owner: owner.parse().unwrap() };
    point.reach(Step::BeforeHandshake);
}

/// Notes that a worker got past `init`, and ends it: it must not become a program of its own.
pub(crate) fn after_init() {
    if let Some(gate) =
        std::env::var(BEFORE).ok().as_deref().and_then(|point| point.split(' ').nth(3))
    {
        let _ = File::create(format!("{gate}/escaped"));
        std::process::exit(1);
    }
}

/// Reaches a fault point when it is decoded, encoded or dropped.
#[derive(Debug)]
struct Trigger {
    point: FaultPoint,
    at: Step,
}

impl Serialize for Trigger {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if matches!(self.at, Step::Encoding | Step::HalfWay) {
            self.point.reach(self.at);
        }
        (&self.point, self.at).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trigger {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (point, at) = Deserialize::deserialize(deserializer)?;
        let trigger = Self { point, at };
        if at == Step::Decoding {
            trigger.point.reach(at);
        }
        Ok(trigger)
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        if self.at == Step::Sending {
            self.point.reach(self.at);
        }
    }
}

/// The argument of [`work`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order(Trigger);

/// The result of [`work`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Product {
    encoding: Trigger,
    first: Bytes,
    half_way: Trigger,
    second: Bytes,
    sending: Trigger,
}

impl Product {
    pub(crate) fn len(&self) -> usize {
        self.first.0.len() + self.second.0.len()
    }
}

/// Written in one piece, and not number by number.
#[derive(Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// The bytes of a product: many if the point lies in their middle.
pub(crate) fn size(step: Step) -> usize {
    if step == Step::HalfWay { 64 << 20 } else { 64 }
}

static ENDING: Mutex<Option<FaultPoint>> = Mutex::new(None);

extern "C" fn at_exit() {
    let point = ENDING.lock().unwrap().take();
    if let Some(point) = point {
        if point.fault == Fault::Exit {
            // An end within an end: the rest of it is left out.
            ProcessGate::pass(&point.gate);
            // SAFETY: it ends the process, and nothing else.
            unsafe { libc::_exit(0) };
        }
        point.reach(Step::Ending);
    }
}

/// Comes by all steps of a call.
pub(crate) fn work(order: Order) -> Product {
    let point = order.0.point.clone();
    point.reach(Step::Running);
    match point.step {
        Step::Beside => {
            let point = point.clone();
            std::thread::spawn(move || point.reach(Step::Beside));
        }
        Step::Ending => {
            *ENDING.lock().unwrap() = Some(point.clone());
            // SAFETY: the function takes no arguments and does not unwind.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        }
        _ => {}
    }
    let trigger = |at| Trigger { point: point.clone(), at };
    let half = || Bytes(vec![7; size(point.step) / 2]);
    Product {
        encoding: trigger(Step::Encoding),
        first: half(),
        half_way: trigger(Step::HalfWay),
        second: half(),
        sending: trigger(Step::Sending),
    }
}

/// Whether signals have stopped this process.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// Signals a process, if it is still there.
pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
        return;
    };
    let _ = rustix::process::pidfd_send_signal(process.as_fd(), signal);
}
