"""Many connections at once, each named after what is to become of it. Arguments: HOST PORT [NAME=VALUE...].

The client's server names are NUMBER.KIND.test, its kinds in turns: ok; ca (trusts another authority); name (the
certificate is for others); version (none in common with a server of TLS 1.3); alpn (none in common). Prints
"NUMBER KIND RESULT" for each, and "so far NUMBER" after so many at once; then waits for a line.

mode=sync      one thread for each connection, over the socket
mode=asyncio   all connections in one thread, over memory
mode=hopping   over memory, each step of a connection in any of a few threads
kinds, count, parallel, ca, stranger
role=server    an asyncio server of TLS 1.3 that sends lines back reversed; cert
"""

import asyncio
import concurrent.futures
import os
import socket
import ssl
import sys

host, port = sys.argv[1], int(sys.argv[2])
options = dict(argument.split("=", 1) for argument in sys.argv[3:])
kinds = options.get("kinds", "ok").split(",")
count, parallel = int(options.get("count", "1")), int(options.get("parallel", "1"))


def context_of(kind):
    context = ssl.create_default_context(cafile=options["stranger" if kind == "ca" else "ca"])
    if kind == "version":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if kind == "alpn":
        context.set_alpn_protocols(["smtp"])
    return context


def tell(each):
    number, kind = each
    try:
        work(number, kind)
        result = "ok"
    except OSError as error:
        result = f"error {error}"
    say(f"{number} {kind} {result}\n")


def say(line):
    # In one piece, and past a buffer that loses lines when several threads fill it (CPython's issue 119506).
    os.write(1, line.encode())


def sync(number, kind):
    with socket.create_connection((host, port)) as sock:
        with contexts[kind].wrap_socket(sock, server_hostname=f"{number}.{kind}.test") as tls:
            tls.sendall(b"abc\n")
            assert tls.recv(100) == b"cba\n"
            tls.unwrap()


def hopping(number, kind):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = contexts[kind].wrap_bio(incoming, outgoing, server_hostname=f"{number}.{kind}.test")
    with socket.create_connection((host, port)) as sock:

        def run(step):
            while True:
                try:
                    return steps.submit(step).result()
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    received = sock.recv(65536)
                    incoming.write(received) if received else incoming.write_eof()
                finally:
                    sock.sendall(outgoing.read())

        run(tls.do_handshake)
        run(lambda: tls.write(b"abc\n"))
        assert run(lambda: tls.read(100)) == b"cba\n"
        run(tls.unwrap)


async def one(number, kind):
    try:
        name = f"{number}.{kind}.test"
        reader, writer = await asyncio.open_connection(
            host, port, ssl=contexts[kind], server_hostname=name
        )
        writer.write(b"abc\n")
        assert await reader.readline() == b"cba\n"
        writer.close()
        await writer.wait_closed()
        result = "ok"
    except OSError as error:
        result = f"error {error}"
    say(f"{number} {kind} {result}\n")


async def all_of(batch):
    await asyncio.gather(*(one(*each) for each in batch))


async def answer(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line.rstrip()[::-1] + b"\n")
        writer.close()
        await writer.wait_closed()
    except OSError:
        pass


async def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options["cert"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    server = await asyncio.start_server(answer, host, port, ssl=context, backlog=512)
    await server.serve_forever()


if options.get("role") == "server":
    asyncio.run(serve())
    sys.exit()
contexts = {kind: context_of(kind) for kind in kinds}
work = {"sync": sync, "hopping": hopping}.get(options["mode"])
steps = concurrent.futures.ThreadPoolExecutor(4)
connections = concurrent.futures.ThreadPoolExecutor(parallel)
for begin in range(0, count, parallel):
    end = min(begin + parallel, count)
    batch = [(number, kinds[number % len(kinds)]) for number in range(begin, end)]
    if work:
        list(connections.map(tell, batch))
    else:
        asyncio.run(all_of(batch))
    say(f"so far {end}\n")
    sys.stdin.readline()
