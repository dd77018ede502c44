//! Sets each [`ResourceLimit`] in a worker.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::handshake::Limits;
use super::options::ResourceLimit;
use crate::futures::sys::limits::get;

impl ResourceLimit {
    const ALL: [(Self, Resource, &str); 6] = [
        (Self::AddressSpace, Resource::As, "AddressSpace"),
        (Self::Data, Resource::Data, "Data"),
        (Self::CpuSeconds, Resource::Cpu, "CpuSeconds"),
        (Self::OpenFiles, Resource::Nofile, "OpenFiles"),
        (Self::FileSize, Resource::Fsize, "FileSize"),
        (Self::CoreDump, Resource::Core, "CoreDump"),
    ];
}

/// The last value of each kind, as it is sent to a worker.
pub(crate) fn to_wire(limits: &[(ResourceLimit, u64)]) -> Limits {
    let numbered = (0..).zip(ResourceLimit::ALL);
    let last = |kind| limits.iter().rev().find(|(own, _)| *own == kind).map(|(_, value)| *value);
    numbered.filter_map(|(number, (kind, ..))| Some((number, last(kind)?))).collect()
}

/// In a worker: sets the limits that it was sent.
pub(crate) fn set_all(limits: &Limits) -> io::Result<()> {
    for (number, value) in limits {
        let known = ResourceLimit::ALL.get(usize::from(*number));
        let (kind, resource, name) = known.ok_or(io::ErrorKind::InvalidData)?;
        let refused = |error| {
            io::Error::new(
                io::Error::from(error).kind(),
                format!("ResourceLimit::{name} cannot be set to {value}: {error}"),
            )
        };
        let before = get(*resource).map_err(refused)?.maximum;
        let maximum = match kind {
            // The channel may exceed it for a moment, and SIGXCPU comes before SIGKILL.
            ResourceLimit::FileSize => before,
            ResourceLimit::CpuSeconds => {
                Some(value.saturating_add(1).min(before.unwrap_or(u64::MAX)).max(*value))
            }
            _ => Some(*value),
        };
        setrlimit(*resource, Rlimit { current: Some(*value), maximum }).map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_limit_of_a_kind_counts() {
        use ResourceLimit::{Data, FileSize};
        assert_eq!(to_wire(&[(FileSize, 1), (Data, 2), (FileSize, 3)]), [(1, 2), (4, 3)]);
        assert!(set_all(&vec![(6, 0)]).is_err());
    }
}
