"""The recognisers a server offers, loaded once and named by their cards."""

from collections.abc import Iterable
from typing import Self

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.recognizer import Recognizer
from vocaffect.server.protocol import ProtocolError, RecognizerInfo, RecognizerList


class Catalogue:
    """Recognisers by name; the first is the one a client gets that names none."""

    def __init__(self, recognizers: Iterable[Recognizer]) -> None:
        self._by_name: dict[str, Recognizer] = {}
        for recognizer in recognizers:
            if self._by_name.setdefault(recognizer.card.name, recognizer) is not recognizer:
                raise VocaffectError(
                    f"two recognisers are called '{recognizer.card.name}'; export one under another name"
                )
        self.default = next(iter(self._by_name))

    @classmethod
    def load(cls, names: Iterable[str]) -> Self:
        """Load and check every bundle, each a path or a shipped name.

        Raises:
            VocaffectError: if a bundle is missing or damaged, or two carry the same name.
        """
        return cls(Recognizer.load(name) for name in names)

    def get(self, name: str | None) -> Recognizer:
        """The recogniser of that name, or the default.

        Raises:
            ProtocolError: if there is none of that name.
        """
        try:
            return self._by_name[self.default if name is None else name]
        except KeyError:
            message = unknown_name("recogniser", name or "", self._by_name)
            raise ProtocolError("unknown_recognizer", message) from None

    def describe(self) -> RecognizerList:
        """What `GET /v1/recognizers` answers."""
        infos = [describe(recognizer) for recognizer in self._by_name.values()]
        return RecognizerList(default=self.default, recognizers=infos)


def describe(recognizer: Recognizer) -> RecognizerInfo:
    """The part of a card that clients show."""
    card = recognizer.card
    return RecognizerInfo(
        name=card.name,
        labels=card.labels,
        streaming=card.streaming,
        latency_s=card.latency_s,
        licence_weights=card.licence.weights,
        licence_data=card.licence.data,
        intended_use=card.intended_use,
        limits=card.limits,
        digest=card.digest,
    )
