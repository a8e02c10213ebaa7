"""The fake server tells a mixed-up row from a right one."""

from __future__ import annotations

import numpy as np

from perturbcast_client import Condition, connect
from perturbcast_client.testing import FakeServer, fake_delta

GENES = ("A", "B", "C")


def test_fake_deltas_differ_by_perturbation_and_context_and_by_nothing_else():
    one = fake_delta(Condition.from_label("P+Q", "c"), GENES)
    np.testing.assert_array_equal(one, fake_delta(Condition.from_label("Q+P", "c"), GENES))
    for other in (Condition.from_label("P", "c"), Condition.from_label("P+Q", "d")):
        assert not np.isclose(one, fake_delta(other, GENES)).any()


def test_rows_do_not_depend_on_their_neighbours():
    asked = [Condition.from_label(name, "c") for name in "PQR"]
    with FakeServer() as server, connect(server.address) as client:
        together = client.predict("fake", asked).delta
        alone = [client.predict("fake", [condition]).delta[0] for condition in asked]
    np.testing.assert_array_equal(together, alone)


def test_two_servers_run_side_by_side():
    with FakeServer() as one, FakeServer() as two:
        assert one.address != two.address
        with connect(two.address) as client:
            client.predict("fake", [Condition.from_label("P", "c")])
        assert (len(one.requests), len(two.requests)) == (0, 1)
