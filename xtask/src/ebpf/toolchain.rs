//! Finds what can compile Rust for the BPF target.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{TARGET, target_dir};

/// Names the rustc to build eBPF objects with.
const RUSTC_OVERRIDE: &str = "TLS_TRACE_BPF_RUSTC";

/// Names the bpf-linker to build eBPF objects with.
const LINKER_OVERRIDE: &str = "TLS_TRACE_BPF_LINKER";

/// Where Debian's rustc is, even if rustup's comes first in `PATH`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A compiler and a linker for the BPF target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

/// A rustc that can compile for the BPF target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The program.
    pub rustc: PathBuf,
    core: Core,
}

/// Where the `core` library for the BPF target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    /// The toolchain has it compiled.
    Prebuilt,
    /// Cargo compiles it from the toolchain's rust-src.
    FromSource,
}

impl Toolchain {
    /// Takes what the environment names, else what [`Compiler::find`] and [`find_linker`] find.
    ///
    /// # Errors
    /// Compiler or linker is missing: the message is one sentence.
    pub fn find(root: &Path) -> Result<Self> {
        let Some(compiler) = Compiler::find() else {
            bail!(
                "no Rust toolchain here has the {TARGET} target: run `cargo xtask setup`, \
                 or set {RUSTC_OVERRIDE}"
            );
        };
        let Some(linker) = find_linker(root) else {
            bail!(
                "bpf-linker is missing: run `cargo xtask setup`, or set {LINKER_OVERRIDE} to its path"
            );
        };
        Ok(Self { compiler, linker })
    }

    /// The compiler.
    pub fn rustc(&self) -> &Path {
        &self.compiler.rustc
    }

    /// Makes `cargo` build with this toolchain, and free of the settings of a cargo around it.
    pub fn configure(&self, cargo: &mut Command, arch: &str) {
        for variable in [
            "CARGO_BUILD_TARGET",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
        ] {
            cargo.env_remove(variable);
        }
        let flags = [
            &format!("--cfg=bpf_target_arch=\"{arch}\""),
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            // 32-bit registers and jumps: shorter programs; every kernel with a ring buffer has them.
            "-Ctarget-cpu=v3",
        ];
        let linker = format!("CARGO_TARGET_{}_LINKER", TARGET.replace('-', "_"));
        cargo
            .env("RUSTC", self.rustc())
            .env(linker.to_uppercase(), &self.linker)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        match self.compiler.core {
            // aya-ebpf needs inline assembly for BPF, which is unstable; nothing else does.
            Core::Prebuilt => cargo.env("RUSTC_BOOTSTRAP", "aya_ebpf"),
            Core::FromSource => cargo.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core"),
        };
    }
}

impl Compiler {
    /// Takes what the environment names, else a toolchain with a compiled `core` for BPF (Debian
    /// has one), else a nightly one with rust-src.
    pub fn find() -> Option<Self> {
        if let Some(rustc) = env::var_os(RUSTC_OVERRIDE) {
            let core = core_of(&sysroot(Command::new(&rustc))?)?;
            let rustc = rustc.into();
            return Some(Self { rustc, core });
        }
        let current = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let prebuilt = [current, OsString::from(DEBIAN_RUSTC)]
            .into_iter()
            .filter_map(|rustc| sysroot(Command::new(rustc)))
            .find(|sysroot| core_of(sysroot) == Some(Core::Prebuilt));
        let sysroot = prebuilt.or_else(|| {
            let mut nightly = Command::new("rustup");
            nightly.args(["run", "nightly", "rustc"]);
            sysroot(nightly)
        })?;
        Some(Self {
            rustc: sysroot.join("bin/rustc"),
            core: core_of(&sysroot)?,
        })
    }
}

fn core_of(sysroot: &Path) -> Option<Core> {
    let rustlib = sysroot.join("lib/rustlib");
    if rustlib.join(TARGET).is_dir() {
        Some(Core::Prebuilt)
    } else if rustlib.join("src/rust/library/core").is_dir() {
        Some(Core::FromSource)
    } else {
        None
    }
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    let output = rustc.args(["--print", "sysroot"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| path.trim_end().into())
}

/// The bpf-linker that the environment names, else the one set-up installed, else any in `PATH`.
pub fn find_linker(root: &Path) -> Option<PathBuf> {
    if let Some(linker) = env::var_os(LINKER_OVERRIDE) {
        return Some(linker.into());
    }
    let installed = target_dir(root).join("tools/bin/bpf-linker");
    if installed.is_file() {
        return Some(installed);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("bpf-linker"))
        .find(|linker| linker.is_file())
}
