"""The commands for voice profiles: enrol, list, show, delete."""

from pathlib import Path
from typing import Annotated

import typer

from vocaffect.cli.recognize import RecognizerName
from vocaffect.cli.screen import new_table, show

Name = Annotated[str, typer.Argument(help="What the profile is called.")]


def register(app: typer.Typer) -> None:
    """Attach the commands."""
    room = typer.Typer(no_args_is_help=True, help="What a recogniser knows of voices, kept on this machine alone.")
    room.command("enrol")(enrol)
    room.command("list")(list_voices)
    room.command("show")(show_voice)
    room.command("delete")(delete_voice)
    app.add_typer(room, name="voice")


def enrol(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="One or two sentences of the voice.", metavar="FILE...")],
    recognizer: RecognizerName = "accurate",
    emotion: Annotated[str, typer.Option(help="What they express.")] = "neutral",
) -> None:
    """Get to know a voice by a sentence or two, and keep what is known under a name.

    A few dozen numbers are kept, from which no sound can be made.

    Example: `vocaffect voice enrol ada greeting.wav`
    """
    from vocaffect.recognizer import Recognizer
    from vocaffect.voices import profile_path, save_profile

    profile_path(name)
    loaded, voice = Recognizer.load(recognizer), None
    for file in files:
        voice = loaded.enrol(file, emotion, voice)
    assert voice is not None
    path = save_profile(name, voice)
    typer.echo(f"{name} is known to {voice.known:.0%} by {loaded.card.name}, kept in {path}")


def list_voices() -> None:
    """List the voices that are kept.

    Example: `vocaffect voice list`
    """
    from vocaffect.voices import load_profile, profile_names

    table = new_table("voice", "recogniser", "utterances", "known")
    for name in profile_names():
        voice = load_profile(name)
        table.add_row(name, voice.recognizer, f"{voice.num_utterances:.0f}", f"{voice.known:.0%}")
    show(table)


def show_voice(name: Name) -> None:
    """Show all that is kept of a voice.

    Example: `vocaffect voice show ada`
    """
    from vocaffect.voices import load_profile

    typer.echo(load_profile(name).to_json())


def delete_voice(name: Name) -> None:
    """Forget a voice.

    Example: `vocaffect voice delete ada`
    """
    from vocaffect.voices import delete_profile

    delete_profile(name)
    typer.echo(f"{name} is forgotten")
