"""How a service is doing, read from its Prometheus endpoint without any Prometheus installed."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping

__all__ = ["parse", "read", "table"]

PREFIX = "perturbcast_"
LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")
TIMEOUT_S = 10


def read(address: str) -> dict[str, float]:
    """The service's numbers at ``http://host:port/metrics``.

    Raises:
        ValueError: the address is no http address, nothing answers there, or what answers is no prediction service.
    """
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"--metrics: an http address; got {address!r}. For example http://127.0.0.1:9464/metrics.")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as reply:
            text = reply.read().decode()
    except OSError as error:
        raise ValueError(
            f"--metrics: the address that 'perturbcast serve --metrics-port' prints; {address} gives no numbers "
            f"({error}). Start the service with --metrics-port, or name its address."
        ) from error
    numbers = parse(text)
    if not numbers:
        raise ValueError(f"--metrics: {address} shows nothing of a prediction service. Start one with --metrics-port.")
    return numbers


def parse(text: str) -> dict[str, float]:
    """Counts, and of each histogram its count and mean; labels joined to the name, buckets left out."""
    values: dict[str, float] = {}
    for line in text.splitlines():
        found = LINE.match(line)
        if not found or not found["name"].startswith(PREFIX) or found["name"].endswith(("_bucket", "_created")):
            continue
        labels = re.findall(r'="((?:[^"\\]|\\.)*)"', found["labels"] or "")
        values[" ".join([found["name"][len(PREFIX) :], *labels])] = float(found["value"])
    numbers = {}
    for name, value in values.items():
        first, _, rest = name.partition(" ")
        tail = f" {rest}" if rest else ""
        if first.endswith("_sum"):
            count = values.get(f"{first[:-4]}_count{tail}", 0.0)
            numbers[f"{first[:-4]}_mean{tail}"] = value / count if count else 0.0
        else:
            numbers[name] = value
    return numbers


def table(numbers: Mapping[str, float]) -> str:
    """One line per number."""
    width = max(map(len, numbers))
    return "\n".join(f"{name:<{width}}  {value:g}" for name, value in sorted(numbers.items()))
