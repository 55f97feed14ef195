"""`vocaffect bench`: how much a running server bears."""

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="Measure what is running.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Attach the commands to the command line."""
    app.add_typer(bench, name="bench")


@bench.callback()
def _bench() -> None:
    """Measure what is running."""


@bench.command()
def serve(
    url: Annotated[str, typer.Argument(help="The server's address.")] = "http://127.0.0.1:8000",
    streams: Annotated[int, typer.Option("--streams", "-n", min=1, max=10_000, help="Live streams at once.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to measure.")] = 10.0,
    audio: Annotated[Path | None, typer.Option(help="A clip to play; without one, a signal from a formula.")] = None,
    recognizer: Annotated[str | None, typer.Option("--recognizer", "-r", help="The name of a recogniser.")] = None,
    token: Annotated[str | None, typer.Option(envvar="VOCAFFECT_TOKEN", help="The server's token.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Load a running server with live streams of 100 ms chunks, and print how long the updates took.

    Examples:

        vocaffect bench serve --streams 100

        vocaffect bench serve https://voice.example.org -n 20 --audio clip.wav --json
    """  # noqa: D412
    import json

    from vocaffect.audio import read_clip
    from vocaffect.bundle import golden_signal
    from vocaffect.load import load

    samples = read_clip(audio).samples if audio else golden_signal(10.0)
    result = load(url, streams, seconds, samples, recognizer, token)
    numbers = result.to_dict()
    if as_json:
        typer.echo(json.dumps(numbers))
        return
    typer.echo(f"{numbers['admitted']} of {numbers['asked']} streams, {numbers['num_chunks']} chunks of 100 ms")
    if numbers["answered"]:
        typer.echo(f"from chunk to update: p50 {numbers['p50_ms']} ms, p99 {numbers['p99_ms']} ms")
    for code, count in numbers["refused"].items():
        typer.echo(f"refused: {count} ({code}), after {numbers['refused_after_max_ms']} ms at most")
    if numbers["lost"]:
        typer.echo(f"lost: {numbers['lost']}")
