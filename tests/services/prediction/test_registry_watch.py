"""A champion that moves is swapped in without a failed request; pinned versions and rollback keep working."""

from __future__ import annotations

import json
import math
import threading
import time

import pytest

from perturbcast import splits
from perturbcast.models.linear import Config
from perturbcast.training import fit
from perturbcast_client import Condition, ModelRef, UnknownModelError, connect
from prediction_service import registry_watch
from prediction_service.engine import Engine
from prediction_service.registry_watch import RegistryWatch, merged, warm
from prediction_service.served_model import ServedModel

IFNB = Condition.from_label("IFNB", "B cells")


@pytest.fixture
def registry(tmp_path):
    """Writes which version has which aliases, whole."""

    def write(versions):
        (tmp_path / "partial").write_text(json.dumps(versions))
        (tmp_path / "partial").replace(tmp_path / "registry.json")
        return str(tmp_path / "registry.json")

    return write


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def test_a_swap_under_load_fails_no_request_and_each_reply_names_its_version(start_service, registry):
    service = start_service(registry=registry({"1": ["champion"]}))
    answers, errors, done = [], [], threading.Event()

    def ask():
        with connect(service.address, timeout_s=20, attempts=1) as client:
            while not done.is_set():
                try:
                    answer = client.predict("known", [IFNB] * 3)
                    answers.append((answer.version, answer.fingerprint))
                except Exception as error:  # noqa: BLE001  # any at all is a failure of the test
                    errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    with connect(service.address, timeout_s=20) as client:
        for version in ("2", "1"):  # forward, and back again
            wait_for(lambda: len(answers) > 20)
            registry({version: ["champion"]})
            wait_for(lambda version=version: client.get_model("known").version == version)
            answers_before = len(answers)
            wait_for(lambda n=answers_before: len(answers) > n + 20)
        pinned = [client.predict(ModelRef("known", version=version), [IFNB]).version for version in ("1", "2")]
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert pinned == ["1", "2"]
    assert set(answers) == {("1", "1" * 64), ("2", "2" * 64)}, "a fingerprint goes with its version"
    assert "loaded known/2 and warmed it" in service.log
    assert service.log.count("loaded known/1") == 0, "rolling back loads nothing"


def test_a_version_that_cannot_be_loaded_changes_nothing(start_service, registry):
    service = start_service(registry=registry({"1": ["champion"]}))
    with connect(service.address, timeout_s=20) as client:
        registry({"broken": ["champion"]})
        wait_for(lambda: "stay as they are: this version is half-written" in service.log)
        assert client.predict("known", [IFNB]).version == "1"
        registry({"2": ["champion"]})
        wait_for(lambda: client.predict("known", [IFNB]).version == "2")


def make_served(version, *aliases, name="m", model=None):
    return ServedModel(name=name, version=version, aliases=aliases, model=model)


def versions(served):
    return [(one.version, one.aliases) for one in served]


def test_what_lost_its_alias_stays_without_it():
    before = [make_served("1", "champion")]
    assert versions(merged([make_served("2", "champion")], before)) == [("2", ("champion",)), ("1", ())]


def test_an_alias_that_reaches_a_pinned_version_is_one_model():
    wanted = [make_served("2", "champion"), make_served("2", "beta", "champion")]
    assert versions(merged(wanted, [])) == [("2", ("champion", "beta"))]


def test_the_newest_three_are_kept():
    served = []
    for version in "1234567":
        served = merged([make_served(version, "champion")], served)
    assert versions(served) == [("7", ("champion",)), ("6", ()), ("5", ()), ("4", ())]


def test_nothing_moved_is_nothing_done(known):
    engine = Engine([make_served("1", "champion", model=known)])
    seen = []

    def refresh(served):
        seen.append(served)

    assert not RegistryWatch(refresh=refresh, load=None, interval_s=1).look(engine)
    assert seen == [{("m", "champion"): "1"}]


def test_a_model_is_asked_once_before_it_is_served(known, tmp_path, serve_fake):
    model = serve_fake.KnownModel(tmp_path / "journal")
    warm(make_served("1", model=model))
    assert (tmp_path / "journal").read_text() == "IFNB in B cells\n"


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="every so many seconds; got 0"):
        RegistryWatch(refresh=None, load=None, interval_s=0)


def test_an_unknown_version_is_still_unknown(start_service, registry):
    service = start_service(registry=registry({"1": ["champion"]}))
    with connect(service.address, timeout_s=20) as client, pytest.raises(UnknownModelError):
        client.predict(ModelRef("known", version="9"), [IFNB])


@pytest.mark.parametrize(("limit_s", "quick"), [(math.inf, True), (0.0, False)])
def test_a_model_of_this_process_is_quick_by_the_clock(make_data, monkeypatch, limit_s, quick):
    data = make_data()
    split = splits.make(data, "unseen_context", seed=1)[0]
    model = fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0)
    monkeypatch.setattr(registry_watch, "QUICK_S", limit_s)
    warmed = warm(make_served("1", model=model))
    assert (warmed.quick, warmed.quick_intervals) == (quick, quick)


def test_a_model_can_be_quick_for_delta_alone(make_data, monkeypatch):
    data = make_data()
    split = splits.make(data, "unseen_context", seed=1)[0]
    model = fit(data, split, kind="linear", plugin="linear", config=Config(components=2), seed=0)
    clock_s = [0.0]

    def predict(_model, _conditions, *, levels=None):
        clock_s[0] += 0.006 if levels is None else 0.001

    monkeypatch.setattr(type(model), "predict", predict)
    monkeypatch.setattr(registry_watch.time, "thread_time", lambda: clock_s[0])
    warmed = warm(make_served("1", model=model))
    assert (warmed.quick, warmed.quick_intervals) == (True, False)


def test_a_model_that_is_elsewhere_is_never_quick(monkeypatch, known):
    monkeypatch.setattr(registry_watch, "QUICK_S", math.inf)
    assert not warm(make_served("1", model=known)).quick
