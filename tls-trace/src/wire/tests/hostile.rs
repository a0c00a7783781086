//! Bytes no library would send.

use super::*;

#[test]
fn names_of_any_bytes() {
    let longest = [b'a'; 255];
    for name in [&b"\x00\x1b[31m\xff\"\\"[..], &longest, b""] {
        let hello = record(22, &client_hello(&[(0, &server_name(name))]));
        let observations = whole(&hello);
        let Some(ObservationKind::ClientHello(hello)) = kinds(&observations).pop() else {
            panic!("no ClientHello: {observations:?}");
        };
        assert_eq!(hello.server_name.as_deref(), Some(name));
    }
}
