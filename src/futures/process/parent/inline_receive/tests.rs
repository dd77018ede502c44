//! A thread that receives its own answer, and a supervisor that has gone on meanwhile.

use std::cell::RefCell;
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use crate::futures::process::fuzzing::parent::Parent;
use crate::futures::process::parent::deferred::Steps;
use crate::futures::process::parent::spawn::Ended;
use crate::futures::remote::protocol::FrameKind;
use crate::futures::remote::submit::send;

thread_local! {
    /// Called while this thread decodes a result.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

#[derive(Serialize)]
struct Late;

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer)?;
        if let Some(meanwhile) = MEANWHILE.take() {
            meanwhile();
        }
        Ok(Self)
    }
}

/// How long anything may take here.
const LATE: Duration = Duration::from_secs(20);

#[test]
fn what_a_late_reply_sets_off_is_not_left_to_a_supervisor_that_has_gone_on() {
    let mut parent = Parent::new(0).unwrap();
    parent.send_hello();
    let (worker, incoming) = (parent.worker.clone(), Arc::clone(&parent.incoming));
    let pool = Arc::clone(&worker.pool);
    let call = send(&pool, Location::caller(), |()| Late, ()).unwrap();
    {
        let state = &mut pool.state.lock().handles[0].worker;
        state.answered(1_000_000, Instant::now()); // so that calls are known to be brief
        assert!(state.brief().is_some(), "the thread that waits receives its answer");
    }
    parent.say(FrameKind::Done, 1, &[]);
    MEANWHILE.set(Some(Box::new(move || {
        let mut steps = Steps::new();
        let (start_error, _) = incoming.close(&mut steps);
        let (deferred, ..) = worker.ended(Ended::default(), start_error, None);
        steps.extend(deferred.into_steps());
        for step in steps {
            step.run();
        }
    })));
    let (tells, told) = channel();
    call.add_done_callback(move |_| tells.send(()).unwrap());
    assert!(call.result_timeout(LATE).is_ok());
    assert!(MEANWHILE.take().is_none(), "this thread has decoded the result");
    assert_eq!(told.recv_timeout(LATE), Ok(()), "nobody tells those who wait");
}
