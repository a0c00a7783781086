//! The eBPF objects, built and embedded by build.rs: the one binary copies to another host and runs.

use aya::include_bytes_aligned;

use super::Object;

/// Whether the objects are empty, because the build found no eBPF toolchain.
pub const STUB: bool = cfg!(ebpf_stub);

impl Object {
    /// The ELF file, aligned for parsing in place; empty in a [`STUB`] build.
    #[must_use]
    pub fn elf(self) -> &'static [u8] {
        match self {
            Self::Boringssl => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/boringssl")),
            Self::Gnutls => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gnutls")),
            Self::Go => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/go")),
            Self::Openssl => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/openssl")),
            Self::Tcp => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcp")),
            Self::TcpKprobe => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcp_kprobe")),
            Self::Wire => include_bytes_aligned!(concat!(env!("OUT_DIR"), "/wire")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_elf_unless_stubbed() {
        for object in Object::ALL {
            assert_eq!(object.elf().starts_with(b"\x7fELF"), !STUB, "{object:?}");
        }
    }
}
