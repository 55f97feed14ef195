"""`vocaffect recognize` and `vocaffect listen`: files and live sound through a recogniser."""

import csv
import glob
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vocaffect.errors import VocaffectError

if TYPE_CHECKING:
    from vocaffect.recognizer import Recognition, Recognizer
    from vocaffect.stream import Segment, Update
    from vocaffect.voices import VoiceProfile

SUFFIXES = {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".wav", ".webm"}
"""What a folder's clips are recognised by; a file that is named is read whatever its name ends in."""

_BAR_WIDTH = 30

RecognizerName = Annotated[
    str, typer.Option("--recognizer", "-r", help="A bundle, or the name of a shipped recogniser.")
]


def register(app: typer.Typer) -> None:
    """Attach the commands to the command line."""
    app.command()(recognize)
    app.command()(listen)


def recognize(
    files: Annotated[list[str], typer.Argument(help="Audio files, folders of them, or patterns like 'calls/*.wav'.")],
    recognizer: RecognizerName = "accurate",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each file.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A CSV table, one row for each file.")] = False,
    session: Annotated[
        bool, typer.Option("--session", help="The files are of one voice, in this order: know it better with each.")
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="A session of a voice that is kept: see `vocaffect voice`.")
    ] = None,
    keep_profile: Annotated[str | None, typer.Option(help="Keep what is known of the voice under this name.")] = None,
) -> None:
    """Say which emotion the speech in audio files expresses.

    A file that cannot be read is reported, the others are still answered, and the exit code is 2.

    Examples:

        vocaffect recognize interview.mp3

        vocaffect recognize recordings/ --csv > emotions.csv

        vocaffect recognize 'calls/*.wav' --json --recognizer my.onnx

        vocaffect recognize monday.wav tuesday.wav --session --keep-profile ada
    """  # noqa: D412
    from vocaffect.recognizer import Recognizer
    from vocaffect.voices import save_profile

    if as_json and as_csv:
        raise VocaffectError("--json and --csv exclude each other; give one of them")
    loaded = Recognizer.load(recognizer)
    voice = _known_voice(loaded, profile, keep_profile)
    paths, num_bad = _find_clips(files)
    show = _show_json if as_json else _csv_shower(loaded.labels) if as_csv else _text_shower(len(paths) > 1)
    with _progress(len(paths)) as advance:
        for done, path in enumerate(paths):
            advance(done)
            recognition = _recognize_one(loaded, path, show, voice)
            num_bad += recognition is None
            if recognition is not None and (session or profile or keep_profile):
                voice = recognition.voice
    if keep_profile and voice is not None:
        save_profile(keep_profile, voice)
    if num_bad:
        raise typer.Exit(2)


def listen(
    recognizer: RecognizerName = "default",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Listen to a file, not the microphone.")] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="Play the file at its own speed.")] = False,
    device: Annotated[str | None, typer.Option(help="Part of a microphone's name, or its number.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line for each span of speech.")] = False,
    profile: Annotated[str | None, typer.Option(help="A voice that is kept: see `vocaffect voice`.")] = None,
) -> None:
    """Show live which emotion a voice expresses, until ctrl-C.

    Where the output is no terminal, each span of speech is one line.

    Examples:

        vocaffect listen

        vocaffect listen --file interview.mp3 --realtime

        vocaffect listen --json | tee spans.jsonl
    """  # noqa: D412
    from vocaffect.listen import file_chunks, follow, microphone_chunks, stop_on_interrupt
    from vocaffect.recognizer import Recognizer

    if realtime and file is None:
        raise VocaffectError("--realtime goes with --file; leave it out to listen to the microphone")
    loaded = Recognizer.load(recognizer)
    with stop_on_interrupt() as stop:
        if file is not None:
            chunks = file_chunks(file, stop, realtime=realtime)
        else:
            chunks = microphone_chunks(int(device) if device and device.isdecimal() else device, stop)
        live = sys.stdout.isatty() and not as_json
        title = file.name if file else "microphone"
        with _live_display(loaded, title) if live else nullcontext(_segment_shower(loaded, as_json)) as show:
            stream = loaded.open_stream()
            stream.use_voice(_known_voice(loaded, profile, None))
            follow(stream, chunks, show)


def _find_clips(names: list[str]) -> tuple[list[Path], int]:
    """The files that the arguments stand for, and how many arguments stand for none."""
    paths: list[Path] = []
    num_bad = 0
    for name in names:
        found = _expand(name)
        paths += found
        if not found:
            num_bad += 1
            _complain(f"there are no audio files in {name}; name a folder or a pattern that holds some")
    return paths, num_bad


def _expand(name: str) -> list[Path]:
    if Path(name).exists() or not glob.has_magic(name):
        return _inside(Path(name))
    matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  # Path.glob knows no absolute pattern
    return list(dict.fromkeys(path for match in matches for path in _inside(Path(match))))


def _inside(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _known_voice(recognizer: "Recognizer", profile: str | None, kept_as: str | None) -> "VoiceProfile | None":
    """The profile of that name, for this recogniser; refuses what would fail only after all files were heard."""
    from vocaffect.voices import load_profile, profile_path

    if (profile or kept_as) and not recognizer.learns_voices:
        raise VocaffectError(f"{recognizer.card.name} learns no voices: choose a recogniser that does, as accurate")
    if kept_as:
        profile_path(kept_as)
    voice = load_profile(profile) if profile else None
    if voice is not None:
        voice.for_card(recognizer.card)
    return voice


def _recognize_one(
    recognizer: "Recognizer",
    path: Path,
    show: Callable[[Path, "Recognition"], None],
    voice: "VoiceProfile | None",
) -> "Recognition | None":
    try:
        recognition = recognizer.recognize(path, voice=voice)
    except VocaffectError as error:
        _complain(str(error))
        return None
    show(path, recognition)
    return recognition


def _complain(sentence: str) -> None:
    typer.echo(f"error: {sentence}", err=True)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr for several files, where the lines on stdout do not show the progress themselves."""
    if total < 2 or sys.stdout.isatty() or not sys.stderr.isatty():
        yield lambda done: None
        return
    from vocaffect.cli.screen import progress_bar

    with progress_bar("recognising") as advance:
        yield lambda done: advance(done, total)


def _show_json(path: Path, recognition: "Recognition") -> None:
    typer.echo(json.dumps({"file": str(path), **recognition.to_dict()}))


def _csv_shower(labels: list[str]) -> Callable[[Path, "Recognition"], None]:
    def echo(row: list[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(row)
        typer.echo(line.getvalue())

    def show(path: Path, recognition: "Recognition") -> None:
        answer = recognition.to_dict()
        posterior = answer["posterior"] or dict.fromkeys(labels, "")
        echo([str(path), answer["label"] or "", str(answer["duration_s"]), *map(str, posterior.values())])

    echo(["file", "label", "duration_s", *labels])
    return show


def _text_shower(short: bool) -> Callable[[Path, "Recognition"], None]:
    def show(path: Path, recognition: "Recognition") -> None:
        if short:
            typer.echo(f"{_verdict(recognition)}  {recognition.duration_s:7.1f} s  {path}")
            return
        typer.echo(f"{_verdict(recognition)}  {recognition.duration_s:.1f} s  {path}")
        for line in _details(recognition):
            typer.echo(line)

    return show


def _verdict(recognition: "Recognition") -> str:
    width = max(map(len, [*recognition.labels, "silence"]))
    word = f"{recognition.label or 'silence':<{width}}"
    probability = "    " if recognition.posterior is None else f"{recognition.posterior.max():.2f}"
    return f"{_coloured(word, recognition.label)}  {probability}{'  uncertain' if recognition.uncertain else ''}"


def _coloured(text: str, label: str | None) -> str:
    from vocaffect.listen import colour_of

    return typer.style(text, fg=colour_of(label).replace("default", "reset"), bold=label is not None)


def _details(recognition: "Recognition") -> Iterator[str]:
    from vocaffect.listen import bar, clock_text

    if recognition.posterior is None:
        return
    width = max(map(len, recognition.labels))
    yield ""
    for label, probability in zip(recognition.labels, recognition.posterior, strict=True):
        drawn = _coloured(bar(float(probability), _BAR_WIDTH), label)
        yield f"  {label:<{width}}  {drawn} {probability:.2f}"
    if len(recognition.segments) > 1:
        yield ""
    for segment in recognition.segments if len(recognition.segments) > 1 else ():
        span = f"{clock_text(segment.start_s)} - {clock_text(segment.end_s)}"
        yield f"  {span}  {_coloured(segment.label, segment.label)} {segment.posterior.max():.2f}"


def _segment_shower(recognizer: "Recognizer", as_json: bool) -> Callable[["Update"], None]:
    def line(segment: "Segment") -> str:
        if as_json:
            return json.dumps(segment.to_dict(recognizer.labels))
        return f"{segment.start_s:.2f}\t{segment.end_s:.2f}\t{segment.label}\t{segment.posterior.max():.2f}"

    def show(update: "Update") -> None:
        if update.ended is not None:
            typer.echo(line(update.ended))

    return show


@contextmanager
def _live_display(recognizer: "Recognizer", title: str) -> Iterator[Callable[["Update"], None]]:
    from rich.live import Live

    from vocaffect.listen import Screen

    screen = Screen(recognizer.labels, title)
    with Live(screen, auto_refresh=False) as live:

        def show(update: "Update") -> None:
            screen.take(update)
            live.refresh()

        yield show
