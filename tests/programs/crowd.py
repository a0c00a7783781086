"""Many clients at once. Arguments: HOST PORT CA STRANGER_CA COUNT.

Every fourth is good, one has no common version, one trusts another authority, one has no common
application protocol. Prints "CLIENT_PORT KIND RESULT" for each.
"""

import socket
import ssl
import sys
import threading

host, port, ca, stranger, count = *sys.argv[1:5], int(sys.argv[5])
KINDS = ["good", "version", "ca", "alpn"]


def context_of(kind):
    context = ssl.create_default_context(cafile=stranger if kind == "ca" else ca)
    if kind == "version":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if kind == "alpn":
        context.set_alpn_protocols(["smtp"])
    return context


contexts = {kind: context_of(kind) for kind in KINDS}
start = threading.Barrier(count)
printing = threading.Lock()


def connect(kind):
    start.wait()
    sock = socket.create_connection((host, int(port)))
    local = sock.getsockname()[1]
    try:
        with contexts[kind].wrap_socket(sock, server_hostname=host) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            while tls.recv(4096):
                pass
            result = "ok"
    except OSError as error:
        result = str(error)
    with printing:
        print(local, kind, result, flush=True)


threads = [threading.Thread(target=connect, args=(KINDS[i % 4],)) for i in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
