"""TLS 1.3 early data with OpenSSL, by its C interface: Python's own has none.

server PORT CERTIFICATE [NAME=VALUE...]    one connection after the other; answers a line by its reverse
client HOST PORT CA [NAME=VALUE...]        a first connection for the ticket, then one with early data

Of the server, from the second connection on: max (max_early_data), read=0 (never reads early data),
deny=1 (its callback says no), alpn, groups, recv (limit of what it takes); of all connections
stateless=1 (nothing against replays), sni=1 (acknowledges server names).
Of the client: alpn; name, age=SECONDS, size=BYTES of the second connection; again=1 (a third connection
with the same ticket); wait=1 (says "ticket" and waits for a line before the second);
force=1 (makes the session one for the new name).
The client prints "port PORT" for each connection, and "early data STATUS resumed RESUMED" for each after
the first.
"""

import ctypes
import socket
import sys

ssl = ctypes.CDLL("libssl.so.3")
crypto = ctypes.CDLL("libcrypto.so.3")
for function in (
    "SSL_CTX_new TLS_server_method TLS_client_method SSL_new SSL_get1_session SSL_SESSION_dup".split()
):
    getattr(ssl, function).restype = ctypes.c_void_p
ssl.SSL_SESSION_get_time.restype = ctypes.c_long

SET_GROUPS_LIST, SET_HOSTNAME, SET_MIN_PROTO, SET_MAX_PROTO = 92, 55, 123, 124
SET_SERVERNAME_CALLBACK, NO_ANTI_REPLAY = 53, 1 << 24
SELECTED, NONE = 0, 3
FINISH = 2
STATUS = ["not sent", "rejected", "accepted"]

role, first, second, third = sys.argv[1:5] if sys.argv[1] == "client" else [*sys.argv[1:4], None]
options = dict(
    argument.split("=", 1) for argument in sys.argv[5 if role == "client" else 4 :]
)
context = ctypes.c_void_p(
    ssl.SSL_CTX_new(
        ctypes.c_void_p(ssl.TLS_client_method() if role == "client" else ssl.TLS_server_method())
    )
)


def alpn_list(names):
    return b"".join(bytes([len(name)]) + name.encode() for name in names.split(","))


def why():
    text = ctypes.create_string_buffer(256)
    crypto.ERR_error_string_n(crypto.ERR_get_error(), text, 256)
    return text.value.decode()


def read(session):
    buffer = ctypes.create_string_buffer(100000)
    length = ssl.SSL_read(session, buffer, len(buffer))
    return buffer.raw[: max(length, 0)]


@ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ubyte),
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_void_p,
)
def select(_, selected, length, offered, size, __):
    offer = ctypes.string_at(offered, size)
    wanted = later("alpn", offer[1 : 1 + offer[0]].decode()).encode()
    at = offer.find(bytes([len(wanted)]) + wanted)
    if at < 0:
        return NONE
    selected[0], length[0] = offered + at + 1, len(wanted)
    return SELECTED


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
def acknowledge(_, __, ___):
    return 0


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def allow(_, __):
    return 0 if later("deny") else 1


connections = 0


def later(name, otherwise=None):
    """An option that counts from the second connection on."""
    return options.get(name, otherwise) if connections > 1 else otherwise


def serve():
    global connections
    ssl.SSL_CTX_use_certificate_chain_file(context, second.encode())
    ssl.SSL_CTX_use_PrivateKey_file(context, second.encode(), 1)
    ssl.SSL_CTX_set_alpn_select_cb(context, select, None)
    ssl.SSL_CTX_set_allow_early_data_cb(context, allow, None)
    if "stateless" in options:
        ssl.SSL_CTX_set_options(context, ctypes.c_uint64(NO_ANTI_REPLAY))
    if "sni" in options:
        ssl.SSL_CTX_callback_ctrl(context, SET_SERVERNAME_CALLBACK, acknowledge)
    # Resumption needs a name for what the session was for.
    ssl.SSL_CTX_set_session_id_context(context, b"test", 4)
    listener = socket.create_server(("127.0.0.1", int(first)))
    while True:
        sock, _ = listener.accept()
        connections += 1
        session = ctypes.c_void_p(ssl.SSL_new(context))
        ssl.SSL_set_max_early_data(session, int(later("max", 16384)))
        ssl.SSL_set_recv_max_early_data(session, int(later("recv", 16384)))
        if later("groups"):
            ssl.SSL_ctrl(session, SET_GROUPS_LIST, 0, later("groups").encode())
        ssl.SSL_set_fd(session, sock.fileno())
        answer(session)
        ssl.SSL_shutdown(session)
        # The client closes first.
        sock.recv(1)
        ssl.SSL_free(session)
        sock.close()


def answer(session):
    line = b""
    if later("read") is None:
        buffer, length = ctypes.create_string_buffer(20000), ctypes.c_size_t()
        while True:
            result = ssl.SSL_read_early_data(session, buffer, len(buffer), ctypes.byref(length))
            if result == 0:
                return print("error", why(), flush=True)
            line += buffer.raw[: length.value]
            if result == FINISH:
                break
    if ssl.SSL_accept(session) != 1:
        return print("error", why(), flush=True)
    print("early data", STATUS[ssl.SSL_get_early_data_status(session)], flush=True)
    line = line or read(session)
    reply = line.strip()[::-1] + b"\n"
    ssl.SSL_write(session, reply, len(reply))
    read(session)


def connect(ticket, name):
    sock = socket.create_connection((first, int(second)))
    print("port", sock.getsockname()[1], flush=True)
    session = ctypes.c_void_p(ssl.SSL_new(context))
    ssl.SSL_set_fd(session, sock.fileno())
    ssl.SSL_ctrl(session, SET_HOSTNAME, 0, name.encode())
    data = b"abc".rjust(int(options.get("size", "3"))) + b"\n"
    written = ctypes.c_size_t()
    if ticket:
        ssl.SSL_set_session(session, ticket)
        if ssl.SSL_write_early_data(session, data, len(data), ctypes.byref(written)) != 1:
            print("error", why(), flush=True)
            return sock.close()
    status = "failed"
    if ssl.SSL_connect(session) == 1:
        status = STATUS[ssl.SSL_get_early_data_status(session)]
        if status != "accepted":
            ssl.SSL_write(session, data, len(data))
        # The tickets come before the answer.
        reply = read(session)
        if not reply.endswith(b"\n"):
            status = "failed " + why()
    else:
        status = "failed " + why()
    if ticket:
        print("early data", status, "resumed", ssl.SSL_session_reused(session), flush=True)
    ssl.SSL_shutdown(session)
    if "failed" not in status:
        read(session)
    taken = ctypes.c_void_p(ssl.SSL_get1_session(session))
    sock.close()
    ssl.SSL_free(session)
    return taken


def call():
    ssl.SSL_CTX_load_verify_locations(context, third.encode(), None)
    ssl.SSL_CTX_set_verify(context, 1, None)
    ssl.SSL_CTX_ctrl(context, SET_MIN_PROTO, 0x0304, None)
    if "alpn" in options:
        protocols = alpn_list(options["alpn"])
        ssl.SSL_CTX_set_alpn_protos(context, protocols, len(protocols))
    ticket = connect(None, "localhost")
    if "wait" in options:
        print("ticket", flush=True)
        sys.stdin.readline()
    if "age" in options:
        ssl.SSL_SESSION_set_time(
            ticket, ctypes.c_long(ssl.SSL_SESSION_get_time(ticket) - int(options["age"]))
        )
    name = options.get("name", "localhost")
    if "force" in options:
        ssl.SSL_SESSION_set1_hostname(ticket, name.encode())
    copy = ctypes.c_void_p(ssl.SSL_SESSION_dup(ticket))
    connect(ticket, name)
    if "again" in options:
        connect(copy, name)


serve() if role == "server" else call()
