//! Known layouts of `tls.Conn`, by version of Go, from `reflect` in programs each of them built.

use super::super::layout::Layouts;

/// Of `tls.Conn`, and of the file descriptor in a `net.netFD`.
// A few rows for a layout instead of a line for a member.
#[rustfmt::skip]
pub const CONN: Layouts = Layouts {
    witnesses: 6,
    members: &[
        ("conn.conn", 16),
        ("conn.is_client", 1),
        ("conn.handshake_complete", 4),
        ("conn.handshake_err", 16),
        ("conn.vers", 2),
        ("conn.cipher_suite", 2),
        ("conn.did_resume", 1),
        ("conn.did_hrr", 1),
        ("conn.server_name", 16),
        ("conn.client_protocol", 16),
        ("conn.in_err", 16),
        ("net_fd.sysfd", 4),
    ],
    versions: &[
        ("1.17 to 1.19", &[
            &[0x0], &[0x10], &[0x20], &[0x30], &[0x40], &[0x5a], &[0x58], &[], &[0xc0], &[0x148], &[0x160], &[0x10]
        ]),
        ("1.20", &[
            &[0x0], &[0x10], &[0x20], &[0x30], &[0x40], &[0x5a], &[0x58], &[], &[0xd8], &[0x160], &[0x178], &[0x10]
        ]),
        ("1.21, 1.22", &[
            &[0x0], &[0x10], &[0x28], &[0x38], &[0x48], &[0x62], &[0x61], &[], &[0xe0], &[0x168], &[0x180], &[0x10]
        ]),
        ("1.23, 1.24", &[
            &[0x0], &[0x10], &[0x28], &[0x38], &[0x48], &[0x64], &[0x61], &[0x62], &[0xe0], &[0x170], &[0x188], &[0x10]
        ]),
        ("1.25, 1.26", &[
            &[0x0], &[0x10], &[0x28], &[0x38], &[0x48], &[0x64], &[0x61], &[0x62], &[0xd0], &[0x160], &[0x178], &[0x10]
        ]),
        ("1.27", &[
            &[0x0], &[0x10], &[0x28], &[0x38], &[0x48], &[0x64], &[0x61], &[0x62], &[0xe8], &[0x178], &[0x190], &[0x10]
        ]),
    ],
};

/// Of values that handshakes come with: errors, and the ClientHello. The same from 1.17 on.
pub const VALUES: Layouts = Layouts {
    witnesses: 1,
    members: &[
        ("client_hello.random", 24),
        ("verification_error.err", 16),
        ("op_error.op", 16),
        ("op_error.err", 16),
        ("invalid_error.reason", 8),
        ("hostname_error.host", 16),
    ],
    versions: &[(
        "1.17 to 1.27",
        &[&[0x20], &[0x18], &[0x0], &[0x40], &[0x8], &[0x8]],
    )],
};

/// The row for a version.
#[must_use]
pub fn column(minor: u16) -> Option<&'static str> {
    Some(match minor {
        17..=19 => "1.17 to 1.19",
        20 => "1.20",
        21 | 22 => "1.21, 1.22",
        23 | 24 => "1.23, 1.24",
        25 | 26 => "1.25, 1.26",
        27 => "1.27",
        _ => return None,
    })
}
