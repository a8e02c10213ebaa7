"""Command ``serve``: start the gRPC prediction service on registered models or model directories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from perturbcast import catalog
from perturbcast.errors import UsageError


def command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="models:/NAME@champion, models:/NAME/VERSION, or a model directory; repeat to serve several."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback unless you mean it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 50051,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate chain; turns TLS on.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key of the certificate.")] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="PEM certificates; only clients with a certificate signed by one get through.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Bearer tokens, one per line; every call but health brings one.")
    ] = None,
    allow_public_plain_text: Annotated[
        bool,
        typer.Option("--allow-public-plain-text", help="Bind a public address without TLS or without tokens."),
    ] = False,
    max_message_mib: Annotated[int, typer.Option(help="Largest request and reply, MiB.")] = 64,
    max_conditions: Annotated[int, typer.Option(help="Most conditions of a request or a chunk of a stream.")] = 10_000,
    max_cells: Annotated[int, typer.Option(help="Most control cells of a request.")] = 200_000,
    max_concurrent: Annotated[
        int, typer.Option(help="Calls let in at the same time; further ones are told when to ask again.")
    ] = 128,
    workers: Annotated[int, typer.Option(help="Batches that are computed at the same time.")] = 2,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of the Prometheus endpoint on loopback; 0 takes a free one.")
    ] = None,
    log_format: Annotated[str, typer.Option(help="Log lines as text or json.")] = "text",
    backend: Annotated[
        str, typer.Option(help="inprocess, or torchserve: predictions are made by a TorchServe that this starts.")
    ] = "inprocess",
    torchserve_python: Annotated[
        Path | None, typer.Option(help="Python of the environment of TorchServe (services/torchserve/README.md).")
    ] = None,
    watch: Annotated[
        float, typer.Option(help="Seconds between looks at the registry for aliases that have moved; 0 never looks.")
    ] = 10.0,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written with the bound address once requests are answered.")
    ] = None,
    grace: Annotated[float, typer.Option(help="Seconds that requests in flight have to finish after SIGTERM.")] = 30.0,
    idle: Annotated[
        float, typer.Option(help="Seconds that a call may hold its place before its next message comes.")
    ] = 60.0,
) -> None:
    """Serve predictions over gRPC, with health checks and reflection, until SIGTERM or Ctrl-C.

    perturbcast serve --model models:/kang2018-unseen_context@champion --port 50051

    grpcurl -plaintext 127.0.0.1:50051 perturbcast.prediction.v1.PredictionService/ListModels
    """
    if not model:
        raise UsageError("A server answers for at least one model; none was named. Add --model models:/NAME@champion.")
    if not watch >= 0:
        raise UsageError(
            f"The registry is looked at every so many seconds, 0 for never; got {watch:g}. Give 0 or more."
        )
    run = catalog.service("prediction")
    follows = watch > 0 and any("@" in address for address in model)
    run(
        [_source(address) for address in model],
        host=host,
        port=port,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        client_ca=client_ca,
        token_file=token_file,
        allow_public_plain_text=allow_public_plain_text,
        max_message_mib=max_message_mib,
        max_conditions=max_conditions,
        max_cells=max_cells,
        max_concurrent=max_concurrent,
        workers=workers,
        metrics_port=metrics_port,
        log_format=log_format,
        ready_file=ready_file,
        grace_s=grace,
        idle_s=idle,
        backend=backend,
        torchserve_python=torchserve_python,
        refresh=_refresher(model) if follows else None,
        watch_s=watch,
    )


def _refresher(addresses: Sequence[str]) -> Callable[[Mapping[tuple[str, str], str]], list[dict[str, object]] | None]:
    """What tells the sources anew when an alias is not the version that is served; files are fetched only then."""
    from perturbcast.tracking import current_version

    aliased = [address for address in addresses if address.startswith("models:/") and "@" in address]

    def refresh(served: Mapping[tuple[str, str], str]) -> list[dict[str, object]] | None:
        for address in aliased:
            name, _, alias = address.removeprefix("models:/").partition("@")
            if served.get((name, alias)) != current_version(address):
                return [_source(address) for address in addresses]
        return None

    return refresh


def _source(address: str) -> dict[str, object]:
    """Name, version, aliases, directory and validation metrics of what an address stands for."""
    if not address.startswith("models:/"):
        return {
            "name": Path(address).name,
            "version": "",
            "aliases": (),
            "directory": Path(address),
            "validation_metrics": {},
        }
    from perturbcast.tracking import resolve  # mlflow takes a second to import; a directory does not need it

    found = resolve(address)
    return {
        "name": found.name,
        "version": found.version,
        "aliases": found.aliases,
        "directory": found.directory,
        "validation_metrics": dict(found.validation_metrics),
    }
