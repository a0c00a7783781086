//! uprobe programs: loaded once, then attached to file after file.

use std::{
    collections::{HashMap, HashSet},
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::{
        Program, ProgramError,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};
use aya_obj::ProgramSection;

use crate::probe::{AttachedObject, sys};

/// Why a program could not be loaded or attached.
#[derive(Debug, thiserror::Error)]
pub enum UprobeError {
    /// The object is not what the build made.
    #[error("the object cannot be read: {0}")]
    Object(#[from] aya_obj::ParseError),
    /// A program refers to something that the object does not have.
    #[error("the object cannot be linked: {0}")]
    Relocation(#[from] aya_obj::relocation::EbpfRelocationError),
    /// The object lacks a program, or it is not loaded.
    #[error("there is no program '{0}'")]
    NoProgram(&'static str),
    /// A program does not load.
    #[error("{0}")]
    Load(String),
    /// A program does not attach through aya.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A link could not be created.
    #[error("cannot attach: {0}")]
    Link(#[from] io::Error),
}

/// An attached probe; dropping it detaches.
#[derive(Debug)]
pub enum Link {
    /// `uprobe_multi`.
    Multi(OwnedFd),
    /// A perf event.
    Perf(UProbeLink),
}

/// The programs of an object, loaded for `uprobe_multi` links.
#[derive(Debug)]
pub(super) struct Multi {
    object: aya_obj::Object,
    programs: HashMap<&'static str, Loaded>,
}

#[derive(Debug)]
struct Loaded {
    program: OwnedFd,
    at_return: bool,
}

impl Multi {
    /// Links the programs of an object with the maps that aya made for it. aya 0.14 cannot load them
    /// itself: it leaves `expected_attach_type` 0.
    ///
    /// # Errors
    /// The object is malformed.
    pub(super) fn link(elf: &[u8], ebpf: &Ebpf) -> Result<Self, UprobeError> {
        let mut object = aya_obj::Object::parse(elf)?;
        let code: HashSet<usize> = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let maps: Vec<_> = object
            .maps
            .iter()
            .filter_map(|(name, map)| {
                let descriptor = data(ebpf.map(name)?)?.fd().as_fd().as_raw_fd();
                Some((name.clone(), descriptor, map.clone()))
            })
            .collect();
        let maps = maps.iter().map(|(name, fd, map)| (name.as_str(), *fd, map));
        object.relocate_maps(maps, &code)?;
        object.relocate_calls(&code)?;
        Ok(Self {
            object,
            programs: HashMap::new(),
        })
    }

    /// Loads a program.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub(super) fn load(&mut self, name: &'static str) -> Result<(), UprobeError> {
        let program = self.object.programs.get(name);
        let program = program.ok_or(UprobeError::NoProgram(name))?;
        let function = self.object.functions.get(&program.function_key());
        let function = function.ok_or(UprobeError::NoProgram(name))?;
        let at_return = matches!(program.section, ProgramSection::URetProbe { .. });
        let loaded = sys::load(name, &function.instructions, &program.license)
            .map_err(|error| UprobeError::Load(error.to_string()))?;
        let loaded = Loaded {
            program: loaded,
            at_return,
        };
        self.programs.insert(name, loaded);
        Ok(())
    }
}

impl AttachedObject {
    /// Attaches a program of this object to a place in a file, for every process that maps it.
    ///
    /// # Errors
    /// The program is not loaded; the kernel refuses the place.
    pub fn attach_uprobe(
        &mut self,
        program: &'static str,
        file: &File,
        offset: u64,
        cookie: u64,
    ) -> Result<Vec<Link>, UprobeError> {
        self.attach_uprobes(program, file, &[(offset, cookie)])
    }

    /// Attaches a program of this object to places in a file, each with a cookie of its own.
    ///
    /// # Errors
    /// The program is not loaded; the kernel refuses a place.
    pub fn attach_uprobes(
        &mut self,
        program: &'static str,
        file: &File,
        places: &[(u64, u64)],
    ) -> Result<Vec<Link>, UprobeError> {
        // The file that was looked at, whatever its path leads to by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let multi = self
            .multi
            .as_ref()
            .and_then(|multi| multi.programs.get(program));
        if let Some(loaded) = multi {
            let path = CString::new(path).map_err(io::Error::from)?;
            let (offsets, cookies): (Vec<_>, Vec<_>) = places.iter().copied().unzip();
            let probes = sys::Probes {
                path: &path,
                offsets: &offsets,
                cookies: &cookies,
                at_return: loaded.at_return,
            };
            let link = sys::link(loaded.program.as_fd(), probes)?;
            return Ok(vec![Link::Multi(link)]);
        }
        let Some(Program::UProbe(loaded)) = self.ebpf.program_mut(program) else {
            return Err(UprobeError::NoProgram(program));
        };
        let mut attach = |(offset, cookie)| {
            let point = UProbeAttachPoint {
                location: UProbeAttachLocation::AbsoluteOffset(offset),
                cookie: Some(cookie),
            };
            let link = loaded.attach(point, &path, UProbeScope::AllProcesses)?;
            Ok(Link::Perf(loaded.take_link(link)?))
        };
        places.iter().map(|place| attach(*place)).collect()
    }
}

/// The kinds of maps that uprobe programs use.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::LruHashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data) => {
            Some(data)
        }
        _ => None,
    }
}
