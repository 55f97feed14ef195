"""The eight emotions, their order, other sets of labels, and how the words that corpora use map onto them."""

from collections.abc import Mapping, Sequence

from vocaffect.errors import VocaffectError, unknown_name

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgust",
    "surprised",
)
"""The label set of RAVDESS, in the order of its codes 01 to 08: index 0 is neutral."""

SYNONYMS: Mapping[str, str] = {
    "anger": "angry",
    "anxiety": "fearful",
    "disgusted": "disgust",
    "fear": "fearful",
    "happiness": "happy",
    "joy": "happy",
    "ps": "surprised",
    "pleasant_surprise": "surprised",
    "sadness": "sad",
    "surprise": "surprised",
}
"""Words of other corpora for one of the eight; a word that is in neither table has no place among them."""


def emotion_of(word: str) -> str | None:
    """The emotion a corpus' word stands for, or ``None`` where the eight have no place for it.

    >>> emotion_of("Anger"), emotion_of("boredom")
    ('angry', None)
    """
    key = _key(word)
    return key if key in EMOTIONS else SYNONYMS.get(key)


class LabelSet:
    """What a recogniser tells apart, and which words stand for each: the word itself, its synonyms, and those given.

    >>> four = LabelSet({"negative": ["angry", "sad", "boredom"], "neutral": ["neutral", "calm"], "happy": []})
    >>> four.of("Sadness"), four.of("boredom"), four.of("joy"), four.of("disgust")
    ('negative', 'negative', 'happy', None)

    Args:
        labels: names in order, or names with the words that each takes in.

    Raises:
        VocaffectError: if there are fewer than two, or a word stands for two of them.
    """

    def __init__(self, labels: Sequence[str] | Mapping[str, Sequence[str]] = EMOTIONS) -> None:
        words = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, ())
        self.names = tuple(words)
        if len(words) < 2 or len(words) != len(labels):
            raise VocaffectError(f"{', '.join(labels) or 'nothing'} is no set of labels: name two or more that differ")
        self._label_of: dict[str, str] = {}
        for label, others in words.items():
            for key in map(_key, (label, *others)):
                if self._label_of.setdefault(key, label) != label:
                    both = f"{self._label_of[key]} and {label}"
                    raise VocaffectError(f"the word '{key}' stands for the labels {both}: keep one of the two")

    def of(self, word: str) -> str | None:
        """The label that a corpus' word stands for, or ``None`` where the set has no place for it."""
        return self._label_of.get(_key(word), self._label_of.get(emotion_of(word) or ""))

    def require(self, word: str) -> str:
        """A word that is known: one of this set's, or one for one of the eight, which may have no place here.

        Raises:
            VocaffectError: if it is neither; the nearest is named.
        """
        if self.of(word) is None and emotion_of(word) is None:
            raise VocaffectError(unknown_name("emotion", word, {*self._label_of, *EMOTIONS, *SYNONYMS}))
        return word


def _key(word: str) -> str:
    return word.strip().lower().replace(" ", "_")
