"""Either end of TLS with BoringSSL, whose functions are called where a library that has it linked in has
their symbols.

LIBRARY server PORT CERTIFICATE [NAME=VALUE...]    one connection after the other; answers a line by its reverse
LIBRARY client HOST PORT CA [NAME=VALUE...]        a connection, or several one after the other

Of both: min, max (TLS versions), ciphers (of TLS 1.2), groups, early=1 (early data).
Of the server: alpn, fatal=1 (refuses what has none of them), ca (wants certificates of it). With later=1
these count from the second connection on; refuse=1 (no early data), age=SECONDS (of its clock) then, too.
Of the client: alpn, name, connections, seconds (instead: goes on that long), insecure=1 (verifies nothing).
The client prints "port PORT" for each connection. Both print "ok", "early REASON" and "failed REASON".
"""

import ctypes
import socket
import struct
import sys
import time

library, role, first, second, *rest = sys.argv[1:]
third = rest.pop(0) if role == "client" else None
options = dict(argument.split("=", 1) for argument in rest)
ACCEPTED, ALERT_FATAL, NOACK = 0, 2, 3
EARLY_DATA_REJECTED = 15
FUNCTION, SYMBOL_TABLE = 2, 2


def symbols():
    """Functions of the symbol table, by name."""
    with open(library, "rb") as file:
        elf = file.read()
    (at,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQII", elf, at + number * size) for number in range(count)]
    found = {}
    for section in sections:
        if section[1] == SYMBOL_TABLE:
            names = sections[section[6]][4]
            for name, info, _, where, value, _ in struct.iter_unpack(
                "<IBBHQQ", elf[section[4] : section[4] + section[5]]
            ):
                if info & 15 == FUNCTION and where:
                    end = elf.index(b"\0", names + name)
                    found[elf[names + name : end].decode()] = value
    return found


ctypes.CDLL(library)
with open("/proc/self/maps") as maps:
    base = next(int(line.split("-")[0], 16) for line in maps if line.rstrip().endswith(library))
addresses = symbols()
pointer, integer = ctypes.c_void_p, ctypes.c_int


def call(name, *arguments, result=integer):
    kinds = [pointer if isinstance(each, (pointer, bytes, type(None))) else type(each) for each in arguments]
    kinds = [integer if kind is int else kind for kind in kinds]
    return ctypes.CFUNCTYPE(result, *kinds)(base + addresses[name])(*arguments)


def why():
    """The first error in the queue, which it empties."""
    error = ctypes.CFUNCTYPE(ctypes.c_uint32)(base + addresses["ERR_get_error"])()
    name = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_uint32)
    call("ERR_clear_error", result=None)
    return (name(base + addresses["ERR_reason_error_string"])(error) or b"none").decode()


def reason(session):
    number = call("SSL_get_early_data_reason", session)
    return call("SSL_early_data_reason_string", number, result=ctypes.c_char_p).decode()


@ctypes.CFUNCTYPE(integer, pointer, ctypes.POINTER(pointer), ctypes.POINTER(ctypes.c_ubyte), pointer, ctypes.c_uint, pointer)
def select(_, selected, length, offered, size, __):
    offer = ctypes.string_at(offered, size)
    wanted = now("alpn", "").encode()
    at = offer.find(bytes([len(wanted)]) + wanted)
    if not wanted or at < 0:
        return ALERT_FATAL if now("fatal") else NOACK
    selected[0], length[0] = offered + at + 1, len(wanted)
    return ACCEPTED


@ctypes.CFUNCTYPE(None, pointer, ctypes.POINTER(ctypes.c_uint64))
def clock(_, when):
    when[0], when[1] = int(time.time()) + int(now("age", "0")), 0


tickets = []


@ctypes.CFUNCTYPE(integer, pointer, pointer)
def keep(_, session):
    tickets.append(session)
    return 1


connections = 0


def now(name, otherwise=None):
    """An option; of a server that changes its mind, from the second connection on."""
    if "later" in options and connections < 2:
        return otherwise
    return options.get(name, otherwise)


def version(text):
    return ctypes.c_uint16(0x0300 + 1 + int(text.split(".")[1]))


def make_context():
    method = pointer(call("TLS_method", result=pointer))
    context = pointer(call("SSL_CTX_new", method, result=pointer))
    if "early" in options:
        call("SSL_CTX_set_early_data_enabled", context, 1, result=None)
    return context


def make_session(context, sock):
    session = pointer(call("SSL_new", context, result=pointer))
    if now("min"):
        call("SSL_set_min_proto_version", session, version(now("min")))
    if now("max"):
        call("SSL_set_max_proto_version", session, version(now("max")))
    if now("groups"):
        call("SSL_set1_groups_list", session, now("groups").encode())
    if now("refuse"):
        call("SSL_set_early_data_enabled", session, 0, result=None)
    call("SSL_set_fd", session, sock.fileno())
    return session


def read(session):
    buffer = ctypes.create_string_buffer(10000)
    length = call("SSL_read", session, ctypes.cast(buffer, pointer), len(buffer))
    return buffer.raw[: max(length, 0)]


def write(session, data):
    return call("SSL_write", session, data, len(data))


def serve():
    global connections
    context = make_context()
    call("SSL_CTX_use_certificate_chain_file", context, second.encode())
    call("SSL_CTX_use_PrivateKey_file", context, second.encode(), 1)
    call("SSL_CTX_set_alpn_select_cb", context, ctypes.cast(select, pointer), None, result=None)
    call("SSL_CTX_set_current_time_cb", context, ctypes.cast(clock, pointer), result=None)
    call("SSL_CTX_set_session_id_context", context, b"test", ctypes.c_size_t(4))
    if "ciphers" in options:
        call("SSL_CTX_set_strict_cipher_list", context, options["ciphers"].encode())
    if "ca" in options:
        call("SSL_CTX_load_verify_locations", context, options["ca"].encode(), None)
        call("SSL_CTX_set_verify", context, 3, None, result=None)
    listener = socket.create_server(("127.0.0.1", int(first)))
    while True:
        sock, _ = listener.accept()
        connections += 1
        session = make_session(context, sock)
        if call("SSL_accept", session) == 1 and (line := read(session)):
            print("early", reason(session), flush=True)
            write(session, line.strip()[::-1] + b"\n")
            # The client says goodbye.
            read(session)
            call("SSL_shutdown", session)
            print("ok", flush=True)
        else:
            print("failed", why(), flush=True)
            leave(sock)
        call("SSL_free", session, result=None)
        sock.close()


def leave(sock):
    """Closes in good order: what the client sent after its Finished is not to be answered by a reset."""
    try:
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):
            pass
    except OSError:
        pass


# Four bytes would make a record as long as EndOfEarlyData, which the wire does not tell apart.
LINE = b"abcdef\n"


def connect(context):
    sock = socket.create_connection((first, int(second)))
    print("port", sock.getsockname()[1], flush=True)
    session = make_session(context, sock)
    name = options.get("name", "localhost").encode()
    call("SSL_set_tlsext_host_name", session, name)
    call("SSL_set1_host", session, name)
    if tickets:
        call("SSL_set_session", session, pointer(tickets[-1]))
    done = call("SSL_connect", session) == 1
    line = b""
    if done:
        write(session, LINE)
        line = read(session)
        if not line and call("SSL_get_error", session, -1) == EARLY_DATA_REJECTED:
            call("ERR_clear_error", result=None)
            call("SSL_reset_early_data_reject", session, result=None)
            if call("SSL_connect", session) == 1:
                write(session, LINE)
                line = read(session)
    if line == LINE.strip()[::-1] + b"\n":
        print("early", reason(session), flush=True)
        call("SSL_shutdown", session)
        read(session)
        print("ok", flush=True)
    else:
        print("failed", why(), flush=True)
    sock.close()
    call("SSL_free", session, result=None)


def talk():
    context = make_context()
    call("SSL_CTX_load_verify_locations", context, third.encode(), None)
    call("SSL_CTX_set_verify", context, 0 if "insecure" in options else 1, None, result=None)
    call("SSL_CTX_set_session_cache_mode", context, 1)
    call("SSL_CTX_sess_set_new_cb", context, ctypes.cast(keep, pointer), result=None)
    if "ciphers" in options:
        call("SSL_CTX_set_strict_cipher_list", context, options["ciphers"].encode())
    if "alpn" in options:
        names = [name.encode() for name in options["alpn"].split(",")]
        offer = b"".join(bytes([len(name)]) + name for name in names)
        call("SSL_CTX_set_alpn_protos", context, offer, ctypes.c_size_t(len(offer)))
    end = time.monotonic() + float(options.get("seconds", "0"))
    left = int(options.get("connections", "1"))
    while left > 0 or time.monotonic() < end:
        connect(context)
        left -= 1


serve() if role == "server" else talk()
