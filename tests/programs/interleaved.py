"""Many handshakes at once in one thread, step by step in turn. Arguments: HOST PORT CA NAME...

One connection for each NAME, which is what its certificate is checked for. Prints "NAME RESULT" for each.
"""

import select
import socket
import ssl
import sys

host, port, ca, *names = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
waiting = []
for name in names:
    sock = socket.create_connection((host, int(port)))
    sock.setblocking(False)
    tls = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
    waiting.append((name, tls))
while waiting:
    for name, tls in list(waiting):
        try:
            tls.do_handshake()
            print(name, "ok")
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            continue
        except OSError as error:
            print(name, error)
        tls.close()
        waiting.remove((name, tls))
    select.select([tls for _, tls in waiting], [], [], 0.1)
