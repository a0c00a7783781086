"""Ground truth for `tls-trace inspect`: asks a library's accessors, in this process.

    offsets.py LIBSSL LIBCRYPTO < findings.json

Standard input has what was found: {"ssl.version": {"path": [72], "width": 4}, ...}. A pattern is
written to where a member is said to be, and its accessor has to return it; what cannot be written is
compared. Prints `right NAME` or `wrong NAME` for each. Libraries that are linked into others have no
dynamic symbols: theirs are looked up in .symtab.
"""
import ctypes
import json
import os
import struct
import sys

POINTER, INT, LONG = ctypes.c_void_p, ctypes.c_uint, ctypes.c_ulong


class Library:
    def __init__(self, path):
        self.dynamic = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        with open("/proc/self/maps") as maps:
            starts = [line.split("-")[0] for line in maps if line.rstrip().endswith(path)]
        self.base = int(starts[0], 16)
        self.symbols = dict(functions(path))

    def has(self, name):
        return name in self.symbols or hasattr(self.dynamic, name)

    def call(self, name, result, *arguments):
        kinds = [POINTER if argument is None else type(argument) for argument in arguments]
        kinds = [INT if kind is int else kind for kind in kinds]
        if hasattr(self.dynamic, name):
            function = getattr(self.dynamic, name)
            function.restype, function.argtypes = result, kinds
        else:
            address = self.base + self.symbols[name]
            function = ctypes.CFUNCTYPE(result, *kinds)(address)
        return function(*arguments)


def functions(path):
    with open(path, "rb") as file:
        elf = file.read()
    (table,) = struct.unpack_from("<Q", elf, 40)
    (count,) = struct.unpack_from("<H", elf, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + 64 * i) for i in range(count)]
    for _, kind, _, _, offset, size, link, _, _, _ in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        strings = sections[link][4]
        for at in range(offset, offset + size, 24):
            name, info, _, section, value, _ = struct.unpack_from("<IBBHQQ", elf, at)
            if info & 15 == 2 and section:
                start = strings + name
                yield elf[start : elf.index(b"\0", start)].decode(), value


def place(base, path):
    for offset in path[:-1]:
        base = ctypes.c_uint64.from_address(base + offset).value
    return base + path[-1]


def returns(library, base, found, accessor, kind):
    """Write, ask, restore."""
    at = kind.from_address(place(base, found["path"]))
    before, pattern = at.value, 0x5A3C17 + found["path"][-1]
    at.value = pattern
    said = library.call(accessor, kind, POINTER(base))
    at.value = before
    return said == pattern


def main():
    ssl, crypto = Library(sys.argv[1]), Library(sys.argv[2])
    found = json.load(sys.stdin)
    context = ssl.call("SSL_CTX_new", POINTER, POINTER(ssl.call("TLS_method", POINTER)))
    connection = ssl.call("SSL_new", POINTER, POINTER(context))
    session = ssl.call("SSL_SESSION_new", POINTER)
    memory = POINTER(crypto.call("BIO_s_mem", POINTER))
    bio = crypto.call("BIO_new", POINTER, memory)
    verdicts = {}

    simple = [
        ("ssl.version", "SSL_version", connection, INT),
        ("ssl.rbio", "SSL_get_rbio", connection, POINTER),
        ("ssl.server", "SSL_is_server", connection, INT),
        ("ssl.shutdown", "SSL_get_shutdown", connection, INT),
        ("ssl.hand_state", "SSL_get_state", connection, INT),
        ("ssl.in_init", "SSL_in_init", connection, INT),
        ("ssl.hit", "SSL_session_reused", connection, INT),
        ("ssl.session", "SSL_get_session", connection, POINTER),
        ("ssl.verify_result", "SSL_get_verify_result", connection, LONG),
        ("ssl.early_data", "SSL_get_early_data_status", connection, INT),
        ("session.version", "SSL_SESSION_get_protocol_version", session, INT),
        ("session.cipher", "SSL_SESSION_get0_cipher", session, POINTER),
        ("session.max_early_data", "SSL_SESSION_get_max_early_data", session, INT),
        ("bio.init", "BIO_get_init", bio, INT),
        ("bio.ptr", "BIO_get_data", bio, POINTER),
        ("bio.next", "BIO_next", bio, POINTER),
    ]
    for name, accessor, base, kind in simple:
        library = crypto if name.startswith("bio.") else ssl
        if name in found and library.has(accessor):
            verdicts[name] = returns(library, base, found[name], accessor, kind)

    def known(name, accessor):
        return name in found and ssl.has(accessor)

    if known("ssl.state", "SSL_in_before"):
        state = INT.from_address(place(connection, found["ssl.state"]["path"]))
        before = ssl.call("SSL_in_before", INT, POINTER(connection))
        state.value += 1
        after = ssl.call("SSL_in_before", INT, POINTER(connection))
        state.value -= 1
        verdicts["ssl.state"] = (before, after) == (1, 0)
    for name in ["client_random", "server_random"]:
        if known(f"ssl.{name}", f"SSL_get_{name}"):
            pattern = os.urandom(32)
            ctypes.memmove(place(connection, found[f"ssl.{name}"]["path"]), pattern, 32)
            out = ctypes.create_string_buffer(32)
            ssl.call(f"SSL_get_{name}", LONG, POINTER(connection), POINTER(ctypes.addressof(out)), LONG(32))
            verdicts[f"ssl.{name}"] = out.raw == pattern
    if known("ssl.alpn_selected", "SSL_get0_alpn_selected") and "ssl.alpn_selected_len" in found:
        at = POINTER.from_address(place(connection, found["ssl.alpn_selected"]["path"]))
        length_at = LONG.from_address(place(connection, found["ssl.alpn_selected_len"]["path"]))
        at.value, length_at.value = 0x5A5A5A, 0x1234
        out, length = POINTER(), INT()
        addresses = [POINTER(ctypes.addressof(each)) for each in (out, length)]
        ssl.call("SSL_get0_alpn_selected", None, POINTER(connection), *addresses)
        verdicts["ssl.alpn_selected"] = out.value == 0x5A5A5A
        verdicts["ssl.alpn_selected_len"] = length.value == 0x1234
        at.value, length_at.value = None, 0
    if known("ssl.alpn_len", "SSL_set_alpn_protos"):
        at = LONG.from_address(place(connection, found["ssl.alpn_len"]["path"]))
        protocols = ctypes.create_string_buffer(b"\x02h2\x08http/1.1")
        address = POINTER(ctypes.addressof(protocols))
        ssl.call("SSL_set_alpn_protos", INT, POINTER(connection), address, INT(12))
        verdicts["ssl.alpn_len"] = at.value == 12
    if known("cipher.id", "SSL_CIPHER_get_id"):
        ciphers = ssl.call("SSL_get_ciphers", POINTER, POINTER(connection))
        right = True
        for index in range(crypto.call("OPENSSL_sk_num", INT, POINTER(ciphers))):
            cipher = crypto.call("OPENSSL_sk_value", POINTER, POINTER(ciphers), INT(index))
            at = INT.from_address(place(cipher, found["cipher.id"]["path"])).value
            right &= at == ssl.call("SSL_CIPHER_get_id", INT, POINTER(cipher))
        verdicts["cipher.id"] = right
    if "bio.type" in found:
        at = INT.from_address(place(bio, found["bio.type"]["path"])).value
        verdicts["bio.type"] = at == crypto.call("BIO_method_type", INT, POINTER(bio))
    if "bio.num" in found and crypto.has("BIO_new_socket"):
        # It has no accessor, but a socket's BIO keeps its descriptor there.
        socket = crypto.call("BIO_new_socket", POINTER, INT(77), INT(0))
        at = INT.from_address(place(socket, found["bio.num"]["path"])).value
        verdicts["bio.num"] = at == 77
    for name, right in verdicts.items():
        print("right" if right else "wrong", name)
    sys.stdout.flush()
    # Nothing is freed: its members were written over.
    os._exit(0)


main()
