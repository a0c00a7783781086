//! Debian packages that building and testing need, each with the reason.

use std::{fmt, path::Path};

use crate::process;

/// A Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name in Debian 12.
    pub name: &'static str,
    /// The program or, as an absolute path, the file that it is needed for.
    provides: &'static str,
    /// What it is for.
    why: &'static str,
    /// A service that Debian would start at the next boot; nothing here wants it.
    pub service: Option<&'static str>,
}

impl Package {
    /// Whether what it provides is here, from this package or from elsewhere.
    pub fn is_present(&self) -> bool {
        if self.provides.starts_with('/') {
            Path::new(self.provides).exists()
        } else {
            process::find(self.provides).is_some()
        }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.why)
    }
}

/// Compiles the eBPF objects.
pub const COMPILER: [Package; 2] = [
    package("rustc-web", "/usr/bin/rustc", "Rust compiler"),
    package(
        "libstd-rust-web-dev-bpf",
        "/usr/lib/rustlib/bpfel-unknown-none",
        "Rust's core library for eBPF",
    ),
];

/// What `cargo xtask test` runs.
pub const PROGRAMS: &[Package] = &[
    package("busybox-static", "busybox", "user space of the test VMs"),
    package("curl", "curl", "TLS client"),
    package("default-jdk-headless", "javac", "TLS client"),
    package("gnutls-bin", "gnutls-cli", "TLS client"),
    service("haproxy", "haproxy", "proxy that cuts connections"),
    package("iproute2", "ip", "network namespaces and delays"),
    package("libnss3-tools", "tstclnt", "TLS client and server"),
    package("nftables", "nft", "lost packets and injected resets"),
    service("nginx-light", "nginx", "TLS server"),
    package("nodejs", "node", "TLS client"),
    package("openssl", "openssl", "TLS client and server"),
    service(
        "prometheus",
        "prometheus",
        "checks metrics, rules and dashboard",
    ),
    package("python3", "/usr/bin/python3", "TLS client and server"),
    package("qemu-system-x86", "qemu-system-x86_64", "test VMs"),
    package(
        "rust-web-clippy",
        "/usr/bin/clippy-driver",
        "lints of the eBPF programs",
    ),
    package("rustfmt-web", "rustfmt", "format of the sources"),
    package("tcpdump", "tcpdump", "makes captures"),
    package("tshark", "tshark", "reads captures, to compare"),
];

/// Installs what Debian has not.
pub const PIP: Package = package(
    "python3-pip",
    "/usr/lib/python3/dist-packages/pip",
    "installs Go and BoringSSL",
);

const fn package(name: &'static str, provides: &'static str, why: &'static str) -> Package {
    Package {
        name,
        provides,
        why,
        service: None,
    }
}

const fn service(name: &'static str, program: &'static str, why: &'static str) -> Package {
    Package {
        service: Some(program),
        ..package(name, program, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_by_program_or_file() {
        assert!(package("coreutils", "ls", "").is_present());
        assert!(package("coreutils", "/bin/ls", "").is_present());
        assert!(!package("none", "no-such-program", "").is_present());
        assert!(!package("none", "/no/such/file", "").is_present());
    }
}
