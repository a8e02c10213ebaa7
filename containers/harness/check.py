"""The client of this image asks a server over a real channel: the %test of the image."""

from perturbcast_client import Condition, connect
from perturbcast_client.testing import FakeServer

with FakeServer() as server, connect(server.address) as client:
    answer = client.predict("fake", [Condition.from_label("A+B", "T cells")])
if answer.conditions != (Condition.from_label("A+B", "T cells"),):
    raise SystemExit(f"asked for A+B in T cells, got {answer.conditions}")
