"""The errors a user can mend; the command line turns them into one sentence and exit code 2."""

import difflib
from collections.abc import Iterable
from importlib.util import find_spec


class VocaffectError(Exception):
    """Something about the input is wrong, and the message says what and how to mend it."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """A sentence that says which name is unknown, offers the nearest one, and lists the rest.

    >>> unknown_name("feature", "mfc", ["mfcc", "mel"])
    "feature 'mfc' is not known; did you mean 'mfcc'? Known: mel, mfcc"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"{kind} '{name}' is not known; {hint}Known: {', '.join(names) or '(none)'}"


def need_extra(what: str, extra: str, *packages: str) -> None:
    """Refuse, with the line that mends it, where packages of an extra are not installed.

    Raises:
        VocaffectError: as in ``sweeping needs optuna: pip install 'vocaffect[tune]'``.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        raise VocaffectError(f"{what} needs {', '.join(missing)}: pip install 'vocaffect[{extra}]'")
