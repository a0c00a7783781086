//! Files that are no captures, or not all the way: what was read is reported, then why not more.

use std::fs;

use super::{Folder, Said, analyze, established, failed, pcap, text};

fn one_sentence(said: &Said) -> &str {
    assert_eq!(said.code, Some(2), "{said:?}");
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{said:?}");
    lines[0]
}

#[test]
fn no_capture_at_all() {
    let folder = Folder::new();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";
    let block_of_4_gib = [
        &b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0"[..],
        b"\x06\0\0\0\xfc\xff\xff\xff",
        &[0; 64],
    ]
    .concat();
    for (name, content, why) in [
        ("a.pcap", &png[..], "it is not a capture"),
        ("empty.pcap", b"", "it is empty"),
        ("one.pcap", b"\xd4", "it is not a capture"),
        (
            "text.pcap",
            b"12:01:02.3 IP 10.0.0.1 > 10.0.0.2\n",
            "it is not a capture",
        ),
        (
            "length.pcapng",
            &block_of_4_gib[..],
            "it is damaged at byte 28",
        ),
    ] {
        let path = folder.file(name, content);
        let said = analyze(&[&path]);
        let sentence = one_sentence(&said);
        assert!(sentence.contains(&text(&path)), "{said:?}");
        assert!(sentence.contains(why), "{name}: {said:?}");
        assert_eq!(said.stdout, "", "{name}");
    }
}

#[test]
fn no_file() {
    let folder = Folder::new();
    let said = analyze(&[&folder.path("missing.pcap")]);
    assert!(one_sentence(&said).contains("No such file"), "{said:?}");
    fs::create_dir(folder.path("folder")).unwrap();
    let said = analyze(&[&folder.path("folder")]);
    assert!(
        one_sentence(&said).contains("it is a directory"),
        "{said:?}"
    );
}

#[test]
fn no_permission() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let path = folder.capture("a.pcap", &failed(40_001, "a.example", 0));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        println!("skipped: root may read everything");
        return;
    }
    let said = analyze(&[&path]);
    assert!(
        one_sentence(&said).contains("Permission denied"),
        "{said:?}"
    );
}

/// The writer was killed: as good as a capture that ends a packet earlier.
#[test]
fn cut_short() {
    let folder = Folder::new();
    let file = pcap(&failed(40_001, "a.example", 0));
    let said = analyze(&[&folder.file("a.pcap", &file[..file.len() - 3])]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("handshake_failure"), "{said:?}");
    assert!(
        said.stderr.contains("ends inside a packet at byte"),
        "{said:?}"
    );
}

#[test]
fn damaged_in_the_middle() {
    let folder = Folder::new();
    let good = pcap(&failed(40_001, "a.example", 0));
    let damaged = [&good[..], &[0xff; 64], &good[24..]].concat();
    let path = folder.file("a.pcap", &damaged);
    let said = analyze(&[&path]);
    assert!(said.stdout.contains("handshake_failure"), "{said:?}");
    let sentence = one_sentence(&said);
    let expected = format!(
        "was read, but not to its end: it is damaged at byte {}",
        good.len()
    );
    assert!(sentence.contains(&expected), "{said:?}");
}

#[test]
fn damaged_compression() {
    let folder = Folder::new();
    let packets: Vec<_> = (0..500_u16)
        .flat_map(|index| failed(10_000 + index, "a.example", u32::from(index) * 20))
        .collect();
    let file = pcap(&packets);
    let zstd = zstd::encode_all(&file[..], 1).unwrap();
    let said = analyze(&[&folder.file("a.zst", &zstd[..zstd.len() / 2])]);
    let sentence = one_sentence(&said);
    assert!(sentence.contains("cannot be read"), "{said:?}");
}

/// One file of several: the others are reported all the same.
#[test]
fn one_of_several() {
    let folder = Folder::new();
    let good = folder.capture("a.pcap", &failed(40_001, "a.example", 0));
    let other = folder.capture("b.pcap", &established(40_002, "b.example", 60_000));
    let said = analyze(&[&good, &folder.path("missing"), &other]);
    assert!(one_sentence(&said).contains("missing"), "{said:?}");
    assert!(
        said.stdout
            .contains("2 TLS connections: 1 established, 1 failed"),
        "{said:?}"
    );
}

/// A file with a strange name does not reach the terminal.
#[test]
fn strange_names() {
    let folder = Folder::new();
    let said = analyze(&[&folder.path("a\x1b[2J.pcap")]);
    assert!(!one_sentence(&said).contains('\x1b'), "{said:?}");
}
