"""Ends with 0 where the service in this container says SERVING: HEALTHCHECK, and %test of a running instance.

The standard health service takes no token. PERTURBCAST_ADDRESS is where it listens (127.0.0.1:50051); with
PERTURBCAST_CA, a file of PEM certificates, it is asked over TLS, by the name in PERTURBCAST_TLS_NAME where the
certificate is not made out to that address.
"""

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

address = os.environ.get("PERTURBCAST_ADDRESS", "127.0.0.1:50051")
authorities = os.environ.get("PERTURBCAST_CA")
if authorities:
    name = os.environ.get("PERTURBCAST_TLS_NAME")
    options = [("grpc.ssl_target_name_override", name)] if name else []
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(authorities).read_bytes()), options)
else:
    channel = grpc.insecure_channel(address)
try:
    reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
except grpc.RpcError as error:
    sys.exit(f"{address}: {error.code().name}: {error.details()}")
if reply.status != health_pb2.HealthCheckResponse.SERVING:
    sys.exit(f"{address}: {health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)}")
