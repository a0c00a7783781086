//! Loads the objects and attaches their programs, softly: what does not work is reported, the rest
//! goes on.

use std::{fs::File, io, path::PathBuf};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    programs::{CgroupAttachMode, CgroupSkb, KProbe, Program, ProgramError},
};
use aya_log::EbpfLogger;
use tls_trace_common::KernelOffsets;
use zerocopy::IntoBytes as _;

use crate::probe::{
    STUB,
    hook::{BackEnd, HOOKS, Hook, HookReport, HookState, Object, Target, UprobeKind},
    kernel::{Availability, Kernel},
    left_out::LeftOut,
    uprobe::{Multi, UprobeError},
};

/// Settings of [`Attached::attach`].
#[derive(Clone, Copy, Debug)]
pub struct AttachOptions {
    /// Let the programs log (aya-log).
    pub bpf_log: bool,
    /// Size of the ring buffer of the `wire` object in bytes, a power of two; `tcp` gets half of it.
    pub ring_buffer: u32,
    /// Load the programs for TLS libraries.
    pub libraries: bool,
}

/// Everything that is attached; dropping it detaches.
#[derive(Debug, Default)]
pub struct Attached {
    /// Loaded objects.
    pub objects: Vec<AttachedObject>,
    /// How each hook ended, in the order of the table.
    pub hooks: Vec<HookReport>,
    /// Runs of their programs that the kernel left out.
    pub left_out: LeftOut,
}

/// A loaded object with at least one program attached.
pub struct AttachedObject {
    /// Which.
    pub object: Object,
    /// Its maps and programs.
    pub ebpf: Ebpf,
    /// Log records of its programs.
    pub logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// Its programs for `uprobe_multi` links.
    pub(super) multi: Option<Multi>,
}

impl std::fmt::Debug for AttachedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AttachedObject")
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}

/// Why a program is not attached.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("the object has no program '{0}'")]
    NoProgram(&'static str),
    #[error("{}", explain(.0))]
    Program(#[from] ProgramError),
    #[error("cannot open {path}: {error}")]
    Cgroup { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Uprobe(#[from] UprobeError),
}

impl Attached {
    /// Attaches every hook that this kernel allows.
    #[must_use]
    pub fn attach(kernel: &Kernel, options: AttachOptions) -> Self {
        let mut attached = Self::default();
        // aya's own view of the kernel's BTF, needed to load; memory is given back at the end.
        let btf = aya::Btf::from_sys_fs().ok();
        let watch_close = kernel.btf.is_err();
        for object in Object::ALL {
            let hooks = HOOKS.iter().filter(|hook| hook.object == object);
            let mut loaded = wanted(kernel, object, options)
                .and_then(|()| load(kernel, object, options, watch_close, btf.as_ref()));
            for hook in hooks {
                let state = match &mut loaded {
                    Ok(loaded) => attach_hook(kernel, loaded, btf.as_ref(), hook),
                    Err(reason) => HookState::Skipped {
                        reason: reason.clone(),
                    },
                };
                attached.hooks.push(HookReport {
                    name: hook.name,
                    object,
                    purpose: hook.purpose,
                    required: hook.required,
                    state,
                });
            }
            if let Ok(loaded) = &loaded {
                attached.left_out.watch(&loaded.ebpf);
            }
            attached.objects.extend(loaded.ok());
        }
        attached
    }

    /// Takes the objects whose programs are to be attached to TLS libraries, and can be.
    pub fn take_library_objects(&mut self) -> Vec<AttachedObject> {
        let hooks = &self.hooks;
        let usable = |object| {
            let mut own = hooks.iter().filter(|hook| hook.object == object);
            own.any(|hook| !matches!(hook.state, HookState::Skipped { .. }))
        };
        let library =
            |loaded: &mut AttachedObject| loaded.object.is_library() && usable(loaded.object);
        self.objects.extract_if(.., library).collect()
    }
}

/// Whether any hook of the object can work at all; else the reason of its first one.
fn wanted(kernel: &Kernel, object: Object, options: AttachOptions) -> Result<(), String> {
    if object.is_library() && !options.libraries {
        return Err("switched off by --no-library-probes".to_owned());
    }
    let mut first = None;
    for hook in HOOKS.iter().filter(|hook| hook.object == object) {
        for back_end in hook.back_ends {
            match kernel.availability(back_end.target) {
                Availability::Yes | Availability::Unknown(_) => return Ok(()),
                Availability::No(reason) => {
                    first.get_or_insert(reason);
                }
            }
        }
    }
    Err(first.unwrap_or_default())
}

fn load(
    kernel: &Kernel,
    object: Object,
    options: AttachOptions,
    watch_close: bool,
    btf: Option<&aya::Btf>,
) -> Result<AttachedObject, String> {
    let offsets: Option<KernelOffsets> = match (object, &kernel.btf) {
        // Its plain programs do without.
        (Object::Wire, btf) => btf.as_ref().ok().and_then(|btf| Kernel::offsets(btf).ok()),
        (object, _) if object.is_library() => None,
        (_, Err(error)) => return Err(error.to_string()),
        (_, Ok(btf)) => Some(Kernel::offsets(btf).map_err(|error| error.to_string())?),
    };
    let log_level: u8 = if options.bpf_log { u8::MAX } else { 0 };
    let watch_close = u32::from(watch_close);
    let ring_buffer = match object {
        Object::Wire => options.ring_buffer,
        Object::Tcp => options.ring_buffer / 2,
        Object::TcpKprobe | Object::Openssl | Object::Go | Object::Gnutls | Object::Boringssl => {
            options.ring_buffer / 8
        }
    };
    if STUB {
        return Err("this build has no eBPF programs; build it with `cargo xtask run`".to_owned());
    }
    let ring_buffer = ring_buffer.max(4096);
    let mut loader = EbpfLoader::new();
    loader
        .btf(btf)
        .map_max_entries("EVENTS", ring_buffer)
        .override_global("RING_BYTES", &ring_buffer, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .override_global("WATCH_CLOSE", &watch_close, false);
    if let Some(offsets) = &offsets {
        loader.override_global("OFFSETS", offsets.as_bytes(), true);
    }
    let descriptors = matches!(object, Object::Go | Object::Gnutls)
        .then(|| Kernel::descriptor_offsets(kernel.btf.as_ref().ok()?).ok())
        .flatten();
    if let Some(descriptors) = &descriptors {
        loader.override_global("FD_OFFSETS", descriptors.as_bytes(), true);
    }
    let mut ebpf = loader
        .load(object.elf())
        .map_err(|error| explain_load(&error))?;
    let logger = options
        .bpf_log
        .then(|| EbpfLogger::init(&mut ebpf).ok())
        .flatten();
    let multi = object
        .is_library()
        .then(|| Multi::link(object.elf(), &ebpf).map_err(|error| chain(&error)))
        .transpose()?;
    Ok(AttachedObject {
        object,
        ebpf,
        logger,
        multi,
    })
}

fn attach_hook(
    kernel: &Kernel,
    loaded: &mut AttachedObject,
    btf: Option<&aya::Btf>,
    hook: &Hook,
) -> HookState {
    let mut first_reason = None;
    for back_end in hook.back_ends {
        let reason = match kernel.availability(back_end.target) {
            Availability::No(reason) => reason,
            Availability::Yes | Availability::Unknown(_) => {
                match attach_program(kernel, loaded, btf, *back_end) {
                    Ok(()) => {
                        return first_reason.map_or(HookState::Attached, |reason| {
                            HookState::Fallback {
                                back_end: back_end.label,
                                reason,
                            }
                        });
                    }
                    Err(error) => error.to_string(),
                }
            }
        };
        tracing::debug!(
            hook = hook.name,
            back_end = back_end.label,
            reason,
            "not attached"
        );
        first_reason.get_or_insert(reason);
    }
    HookState::Skipped {
        reason: first_reason.unwrap_or_default(),
    }
}

fn attach_program(
    kernel: &Kernel,
    loaded: &mut AttachedObject,
    btf: Option<&aya::Btf>,
    back_end: BackEnd,
) -> Result<(), AttachError> {
    if let (Target::Library(UprobeKind::Multi), Some(multi)) = (back_end.target, &mut loaded.multi)
    {
        return Ok(multi.load(back_end.program)?);
    }
    let program = loaded
        .ebpf
        .program_mut(back_end.program)
        .ok_or(AttachError::NoProgram(back_end.program))?;
    match (back_end.target, program) {
        (Target::BtfTracepoint(name, _), Program::BtfTracePoint(program)) => {
            let btf = btf.ok_or(AttachError::NoProgram(back_end.program))?;
            program.load(name, btf)?;
            program.attach()?;
        }
        (Target::Function(name), Program::KProbe(program)) => attach_kprobe(program, name)?,
        (Target::Cgroup, Program::CgroupSkb(program)) => attach_cgroup(kernel, program)?,
        // Attached when a file with the library is found.
        (Target::Library(UprobeKind::Perf), Program::UProbe(program)) => program.load()?,
        _ => return Err(AttachError::NoProgram(back_end.program)),
    }
    Ok(())
}

fn attach_kprobe(program: &mut KProbe, function: &str) -> Result<(), AttachError> {
    program.load()?;
    program.attach(function, 0)?;
    Ok(())
}

fn attach_cgroup(kernel: &Kernel, program: &mut CgroupSkb) -> Result<(), AttachError> {
    let path = kernel.cgroup.clone().unwrap_or_default();
    let cgroup = File::open(&path).map_err(|error| AttachError::Cgroup { path, error })?;
    let direction = program
        .expected_attach_type()
        .unwrap_or(aya::programs::CgroupSkbAttachType::Ingress);
    program.load()?;
    // A bpf_link adds to what is there; other programs on the cgroup stay.
    program.attach(cgroup, direction, CgroupAttachMode::Single)?;
    Ok(())
}

/// One sentence for a load error of a whole object.
fn explain_load(error: &EbpfError) -> String {
    match error {
        EbpfError::MapError(aya::maps::MapError::CreateError { name, io_error }) => {
            format!(
                "map '{name}' cannot be created: {}",
                explain_errno(io_error)
            )
        }
        other => chain(other),
    }
}

/// One sentence for a program that does not load or attach; the verifier's log goes to `debug`.
fn explain(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            tracing::debug!("verifier log:\n{log}");
            // Its last lines are statistics, what it objects to stands before them.
            let statistics = ["processed ", "verification time", "stack depth"];
            let objection = log
                .lines()
                .rev()
                .find(|line| !line.is_empty() && !statistics.iter().any(|s| line.starts_with(s)));
            match objection {
                Some(line) => format!("the verifier refuses the program: {line}"),
                None => format!(
                    "the kernel refuses the program: {}",
                    explain_errno(io_error)
                ),
            }
        }
        ProgramError::SyscallError(error) => {
            format!("{}: {}", error.call, explain_errno(&error.io_error))
        }
        other => chain(other),
    }
}

/// What to do about an errno of `bpf()`.
fn explain_errno(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => format!(
            "{error}; needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root), and a kernel not locked down for confidentiality"
        ),
        Some(libc::ENOMEM) => format!("{error}; see RLIMIT_MEMLOCK and the memory cgroup"),
        _ => error.to_string(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
