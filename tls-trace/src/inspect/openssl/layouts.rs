//! Known layouts of OpenSSL's structs, with the default build options, on 64-bit systems: from
//! `offsetof` in the sources of one release each, found again in the code of released libraries.
//! Two releases of a minor version may differ: 3.2.4, 3.3.3 and 3.4.1 moved all of `SSL` by 8.

use super::super::layout::Layouts;

/// `offsetof(SSL, s3)` in 1.1.1, where it is a pointer.
const S3: u16 = 0xa8;

/// Of `SSL`. `ssl.type` tells TLS (0) from QUIC connections; before 3.2 there is no QUIC.
// A few rows for a layout instead of a line for a member.
#[rustfmt::skip]
pub const SSL: Layouts = Layouts {
    witnesses: 8,
    members: &[
        ("ssl.type", 4),
        ("ssl.version", 4),
        ("ssl.rbio", 8),
        ("ssl.server", 4),
        ("ssl.shutdown", 4),
        ("ssl.state", 4),
        ("ssl.hand_state", 4),
        ("ssl.in_init", 4),
        ("ssl.early_data_state", 4),
        ("ssl.hit", 4),
        ("ssl.session", 8),
        ("ssl.verify_result", 8),
        ("ssl.hello_retry_request", 4),
        ("ssl.early_data", 4),
        ("ssl.early_data_ok", 4),
        ("ssl.alpn_len", 8),
        ("ssl.alpn_selected", 8),
        ("ssl.alpn_selected_len", 8),
        ("ssl.alpn_proposed_len", 8),
        ("ssl.fatal_alert", 4),
        ("ssl.send_alert", 2),
        ("ssl.client_random", 1),
        ("ssl.server_random", 1),
    ],
    versions: &[
        ("1.1.1", &[
            &[], &[0x0], &[0x10], &[0x38], &[0x44], &[0x48], &[0x5c], &[0x64], &[0x84], &[0xc8], &[0x510],
            &[0x5b0], &[0x4e0], &[0x718], &[0x71c], &[0x6f8], &[S3, 0x3e0], &[S3, 0x3e8], &[S3, 0x3f8],
            &[S3, 0xf8], &[S3, 0x100], &[S3, 0xb8], &[S3, 0x98]
        ]),
        ("3.0, 3.1", &[
            &[], &[0x0], &[0x10], &[0x38], &[0x44], &[0x48], &[0x5c], &[0x64], &[0x84], &[0x4d0], &[0x918],
            &[0x9b8], &[0x8e8], &[0xb30], &[0xb34], &[0xb10], &[0x488], &[0x490], &[0x4a0], &[0x1a0], &[0x1a8],
            &[0x160], &[0x140]
        ]),
        ("3.2.0 to 3.2.3, 3.3.0 to 3.3.2, 3.4.0", &[
            &[0x0], &[0x40], &[0x48], &[0x70], &[0x7c], &[0x90], &[0xa4], &[0xac], &[0xe8], &[0x488], &[0x880],
            &[0x918], &[0x850], &[0xa78], &[0xa7c], &[0xa58], &[0x440], &[0x448], &[0x458], &[0x178], &[0x180],
            &[0x140], &[0x120]
        ]),
        ("3.2.4 and later, 3.3.3 and later, 3.4.1 and later", &[
            &[0x0], &[0x48], &[0x50], &[0x78], &[0x84], &[0x98], &[0xac], &[0xb4], &[0xf0], &[0x490], &[0x888],
            &[0x920], &[0x858], &[0xa80], &[0xa84], &[0xa60], &[0x448], &[0x450], &[0x460], &[0x180], &[0x188],
            &[0x148], &[0x128]
        ]),
        ("3.5", &[
            &[0x0], &[0x48], &[0x50], &[0x78], &[0x84], &[0x98], &[0xac], &[0xb4], &[0xf0], &[0x508], &[0x900],
            &[0x998], &[0x8d0], &[0xb18], &[0xb1c], &[0xaf8], &[0x4b8], &[0x4c0], &[0x4d0], &[0x1c0], &[0x1c8],
            &[0x188], &[0x168]
        ]),
        ("3.6", &[
            &[0x0], &[0x48], &[0x50], &[0x78], &[0x84], &[0x98], &[0xac], &[0xb4], &[0xf0], &[0x508], &[0x900],
            &[0x998], &[0x8d0], &[0xb20], &[0xb24], &[0xb00], &[0x4b8], &[0x4c0], &[0x4d0], &[0x1c0], &[0x1c8],
            &[0x188], &[0x168]
        ]),
        ("4.0", &[
            &[0x0], &[0x48], &[0x50], &[0x78], &[0x84], &[0x98], &[0xac], &[0xb8], &[0xf0], &[0x508], &[0x900],
            &[0x998], &[0x8d0], &[0xb20], &[0xb24], &[0xb00], &[0x4b8], &[0x4c0], &[0x4d0], &[0x1c0], &[0x1c8],
            &[0x188], &[0x168]
        ]),
    ],
};

/// Of `SSL_SESSION`.
pub const SESSION: Layouts = Layouts {
    witnesses: 2,
    members: &[
        ("session.version", 4),
        ("session.cipher", 8),
        ("session.max_early_data", 4),
        ("session.alpn_selected", 8),
        ("session.alpn_selected_len", 8),
    ],
    versions: &[
        (
            "1.1.1 up to 1.1.1g",
            &[&[0x0], &[0x1f8], &[0x244], &[0x248], &[0x250]],
        ),
        ("1.1.1", &[&[0x0], &[0x1f0], &[0x23c], &[0x240], &[0x248]]),
        (
            "3.0, 3.1",
            &[&[0x0], &[0x2f8], &[0x354], &[0x358], &[0x360]],
        ),
        ("3.2", &[&[0x0], &[0x300], &[0x35c], &[0x360], &[0x368]]),
        (
            "3.3 and later",
            &[&[0x0], &[0x2f8], &[0x344], &[0x348], &[0x350]],
        ),
    ],
};

/// Of `SSL_CIPHER`.
pub const CIPHER: Layouts = Layouts {
    witnesses: 1,
    members: &[("cipher.id", 4)],
    versions: &[("1.1.1 and later", &[&[0x18]])],
};

/// Of `BIO`. `bio.type` is behind `bio->method`.
pub const BIO: Layouts = Layouts {
    witnesses: 3,
    members: &[
        ("bio.type", 4),
        ("bio.init", 4),
        ("bio.num", 4),
        ("bio.ptr", 8),
        ("bio.next", 8),
    ],
    versions: &[
        ("1.1.1", &[&[0x0, 0x0], &[0x20], &[0x30], &[0x38], &[0x40]]),
        (
            "3.0 and later",
            &[&[0x8, 0x0], &[0x28], &[0x38], &[0x40], &[0x48]],
        ),
    ],
};
