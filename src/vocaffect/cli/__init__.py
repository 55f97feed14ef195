"""The command line: it parses, calls the library, and prints."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vocaffect import __version__
from vocaffect.errors import VocaffectError


def build_app() -> typer.Typer:
    """The command line with all its commands."""
    from vocaffect.cli import (
        bench,
        cache,
        compare,
        data,
        encoders,
        ensemble,
        models,
        posteriors,
        recognize,
        serve,
        sweep,
        train,
        trained,
        voice,
    )

    app = typer.Typer(
        name="vocaffect",
        help="Recognise emotion in speech: train, measure honestly, pack into one file, run anywhere.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for room in (
        recognize,
        data,
        cache,
        train,
        trained,
        posteriors,
        sweep,
        ensemble,
        compare,
        models,
        encoders,
        voice,
        serve,
        bench,
    ):
        room.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake in the input is one sentence on stderr and exit code 2."""
    try:
        build_app()(args=list(arguments) if arguments is not None else None)
    except VocaffectError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        from vocaffect.plugins import blame

        sentence = blame(error)
        if sentence is None:
            raise
        typer.echo(f"error: {sentence}", err=True)
        sys.exit(2)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vocaffect {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
