"""Names that recipes can use, and what they stand for."""

from collections.abc import MutableMapping
from typing import Any

from vocaffect.errors import VocaffectError

PLUGIN = "vocaffect_plugin_"
"""In front of the names of modules that are loaded as plug-ins."""


def enter(registry: MutableMapping[str, Any], kind: str, name: str, thing: Any) -> None:
    """Give a thing a name; the same thing, loaded anew, takes its own place.

    Raises:
        VocaffectError: if the name stands for something else.
    """
    if name in registry and _origin(registry[name]) != _origin(thing):
        raise VocaffectError(f"there is a {kind} '{name}' already: register yours under another name")
    registry[name] = thing


def _origin(thing: Any) -> tuple[str, str]:
    return thing.__module__.removeprefix(PLUGIN), thing.__qualname__
