"""The eight emotions, their order, and how the words that corpora use map onto them."""

from collections.abc import Mapping

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
    key = word.strip().lower().replace(" ", "_")
    return key if key in EMOTIONS else SYNONYMS.get(key)


def require_emotion(word: str) -> str:
    """Like `emotion_of`, but a word without a place is an error that lists the known ones.

    Raises:
        VocaffectError: if the word maps onto none of the eight.
    """
    emotion = emotion_of(word)
    if emotion is None:
        raise VocaffectError(unknown_name("emotion", word, [*EMOTIONS, *SYNONYMS]))
    return emotion
