"""``perturbcast serve models:/NAME@champion`` follows the alias in a real MLflow registry, without a restart."""

from __future__ import annotations

import time

import pytest

from perturbcast import tracking
from perturbcast.errors import UsageError
from perturbcast_client import Condition, ModelRef, connect

pytestmark = [
    pytest.mark.slow,
    # MLflow and SQLAlchemy deprecate among themselves; nothing of ours can mend it
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


def test_an_alias_that_moves_is_followed_and_can_move_back(registered, serve_process):
    made = registered()
    client, data, versions, folds = made.client, made.data, made.versions, made.folds
    assert tracking.current_version("models:/made@champion") == versions[0]
    with pytest.raises(UsageError, match="models:/made@beta does not"):
        tracking.current_version("models:/made@beta")
    asked = [Condition.from_label("G0", "c")]
    given = {"controls": {"c": [[1.0] * 6]}, "genes": data.genes}

    with serve_process("--model", "models:/made@champion", "--watch", "0.2") as (process, address):
        with connect(address, timeout_s=20) as asking:

            def wait_for(fold):
                until = time.monotonic() + 60
                while (answer := asking.predict("made", asked, **given)).version != versions[fold]:
                    assert time.monotonic() < until, f"still {answer.version}"
                    time.sleep(0.1)
                assert answer.fingerprint == folds[fold][2]

            wait_for(0)
            client.set_registered_model_alias("made", "champion", versions[1])
            wait_for(1)
            assert asking.predict(ModelRef("made", version=versions[0]), asked, **given).fingerprint == folds[0][2]
            client.set_registered_model_alias("made", "champion", versions[0])
            wait_for(0)
        process.terminate()
        assert process.wait(30) == 0
