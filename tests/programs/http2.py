"""Either end of HTTP/2, as little of it as ends need: client HOST PORT [NAME=VALUE...] or
server HOST PORT CERTIFICATE [NAME=VALUE...].

A client says "ready" when the SETTINGS of both ends are acknowledged, waits pause=SECONDS if told to, sends a PING,
says "pong" when that is answered, and stays until the connection is lost: "lost TEXT". timeout=MILLISECONDS
(TCP_USER_TIMEOUT), keepalive=1 (probes after a second, each second).

A server says "listens", takes connections one after the other and answers: answer=http2 | http1 (a page that says
no) | nothing (it ends its side, and waits for the client) | deaf (it leaves without reading) | silent (it reads, and
says nothing). alpn=none: it selects no protocol.
"""

import select
import socket
import ssl
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING = 4, 6
ACK = 1

role, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
rest = sys.argv[4:]
certificate = rest.pop(0) if role == "server" else None
options = dict(argument.split("=", 1) for argument in rest)


def say(*words):
    print(*words, flush=True)


def frame(kind, flags=0, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + bytes(4) + payload


def exactly(tls, count):
    data = b""
    while len(data) < count:
        more = tls.recv(count - len(data))
        if not more:
            raise OSError("end of file")
        data += more
    return data


def read(tls):
    header = exactly(tls, 9)
    payload = exactly(tls, int.from_bytes(header[:3], "big"))
    return header[3], header[4], payload


def speak(tls, at_acknowledgement):
    """Answers frames until the connection ends."""
    while True:
        kind, flags, payload = read(tls)
        if (kind, flags & ACK) == (SETTINGS, 0):
            tls.sendall(frame(SETTINGS, ACK))
        elif kind == SETTINGS:
            at_acknowledgement()
        elif (kind, flags & ACK) == (PING, 0):
            tls.sendall(frame(PING, ACK, payload))
        elif kind == PING:
            say("pong")


def connect():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    sock = socket.create_connection((host, port))
    if "timeout" in options:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(options["timeout"]))
    if "keepalive" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    tls = context.wrap_socket(sock)
    tls.sendall(PREFACE)
    tls.sendall(frame(SETTINGS))

    def ready():
        say("ready")
        if "pause" in options:
            time.sleep(float(options["pause"]))
            tls.sendall(frame(PING, 0, bytes(8)))

    try:
        speak(tls, ready)
    except OSError as error:
        say("lost", error)
    tls.close()


def answer(sock, context):
    tls = context.wrap_socket(sock, server_side=True)
    how = options.get("answer", "http2")
    if how == "deaf":
        select.select([tls], [], [])
        tls.close()
        return
    exactly(tls, len(PREFACE))
    if how == "http2":
        tls.sendall(frame(SETTINGS, 0, bytes([0, 3, 0, 0, 0, 100])))
        speak(tls, lambda: None)
    if how == "http1":
        page = b"<html>" + b"This port speaks HTTP/1.1. " * 10 + b"</html>"
        head = f"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: {len(page)}\r\n\r\n"
        tls.sendall(head.encode() + page)
    sock = tls
    if how != "silent":
        sock.shutdown(socket.SHUT_WR)
    while sock.recv(1000):
        pass
    sock.close()


def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if options.get("alpn") != "none":
        context.set_alpn_protocols(["h2"])
    listener = socket.create_server((host, port))
    say("listens")
    while True:
        try:
            answer(listener.accept()[0], context)
        except OSError as error:
            say("lost", error)


connect() if role == "client" else serve()
