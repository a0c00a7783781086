"""A TLS client for any server of HTTP: HOST PORT CA OFFER MAX (OFFER: protocols, commas between; "-" for none).

Greets in the protocol that was selected and waits for a word. Prints "ok VERSION PROTOCOL" or "error TEXT".
"""

import socket
import ssl
import sys

host, port, ca, offer, most = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if offer != "-":
    context.set_alpn_protocols(offer.split(","))
if most == "1.2":
    context.maximum_version = ssl.TLSVersion.TLSv1_2
H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
try:
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            protocol = tls.selected_alpn_protocol()
            tls.sendall(H2 if protocol == "h2" else HTTP)
            if not tls.recv(1000):
                raise OSError("the server left")
            print("ok", tls.version(), protocol)
except OSError as error:
    print("error", error)
    sys.exit(1)
