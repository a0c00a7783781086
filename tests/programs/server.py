"""A TLS server that sends lines back reversed. Arguments: PORT CERTIFICATE [NAME=VALUE...].

ca (demands a client certificate), min, max, alpn, ciphers, bind, keepalive=1, patience=SECONDS,
timeout=MILLISECONDS (TCP_USER_TIMEOUT), late=SECONDS (before the handshake),
cut=SECONDS (reset the connection so long after the first line)
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


def serve(sock):
    if "timeout" in options:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(options["timeout"]))
    if "patience" in options:
        sock.settimeout(float(options["patience"]))
    if "keepalive" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    time.sleep(float(options.get("late", "0")))
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
