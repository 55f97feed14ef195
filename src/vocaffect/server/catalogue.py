"""The recognisers a server offers, loaded once and named by their cards."""

from collections.abc import Iterable, Iterator
from typing import Any, Self
from urllib.parse import quote

from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.recognizer import Recognizer
from vocaffect.server.protocol import RecognizerCard, RecognizerInfo
from vocaffect.server.refusals import ProtocolError


class Catalogue:
    """Recognisers by name; where a client names none, the first hears its stream and the last its files."""

    def __init__(self, recognizers: Iterable[Recognizer]) -> None:
        self._by_name: dict[str, Recognizer] = {}
        for recognizer in recognizers:
            if self._by_name.setdefault(recognizer.card.name, recognizer) is not recognizer:
                raise VocaffectError(
                    f"two recognisers are called '{recognizer.card.name}'; export one under another name"
                )
        names = list(self._by_name)
        self.default, self.default_for_files = names[0], names[-1]

    @classmethod
    def load(cls, names: Iterable[str]) -> Self:
        """Load and check every bundle, each a path or a shipped name.

        Raises:
            VocaffectError: if a bundle is missing or damaged, or two carry the same name.
        """
        return cls(Recognizer.load(name) for name in names)

    def get(self, name: str | None) -> Recognizer:
        """The recogniser of that name, or the default for streams.

        Raises:
            ProtocolError: if there is none of that name.
        """
        try:
            return self._by_name[self.default if name is None else name]
        except KeyError:
            message = unknown_name("recogniser", name or "", self._by_name)
            raise ProtocolError("unknown_recognizer", message) from None

    def get_for_file(self, name: str | None) -> Recognizer:
        """The recogniser of that name, or the default for files; raises as `get`."""
        return self.get(self.default_for_files if name is None else name)

    def __iter__(self) -> Iterator[Recognizer]:
        return iter(self._by_name.values())


def describe(recognizer: Recognizer) -> RecognizerInfo:
    """The part of a card that clients show."""
    return RecognizerInfo(**_info(recognizer))


def describe_fully(recognizer: Recognizer) -> RecognizerCard:
    """The whole card, and where its bundle is."""
    card = recognizer.card
    return RecognizerCard(
        **_info(recognizer),
        bundle_url=f"/v1/recognizers/{quote(card.name, safe='')}/bundle?v={card.digest}",
        num_bytes=recognizer.path.stat().st_size if recognizer.path else 0,
        sample_rate=card.sample_rate,
        hop_s=card.hop / card.sample_rate,
        window_s=card.window_s,
        window_hop_s=card.window_hop_s,
        temperature=card.temperature,
        states=card.state,
        metrics=card.metrics,
        recipe=card.recipe,
        created=card.created,
        golden=card.golden,
    )


def _info(recognizer: Recognizer) -> dict[str, Any]:
    card = recognizer.card
    return {
        "name": card.name,
        "labels": card.labels,
        "streaming": card.streaming,
        "latency_s": card.latency_s,
        "licence_weights": card.licence.weights,
        "licence_data": card.licence.data,
        "intended_use": card.intended_use,
        "limits": card.limits,
        "digest": card.digest,
    }
