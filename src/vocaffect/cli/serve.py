"""`vocaffect serve`: the live page and the API behind it."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Attach the command to the command line."""
    app.command()(serve)


def serve(
    recognizer: Annotated[
        list[str] | None,
        typer.Option(
            "--recognizer",
            "-r",
            help="A bundle, or a shipped name; of several, the first hears streams and the last files. "
            "[default: live, accurate]",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one. [default: 8000]")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name under which browsers may reach the server.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Another site whose pages may call the server.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="What callers must show. [default: one is made up where other machines can call]"),
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Let other machines call without a token.")
    ] = None,
    max_streams: Annotated[int | None, typer.Option(min=1, help="Live streams at once.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes behind the port.")] = None,
    on: Annotated[
        str | None, typer.Option(help="ray serves through Ray Serve, here; ray://host:10001 on a cluster.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the live page, `POST /v1/recognize` and `WS /v1/stream`.

    Examples:

        vocaffect serve --open

        vocaffect serve --recognizer my.onnx --port 9000

        vocaffect serve --recognizer live --recognizer my.onnx

        vocaffect serve --host 0.0.0.0 --allow-host studio.local
    """  # noqa: D412
    from vocaffect.server.settings import load_settings

    settings = load_settings(
        {
            "recognizers": recognizer,
            "host": host,
            "port": port,
            "token": token,
            "insecure": insecure,
            "max_streams": max_streams,
            "workers": workers,
            "allowed_hosts": allow_host,
            "allowed_origins": allow_origin,
        }
    )
    if on is not None:
        from vocaffect.replicas import run_replicas

        run_replicas(settings, on, announce=typer.echo)
    elif settings.workers > 1:
        from vocaffect.server.workers import run_workers

        run_workers(settings, announce=typer.echo)
    else:
        from vocaffect.server.run import run

        run(settings, announce=typer.echo, open_page=open_page)
