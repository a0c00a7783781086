"""Handshakes of GnuTLS, by its C interface, one after the other: HOST PORT CA SECONDS.

Prints "ok" or "failed NUMBER" for each.
"""

import ctypes
import socket
import sys
import time

gnutls = ctypes.CDLL("libgnutls.so.30")
host, port, ca, seconds = sys.argv[1:]
CLIENT, CERTIFICATE, PEM, WRITING = 2, 1, 1, 1

credentials = ctypes.c_void_p()
gnutls.gnutls_certificate_allocate_credentials(ctypes.byref(credentials))
gnutls.gnutls_certificate_set_x509_trust_file(credentials, ca.encode(), PEM)


def shake_hands():
    with socket.create_connection((host, int(port))) as sock:
        session = ctypes.c_void_p()
        gnutls.gnutls_init(ctypes.byref(session), CLIENT)
        gnutls.gnutls_set_default_priority(session)
        gnutls.gnutls_credentials_set(session, CERTIFICATE, credentials)
        gnutls.gnutls_session_set_verify_cert(session, host.encode(), 0)
        gnutls.gnutls_transport_set_int2(session, sock.fileno(), sock.fileno())
        result = gnutls.gnutls_handshake(session)
        print("ok" if result == 0 else f"failed {result}", flush=True)
        gnutls.gnutls_bye(session, WRITING)
        gnutls.gnutls_deinit(session)


end = time.monotonic() + float(seconds)
while time.monotonic() < end:
    shake_hands()
