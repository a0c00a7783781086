//! What a tracer has in the kernel: eBPF programs, links and maps.

use std::{collections::BTreeSet, fs, io, time::Instant};

use anyhow::{Result, ensure};
use aya::{
    maps::MapError,
    programs::{ProgramError, links::LinkError},
    sys::SyscallError,
};

use crate::{program::pause, seconds};

/// Ids of kernel objects; the kernel gives none twice.
#[derive(Debug, Default)]
pub struct KernelObjects {
    /// eBPF programs.
    pub programs: BTreeSet<u32>,
    /// Links of programs to what they are attached to; probes of `uprobe_multi` among them.
    pub links: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
}

impl KernelObjects {
    /// What a process holds by file descriptor, directly or by link.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: u32) -> Result<Self> {
        let mut held = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let info = fs::read_to_string(entry?.path()).unwrap_or_default();
            for line in info.lines() {
                let (ids, id) = match line.split_once(':') {
                    Some(("prog_id", id)) => (&mut held.programs, id),
                    Some(("link_id", id)) => (&mut held.links, id),
                    Some(("map_id", id)) => (&mut held.maps, id),
                    _ => continue,
                };
                ids.insert(id.trim().parse()?);
            }
        }
        Ok(held)
    }

    /// Everything in this kernel.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn all() -> Result<Self> {
        let mut all = Self::default();
        for program in aya::programs::loaded_programs() {
            match program {
                Ok(program) => drop(all.programs.insert(program.id())),
                Err(ProgramError::SyscallError(error)) if went_away(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for link in aya::programs::loaded_links() {
            match link {
                Ok(link) => drop(all.links.insert(link.id())),
                Err(LinkError::SyscallError(error)) if went_away(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for map in aya::maps::loaded_maps() {
            match map {
                Ok(map) => drop(all.maps.insert(map.id())),
                Err(MapError::SyscallError(error)) if went_away(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    /// Waits until none of these is there any more: the kernel frees them a moment after their last user.
    ///
    /// # Errors
    /// Some stay.
    pub fn wait_until_gone(&self) -> Result<()> {
        let deadline = Instant::now() + seconds(10.0);
        loop {
            let all = Self::all()?;
            let left = Self {
                programs: &self.programs & &all.programs,
                links: &self.links & &all.links,
                maps: &self.maps & &all.maps,
            };
            if left.programs.is_empty() && left.links.is_empty() && left.maps.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "still there: {left:?}");
            pause();
        }
    }
}

/// Objects of others come and go between the kernel's listing of an id and its opening.
fn went_away(error: &SyscallError) -> bool {
    error.io_error.kind() == io::ErrorKind::NotFound
}
