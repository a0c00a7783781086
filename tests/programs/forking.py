"""Processes that live for one connection.

server PORT CERTIFICATE             forks for each connection; answers lines by their reverse
client HOST PORT CA NUMBER PARALLEL so many connections, so many at once: each is made by a child of fork() or by
                                    `openssl s_client`, in turns

The client prints "ok" or "error TEXT" for each connection; the server what went wrong.
"""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading

role, *arguments = sys.argv[1:]


def answer(sock, context):
    with context.wrap_socket(sock, server_side=True) as tls:
        while line := tls.recv(100):
            tls.sendall(line.strip()[::-1] + b"\n")
        tls.unwrap()


def serve(port, certificate):
    # Children are nobody's to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=100)
    while True:
        sock, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            status = 0
            try:
                answer(sock, context)
            except Exception as error:
                # That the client is gone already is no failure.
                if not isinstance(error, (ConnectionResetError, BrokenPipeError)):
                    print("error", error, flush=True)
                    status = 1
            os._exit(status)
        sock.close()


def shake_hands(host, port, context):
    with socket.create_connection((host, port)) as sock:
        with context.wrap_socket(sock, server_hostname=host) as tls:
            tls.sendall(b"abc\n")
            assert tls.recv(100) == b"cba\n"
            tls.unwrap()


def fork(host, port, ca, context):
    child = os.fork()
    if child == 0:
        try:
            shake_hands(host, port, context)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def execute(host, port, ca, context):
    command = f"openssl s_client -quiet -no_ign_eof -verify_return_error -CAfile {ca} -connect {host}:{port}"
    finished = subprocess.run(command.split(), stdin=subprocess.DEVNULL, capture_output=True)
    return finished if finished.returncode else 0


def talk(host, port, ca, number, parallel):
    context = ssl.create_default_context(cafile=ca)
    numbers = iter(range(int(number)))
    turn = threading.Lock()

    def take():
        while True:
            with turn:
                mine = next(numbers, None)
            if mine is None:
                return
            act = (fork, execute)[mine % 2]
            status = act(host, int(port), ca, context)
            with turn:
                print("ok" if status == 0 else f"error {act.__name__}: {status}", flush=True)

    threads = [threading.Thread(target=take) for _ in range(int(parallel))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


serve(*arguments) if role == "server" else talk(*arguments)
