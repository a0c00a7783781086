"""A TLS server that sends lines back reversed. Arguments: PORT CERTIFICATE [NAME=VALUE...].

ca (demands a client certificate), min, max, alpn, ciphers, bind, keepalive=1, patience=SECONDS,
timeout=MILLISECONDS (TCP_USER_TIMEOUT), late=SECONDS (before the handshake),
cut=SECONDS (reset the connection so long after the first line), preface=PROTOCOL (spoken before TLS)
"""

import socket
import ssl
import struct
import sys
import threading
import time

port, certificate = int(sys.argv[1]), sys.argv[2]
options = dict(argument.split("=", 1) for argument in sys.argv[3:])
versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
# An end without close_notify is an error here.
context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
context.minimum_version = versions[options.get("min", "1.2")]
context.maximum_version = versions[options.get("max", "1.3")]
if "ciphers" in options:
    context.set_ciphers(options["ciphers"])
if "alpn" in options:
    context.set_alpn_protocols(options["alpn"].split(","))
if "ca" in options:
    context.load_verify_locations(options["ca"])
    context.verify_mode = ssl.CERT_REQUIRED

mysql = b"\x0a8.0.36\0" + bytes(4) + b"a" * 8 + b"\0\xff\xff\x21\2\0\xff\xc1\x15" + bytes(10) + b"b" * 12 + b"\0"
# What a server says first, and in answer to each request that comes before TLS.
replies = {
    "http_connect": [b"", b"HTTP/1.1 200 Connection established\r\n\r\n"],
    "smtp": [b"220 localhost ESMTP\r\n", b"250-localhost\r\n250 STARTTLS\r\n", b"220 go\r\n"],
    "imap": [b"* OK ready\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK\r\n", b". OK go\r\n"],
    "pop3": [b"+OK ready\r\n", b"+OK go\r\n"],
    "ftp": [b"220 ready\r\n", b"234 go\r\n"],
    "xmpp": [
        b"",
        b"<stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>"
        b"<required/></starttls></stream:features>",
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ],
    "irc": [b"", b":localhost 670 * :STARTTLS go\r\n"],
    "ldap": [b"", bytes.fromhex("300c02010178070a010004000400")],
    "postgresql": [b"", b"S"],
    "mysql": [len(mysql).to_bytes(3, "little") + b"\0" + mysql, b""],
}


def serve(sock):
    if "timeout" in options:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(options["timeout"]))
    if "patience" in options:
        sock.settimeout(float(options["patience"]))
    if "keepalive" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    time.sleep(float(options.get("late", "0")))
    for number, reply in enumerate(replies.get(options.get("preface"), [])):
        if number > 0:
            # MySQL's client does not wait for an answer to its request of 36 bytes.
            sock.recv(36 if options["preface"] == "mysql" else 1000)
        sock.sendall(reply)
    tls = context.wrap_socket(
        sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
    )
    try:
        tls.do_handshake()
        while line := tls.recv(1000):
            tls.sendall(line.rstrip()[::-1] + b"\n")
            if "cut" in options:
                time.sleep(float(options["cut"]))
                tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
        sock = tls.unwrap()
        # The client closes first.
        sock.recv(1)
        print("served", flush=True)
        sock.close()
    except OSError as error:
        print("error", error, flush=True)
    finally:
        tls.close()


listener = socket.create_server((options.get("bind", "127.0.0.1"), port), backlog=512)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
