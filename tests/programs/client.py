"""A TLS client. Arguments: HOST PORT [NAME=VALUE...]; prints "ok VERSION ALPN" or "error TEXT".

mode=sync|nonblocking|asyncio|bio   how the handshake is driven
end=talk|leave|close|hold           exchange a line and close_notify | close_notify at once | close at once |
                                    exchange a line, say "held", exchange another when told to
rude=1                              mode=bio: wait, send close_notify, leave the answer unread
ca, cert, name, min, max, ciphers, alpn, count; keepalive=1; timeout=MILLISECONDS (TCP_USER_TIMEOUT);
reuse=1 (resume the session before), parallel=THREADS (that share the count), patience=SECONDS,
pause=SECONDS (before each connection, about), endless=1 (instead of a count: until standard input ends)
"""

import asyncio
import contextlib
import itertools
import random
import select
import socket
import ssl
import sys
import threading
import time

host, port = sys.argv[1], int(sys.argv[2])
options = dict(argument.split("=", 1) for argument in sys.argv[3:])
mode = options.get("mode", "sync")
end = options.get("end", "talk")
name = options.get("name", host)
versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def make_context():
    context = ssl.create_default_context(cafile=options.get("ca"))
    # An end without close_notify is an error here.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if "ca" not in options:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "cert" in options:
        context.load_cert_chain(options["cert"])
    if "ciphers" in options:
        context.set_ciphers(options["ciphers"])
    if "alpn" in options:
        context.set_alpn_protocols(options["alpn"].split(","))
    context.minimum_version = versions[options.get("min", "1.2")]
    context.maximum_version = versions[options.get("max", "1.3")]
    return context


def account(tls):
    return f"ok {tls.version()} {tls.selected_alpn_protocol()}"


def keep_alive(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def drive(step, sock):
    """Repeats a step of a non-blocking socket until it is through."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            select.select([sock], [], [])
        except ssl.SSLWantWriteError:
            select.select([], [sock], [])


def sync(context):
    patience = float(options["patience"]) if "patience" in options else None
    sock = socket.create_connection((host, port), timeout=patience)
    if "keepalive" in options:
        keep_alive(sock)
    if "timeout" in options:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(options["timeout"]))
    blocking = mode == "sync"
    if not blocking:
        sock.setblocking(False)
    run = (lambda step: step()) if blocking else (lambda step: drive(step, sock))
    tls = context.wrap_socket(
        sock,
        server_hostname=name,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=False,
        session=session.get("last"),
    )
    sock = tls
    try:
        run(tls.do_handshake)
        ok = account(tls)
        if end in ("talk", "hold"):
            run(lambda: tls.send(b"abc\n"))
            assert run(lambda: tls.recv(100)) == b"cba\n"
        if end == "hold":
            print("held", flush=True)
            if options.get("keepalive") is None:
                sys.stdin.readline()
                tls.send(b"abc\n")
            assert tls.recv(100) == b"cba\n"
        if end == "leave":
            with contextlib.suppress(OSError):
                run(tls.unwrap)
        elif end != "close":
            run(tls.unwrap)
        print(ok, flush=True)
        if "reuse" in options:
            session["last"] = tls.session
    finally:
        tls.close()


def bio(context):
    """The handshake over memory: the library never sees the socket."""
    sock = socket.create_connection((host, port))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)

    def run(step):
        while True:
            try:
                result = step()
                sock.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                received = sock.recv(65536)
                incoming.write(received) if received else incoming.write_eof()

    try:
        run(tls.do_handshake)
        ok = account(tls)
        run(lambda: tls.write(b"abc\n"))
        assert run(lambda: tls.read(100)) == b"cba\n"
        if "rude" in options:
            # Idle for a while: nobody watches the payload any more.
            time.sleep(1.5)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.unwrap()
            sock.sendall(outgoing.read())
            select.select([sock], [], [])
        else:
            run(tls.unwrap)
        print(ok, flush=True)
    finally:
        sock.sendall(outgoing.read())
        sock.close()


async def asynchronous(context):
    reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    writer.write(b"abc\n")
    assert await reader.readline() == b"cba\n"
    ok = account(writer.get_extra_info("ssl_object"))
    writer.close()
    await writer.wait_closed()
    print(ok, flush=True)


def one(context):
    try:
        if mode == "asyncio":
            asyncio.run(asynchronous(context))
        elif mode == "bio":
            bio(context)
        else:
            sync(context)
    except (OSError, AssertionError) as error:
        print("error", error, flush=True)


def wait_for_end():
    sys.stdin.read()
    ended.set()


session = {}
ended = threading.Event()
endless = "endless" in options
if endless:
    threading.Thread(target=wait_for_end, daemon=True).start()
context = make_context()


def repeat(count):
    for _ in itertools.count() if endless else range(count):
        if ended.is_set():
            break
        time.sleep(random.uniform(0, 2 * float(options.get("pause", "0"))))
        one(context)


parallel = int(options.get("parallel", "1"))
share = int(options.get("count", "1")) // parallel
threads = [threading.Thread(target=repeat, args=(share,)) for _ in range(parallel)]
for thread in threads:
    thread.start()
