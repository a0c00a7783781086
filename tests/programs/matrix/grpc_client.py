"""grpcio as a client: HOST PORT CA. Waits until its connection is ready or has failed; prints "ok" or "error TEXT"."""

import sys

import grpc

host, port, ca = sys.argv[1:]
with open(ca, "rb") as file:
    credentials = grpc.ssl_channel_credentials(file.read())
options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.enable_http_proxy", 0)]
with grpc.secure_channel(f"{host}:{port}", credentials, options) as channel:
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    try:
        check(b"", timeout=10)
        print("ok")
    except grpc.RpcError as error:
        print("error", error.code().name, error.details())
        sys.exit(1)
