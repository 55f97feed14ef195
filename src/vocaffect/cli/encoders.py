"""The commands for pretrained encoders: fetch one, list them."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from vocaffect.cli.screen import new_table, progress_bar, show
from vocaffect.errors import VocaffectError


def register(app: typer.Typer) -> None:
    """Attach the commands."""
    room = typer.Typer(no_args_is_help=True, help="Pretrained speech encoders: fetch one, list them.")
    room.command("fetch")(fetch_encoder)
    room.command("list")(list_encoders)
    app.add_typer(room, name="encoders")


def fetch_encoder(
    name: Annotated[str, typer.Argument(help="A known name, or owner/name on the Hugging Face hub.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A file (of the hub: a folder) that you have, in place of the network."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of a repository on the hub.")] = None,
) -> None:
    """Bring a pretrained encoder to this machine, checked by its hash.

    Examples: `vocaffect encoders fetch moonshine-base`, `vocaffect encoders fetch moonshine-base --from encoder.onnx`,
    `vocaffect encoders fetch microsoft/wavlm-base-plus`
    """
    _require_torch()
    from vocaffect.encoders.store import fetch

    with progress_bar(f"fetching {name}", in_bytes=True) as advance:
        place = fetch(name, source, revision=revision, progress=advance)
    typer.echo(f"{name} lies in {place}")


def list_encoders() -> None:
    """List the encoders that are known by name, and those of the hub that are here.

    Example: `vocaffect encoders list`
    """
    _require_torch()
    from vocaffect.encoders.store import KNOWN, here, place_of

    present = here()
    table = new_table("encoder", "licence", "where", "what it is")
    for name in [*KNOWN, *(name for name in present if name not in KNOWN)]:
        known = KNOWN.get(name)
        where = str(place_of(name)) if name in present else f"not here: vocaffect encoders fetch {name}"
        table.add_row(name, known.licence if known else "see the hub", where, known.about if known else "from the hub")
    show(table)


def _require_torch() -> None:
    if find_spec("torch") is None:
        raise VocaffectError("encoders need torch: pip install 'vocaffect[train,encoders]'")
