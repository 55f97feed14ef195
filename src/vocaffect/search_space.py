"""What a sweep may change: for each key of a recipe a range or a choice, written as ``log(1e-4, 1e-2)``."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vocaffect.errors import VocaffectError, unknown_name

KINDS = ("uniform", "log", "int", "logint", "choice")
CALL = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.S)


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; tried evenly, or evenly in their logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[float, ...]:
        """The lowest and the highest, as the numbers that they are."""
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """One of several values, of any kind that YAML has."""

    values: tuple[Any, ...]


Space = Mapping[str, Range | Choice]
"""Keys of a recipe, as ``training.learning_rate``, and what each may be."""


def read_space(path: Path) -> dict[str, Range | Choice]:
    """Read a YAML file of keys and what each may be: ``training.learning_rate: log(1e-4, 1e-2)``, or a list.

    Raises:
        VocaffectError: if the file is missing, is no YAML, or a key's range or choice cannot be understood.
    """
    if not path.is_file():
        raise VocaffectError(f"there is no file {path}: give a YAML file of keys and ranges, or use --set")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VocaffectError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict) or not content:
        raise VocaffectError(f"{path} names no key: write lines such as 'training.learning_rate: log(1e-4, 1e-2)'")
    return {str(key): parse(str(key), value) for key, value in content.items()}


def split_changes(changes: Iterable[str]) -> tuple[list[str], dict[str, Range | Choice]]:
    """Changes as ``--set`` takes them, and those among them that name a range or a choice.

    >>> split_changes(["training.batch_size=16", "training.learning_rate=log(1e-4,1e-2)"])
    (['training.batch_size=16'], {'training.learning_rate': Range(low=0.0001, high=0.01, log=True, whole=False)})
    """
    plain, space = list[str](), dict[str, Range | Choice]()
    for change in changes:
        key, _, text = change.partition("=")
        if CALL.fullmatch(text):
            space[key.strip()] = parse(key.strip(), text)
        else:
            plain.append(change)
    return plain, space


def parse(key: str, text: Any) -> Range | Choice:
    """What a key may be: a list of values, or one of uniform, log, int, logint and choice with its arguments.

    >>> parse("model.hidden_size", "logint(16, 256)")
    Range(low=16.0, high=256.0, log=True, whole=True)
    >>> parse("model.name", ["lstm", "gru"]) == parse("model.name", "choice(lstm, gru)")
    True
    """
    if isinstance(text, list) and text:
        return Choice(tuple(text))
    call = CALL.fullmatch(text) if isinstance(text, str) else None
    if call is None:
        raise VocaffectError(f"{key}: {text!r} is no range: write a list of values, or log(1e-4, 1e-2), int(1, 4)")
    kind, arguments = call.groups()
    if kind not in KINDS:
        raise VocaffectError(f"{key}: {unknown_name('range', kind, KINDS)}")
    if kind == "choice":
        return _choice(key, arguments)
    return _range(key, text.strip(), arguments, log=kind.startswith("log"), whole=kind.endswith("int"))


def _choice(key: str, arguments: str) -> Choice:
    try:
        values = yaml.safe_load(f"[{arguments}]")
    except yaml.YAMLError as error:
        raise VocaffectError(f"{key}: the values of choice({arguments}) are not valid YAML: {error}") from error
    if not values:
        raise VocaffectError(f"{key}: choice() leaves no choice: write values between the brackets")
    return Choice(tuple(values))


def _range(key: str, text: str, arguments: str, *, log: bool, whole: bool) -> Range:
    try:
        low, high = (float(part) for part in arguments.split(","))
    except ValueError:
        raise VocaffectError(f"{key}: {text} does not give two numbers: write the lowest and the highest") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise VocaffectError(f"{key}: {text} holds nothing: write the lower number first")
    if log and low <= 0:
        raise VocaffectError(f"{key}: {text} begins at or below 0, where no logarithm is: begin above")
    if whole and not (low.is_integer() and high.is_integer()):
        raise VocaffectError(f"{key}: {text} is for whole numbers: write whole ends")
    return Range(low, high, log, whole)
