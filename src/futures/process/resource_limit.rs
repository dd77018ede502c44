//! [`ResourceLimit`]: limits on what a worker process may use.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::handshake::Limits;
use crate::futures::sys::limits::get;

/// A limit on a resource of a worker process: the setting of
/// [`ProcessPoolBuilder::limit`](crate::futures::process::ProcessPoolBuilder::limit).
///
/// A worker sets it for itself before it takes its first call. If it is above the limit that the
/// program itself has, workers fail to start.
///
/// # Python
///
/// The constants `RLIMIT_*` of the module `resource`.
///
/// # Examples
///
/// ```
/// use concurrent::futures::process::{self, ProcessPoolExecutor, ResourceLimit};
///
/// process::init();
/// fn open_files(up_to: usize) -> usize {
///     let files = (0..up_to).map_while(|_| std::fs::File::open("/dev/null").ok());
///     files.collect::<Vec<_>>().len()
/// }
///
/// let builder = ProcessPoolExecutor::builder().max_workers(1);
/// let pool = builder.limit(ResourceLimit::OpenFiles, 64).build()?;
/// assert!(pool.submit(open_files, 100)?.into_result()? < 64);
/// # Ok::<(), concurrent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResourceLimit {
    /// Bytes of address space (`RLIMIT_AS`).
    AddressSpace,
    /// Bytes of heap and private mappings (`RLIMIT_DATA`).
    Data,
    /// Seconds of processor time in the whole life of one worker (`RLIMIT_CPU`).
    ///
    /// SIGXCPU then ends the worker or, if it handles that, SIGKILL one second later.
    CpuSeconds,
    /// One more than the highest file descriptor (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Bytes of a file that a call writes (`RLIMIT_FSIZE`).
    ///
    /// Writing more ends the worker (SIGXFSZ). Arguments and results may be larger.
    FileSize,
    /// Bytes of a core dump (`RLIMIT_CORE`).
    CoreDump,
}

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
