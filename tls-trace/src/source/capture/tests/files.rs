//! Formats, compression, and files that are none.

use std::io::Write as _;

use rstest::rstest;

use super::make::{Classic, at, packet, read, tcp};
use crate::{
    event::Timestamp,
    source::capture::{CaptureError, CaptureFile, InputError, LinkType, Packet},
};

const LITTLE: Classic = Classic {
    big_endian: false,
    nanoseconds: false,
};
const BIG: Classic = Classic {
    big_endian: true,
    nanoseconds: false,
};

fn packets() -> Vec<Packet> {
    let syn = tcp("S", 1, b"").at(1);
    let mut cut = tcp("A", 2, &[7; 400]).at(2);
    cut.data.truncate(100);
    vec![syn, cut]
}

#[rstest]
fn classic(#[values(false, true)] big_endian: bool, #[values(false, true)] nanoseconds: bool) {
    let mut packets = packets();
    packets[1].time.0 += if nanoseconds { 1 } else { 1000 };
    let (found, result) = read(
        &Classic {
            big_endian,
            nanoseconds,
        }
        .file(&packets),
    );
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(found, packets);
}

#[rstest]
#[case::microseconds(None, 1_700_000_000_002_000, at(2))]
#[case::milliseconds(Some(3), 1_700_000_000_002, at(2))]
#[case::nanoseconds(Some(9), 1_700_000_000_002_000_000, at(2))]
#[case::picoseconds(Some(12), 1_700_000_002_000_000, Timestamp(1_700_000_002_000))]
#[case::binary(Some(0x80 | 0x0a), 1_700_000_000 << 10 | 512, at(500))]
fn resolutions_of_pcapng(
    #[case] resolution: Option<u8>,
    #[case] ticks: u64,
    #[case] time: Timestamp,
) {
    let value = resolution.map(|resolution| [resolution]);
    let options: Vec<(u16, &[u8])> = value.iter().map(|value| (9, &value[..])).collect();
    for order in [LITTLE, BIG] {
        let packet = packet(0, LinkType::ETHERNET, vec![1, 2, 3]);
        let file = [
            order.section(),
            order.interface(LinkType::ETHERNET, &options),
            order.enhanced(0, ticks, &packet),
        ];
        let (found, result) = read(&file.concat());
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(found, [Packet { time, ..packet }]);
    }
}

#[test]
fn sections_interfaces_and_simple_packets() {
    let raw = tcp("S", 1, b"").at(0);
    let frame = packet(0, LinkType::ETHERNET, vec![9; 61]);
    let offset = 3_600_i64;
    let simple = {
        let mut body = 61_u32.to_be_bytes().to_vec();
        body.extend(&frame.data[..]);
        BIG.block(3, &body)
    };
    let ticks = at(0).0 / 1000;
    let file = [
        LITTLE.section(),
        LITTLE.interface(LinkType::ETHERNET, &[]),
        LITTLE.interface(LinkType::RAW, &[(14, &offset.to_le_bytes())]),
        LITTLE.block(0x0bad_cafe, b"of no interest"),
        LITTLE.enhanced(1, ticks, &raw),
        LITTLE.enhanced(0, ticks, &frame),
        // Another section, of the other byte order, with interfaces of its own.
        BIG.section(),
        BIG.interface(LinkType::ETHERNET, &[(14, &offset.to_be_bytes())]),
        BIG.enhanced(0, ticks, &frame),
        simple,
    ];
    let (found, result) = read(&file.concat());
    assert!(result.is_ok(), "{result:?}");
    let an_hour_later = at(3_600_000);
    let expected = [
        Packet {
            time: an_hour_later,
            ..raw
        },
        frame.clone(),
        Packet {
            time: an_hour_later,
            ..frame.clone()
        },
        Packet {
            time: an_hour_later,
            ..frame
        },
    ];
    assert_eq!(found, expected);
}

#[test]
fn compressed() {
    let packets = packets();
    let plain = LITTLE.file(&packets);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    for compressed in [&gzip, &zstd] {
        let (found, result) = read(compressed);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(found, packets);
        let (_, result) = read(&compressed[..compressed.len() - 6]);
        assert!(
            matches!(result, Err(CaptureError::Read { .. })),
            "{result:?}"
        );
    }
}

#[test]
fn every_truncation_is_told() {
    let packets = packets();
    let classic = LITTLE.file(&packets);
    let extensible = [
        LITTLE.section(),
        LITTLE.interface(LinkType::RAW, &[]),
        LITTLE.enhanced(0, 1, &packets[0]),
        LITTLE.enhanced(0, 2, &packets[1]),
    ];
    let mut ends = vec![24, 24 + 16 + packets[0].data.len(), classic.len()];
    for length in 0..=classic.len() {
        check_truncation(&classic, length, &ends);
    }
    ends = extensible
        .iter()
        .scan(0, |sum, block| {
            *sum += block.len();
            Some(*sum)
        })
        .collect();
    let extensible = extensible.concat();
    for length in 0..=extensible.len() {
        check_truncation(&extensible, length, &ends);
    }
}

fn check_truncation(file: &[u8], length: usize, ends: &[usize]) {
    let (_, result) = read(&file[..length]);
    let begin = ends
        .iter()
        .rfind(|end| **end <= length)
        .copied()
        .unwrap_or(0) as u64;
    match result {
        Ok(()) => assert!(ends.contains(&length), "{length}"),
        Err(CaptureError::Input(InputError::Empty)) => assert_eq!(length, 0),
        Err(CaptureError::NotACapture) => assert!(length < 4, "{length}"),
        Err(CaptureError::CutShort { offset }) => assert_eq!(offset, begin, "{length}"),
        Err(other) => panic!("{length}: {other}"),
    }
}

#[rstest]
#[case::png(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "it is not a capture: it begins neither like pcap nor like pcapng"
)]
#[case::empty(b"", "it is empty")]
#[case::block_of_4_gib(
    b"\x0a\x0d\x0d\x0a\xff\xff\xff\xff\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
    "it is damaged at byte 0: a block of 4294967295 bytes"
)]
#[case::block_of_8_bytes(
    b"\x0a\x0d\x0d\x0a\x08\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x08\0\0\0",
    "it is damaged at byte 0: not a block of pcapng"
)]
#[case::no_byte_order(
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0abcd\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0",
    "it is damaged at byte 0: not a block of pcapng"
)]
fn not_a_capture(#[case] file: &[u8], #[case] sentence: &str) {
    let (packets, result) = read(file);
    assert_eq!(packets, []);
    assert_eq!(result.unwrap_err().to_string(), sentence);
}

#[test]
fn damage_is_told_after_what_precedes_it() {
    let packets = packets();
    let mut classic = LITTLE.file(&packets);
    let second = 24 + 16 + packets[0].data.len();
    classic[second + 8..second + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (found, result) = read(&classic);
    assert_eq!(found, packets[..1]);
    let sentence = result.unwrap_err().to_string();
    assert!(
        sentence.starts_with(&format!("it is damaged at byte {second}: ")),
        "{sentence}"
    );

    // A packet that claims to be longer than its block, more of the file behind it.
    let mut inner = LITTLE.enhanced(0, 1, &packets[0]);
    inner[20..24].copy_from_slice(&1000_u32.to_le_bytes());
    let head = [LITTLE.section(), LITTLE.interface(LinkType::RAW, &[])].concat();
    let file = [&head[..], &inner, &vec![0; 4096]].concat();
    let (found, result) = read(&file);
    assert_eq!(found, []);
    let expected = format!(
        "it is damaged at byte {}: a block of {} bytes has more inside than that",
        head.len(),
        inner.len()
    );
    assert_eq!(result.unwrap_err().to_string(), expected);

    let file = [&head[..], &LITTLE.enhanced(3, 1, &packets[0])].concat();
    let (_, result) = read(&file);
    let expected = format!(
        "it is damaged at byte {}: a packet of interface 3, which it lacks",
        head.len()
    );
    assert_eq!(result.unwrap_err().to_string(), expected);
}

#[test]
fn no_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = CaptureFile::open(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "it is a directory, not a file");
    let error = CaptureFile::open(&folder.path().join("none")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("it cannot be opened: No such file"),
        "{error}"
    );
}

#[test]
fn packets_longer_than_a_block_of_the_reader() {
    let long = packet(0, LinkType::RAW, vec![1; 200_000]);
    let many = vec![long; 5];
    let (found, result) = read(&LITTLE.file(&many));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(found, many);
}
