"""The Prometheus endpoint counts what happened, log lines are JSON with request ids, and the client reads both ends."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import grpc
import pytest

from perturbcast_client import (
    Condition,
    DefectError,
    InvalidRequestError,
    ResourceExhaustedError,
    UnauthenticatedError,
    Wanted,
    cli,
    connect,
    stats,
)

IFNB = Condition.from_label("IFNB", "B cells")
TOKEN = "0123456789abcdef0123456789abcdef"


def metrics_address(service):
    return re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", service.log)[1]


@pytest.fixture(scope="module")
def watched(start_service, tmp_path_factory):
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(TOKEN)
    return start_service(
        config={"metrics_port": 0}, limits={"max_conditions": 5}, log="json", security={"token_file": str(tokens)}
    )


@pytest.fixture(scope="module")
def numbers(watched):
    """What the endpoint says after calls of every kind."""
    with connect(watched.address, token=TOKEN, timeout_s=20) as client:
        client.list_models()
        for n in (1, 3):
            client.predict("known", [IFNB] * n, request_id=f"mine-{n}")
        list(client.predict_stream("known", [IFNB] * 4, chunk_size=2))
        with pytest.raises(InvalidRequestError):
            client.predict("known", [IFNB], wanted=Wanted(interval_level=0.8))
        with pytest.raises(ResourceExhaustedError):
            client.predict("known", [IFNB] * 6)
        with pytest.raises(DefectError):
            client.predict("known", [Condition.from_label("BROKEN", "B cells")])
    with connect(watched.address, timeout_s=20) as stranger, pytest.raises(UnauthenticatedError):
        stranger.predict("known", [IFNB])
    with grpc.insecure_channel(watched.address) as channel:
        for name in ("Invented1", "Invented2"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(f"/perturbcast.prediction.v1.PredictionService/{name}")(b"", timeout=20)
    return stats.read(metrics_address(watched))


def test_calls_are_counted_by_method_and_status(numbers):
    requests = {name.split(" ", 1)[1]: n for name, n in numbers.items() if name.startswith("requests_total ")}
    assert requests == {
        "ListModels OK": 1,
        "Predict OK": 2,
        "PredictStream OK": 1,
        "Predict INVALID_ARGUMENT": 1,
        "Predict RESOURCE_EXHAUSTED": 1,
        "Predict INTERNAL": 1,
        "Predict UNAUTHENTICATED": 1,
        "other UNAUTHENTICATED": 2,  # a stranger cannot invent labels
    }
    assert numbers["rejected_total UNAUTHENTICATED"] == 3
    assert numbers["rejected_total RESOURCE_EXHAUSTED"] == 1


def test_batches_are_counted_by_their_conditions(numbers):
    # 1, 3, 2, 2, and the broken one
    assert numbers["batch_conditions_count"] == 5
    assert numbers["batch_conditions_mean"] == pytest.approx(9 / 5)
    assert numbers["request_seconds_count Predict"] == 6
    assert 0 < numbers["request_seconds_mean Predict"] < 10


def test_what_waits_is_shown(numbers):
    assert (numbers["waiting_conditions"], numbers["calls"]) == (0, 0)


def test_log_lines_are_json_with_the_id_of_their_request(watched, numbers):
    lines = [json.loads(line) for line in watched.log.splitlines()]
    (mine,) = [line for line in lines if line.get("request_id") == "mine-3"]
    assert (mine["level"], mine["conditions"], mine["model"]) == ("INFO", 3, "known/3")
    assert set(mine["timings_ms"]) == {"queue", "decode", "model", "encode"}
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00$", mine["time"])
    (defect,) = [line for line in lines if "defect" in line]
    assert re.fullmatch("[0-9a-f]{32}", defect["defect"])
    assert "RuntimeError: a secret of the model" in defect["trace"]
    assert TOKEN not in watched.log


def test_stats_of_the_command_line(watched, numbers, capsys):
    assert cli.main(["stats", "--metrics", metrics_address(watched)]) == 0
    assert re.search(r"^requests_total Predict OK +2$", capsys.readouterr().out, flags=re.MULTILINE)
    assert cli.main(["stats", "--metrics", metrics_address(watched), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests_total Predict OK"] == 2


@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:1", "--metrics: an http address; got '127.0.0.1:1'"), ("http://127.0.0.1:1/metrics", "refused")],
    ids=["no-http", "nobody"],
)
def test_stats_of_nothing_is_one_message(address, says, capsys):
    assert cli.main(["stats", "--metrics", address]) == 1
    assert says in capsys.readouterr().err


def test_without_a_port_there_is_no_endpoint(service):
    assert "metrics at" not in service.log


def test_metrics_end_with_the_server(start_service):
    service = start_service(config={"metrics_port": 0})
    address = metrics_address(service)
    service.process.terminate()
    assert service.process.wait(20) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)


def test_a_histogram_is_shown_by_count_and_mean():
    text = (
        "# HELP perturbcast_x x\n# TYPE perturbcast_x histogram\n"
        'perturbcast_x_bucket{le="1.0",method="P"} 1.0\nperturbcast_x_count{method="P"} 4.0\n'
        'perturbcast_x_sum{method="P"} 6.0\nperturbcast_x_created{method="P"} 1e9\nprocess_x 5\n'
        'perturbcast_y_count{method="P"} 0.0\nperturbcast_y_sum{method="P"} 0.0\n'
    )
    assert stats.parse(text) == {"x_count P": 4, "x_mean P": 1.5, "y_count P": 0, "y_mean P": 0}
