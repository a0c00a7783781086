"""Either end of gRPC (C-core). Arguments: server PORT CERTIFICATE [NAME=VALUE...] or
client ADDRESS CA [NAME=VALUE...]; names and values are C-core's channel arguments without "grpc.".

A client makes one call, or with calls=N so many, says "ready", and leaves when its connection is lost: "lost".
With `wait` it makes no call, and says "failed" when connecting failed. With stay=1 it stays until its input ends. A server says "listens".
"""

import sys
import threading
from concurrent import futures

import grpc

role, where, file = sys.argv[1:4]
given = dict(argument.split("=", 1) for argument in sys.argv[4:])
own = {name: given.pop(name) for name in ("wait", "stay", "calls") if name in given}
arguments = [("grpc." + name, int(value)) for name, value in given.items()]
with open(file, "rb") as pem:
    text = pem.read()


def serve():
    echo = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    handler = grpc.method_handlers_generic_handler("test.Echo", {"Call": echo})
    server = grpc.server(futures.ThreadPoolExecutor(2), options=arguments)
    server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(text, text)])
    server.add_secure_port(f"127.0.0.1:{where}", credentials)
    server.start()
    print("listens", flush=True)
    sys.stdin.readline()
    server.stop(None).wait()


def connect():
    credentials = grpc.ssl_channel_credentials(text)
    channel = grpc.secure_channel(where, credentials, arguments)
    states, ended = [], threading.Event()

    def changed(state):
        states.append(state)
        lost = grpc.ChannelConnectivity.READY in states and state is not grpc.ChannelConnectivity.READY
        if lost or state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            ended.set()

    channel.subscribe(changed, try_to_connect=True)
    if "wait" not in own:
        call = channel.unary_unary("/test.Echo/Call")
        for _ in range(int(own.get("calls", 1))):
            call(b"x" * 300, wait_for_ready=True)
        print("ready", flush=True)
    if "stay" in own:
        sys.stdin.readline()
    else:
        ended.wait()
        print("lost" if grpc.ChannelConnectivity.READY in states else "failed", flush=True)
    channel.close()


connect() if role == "client" else serve()
