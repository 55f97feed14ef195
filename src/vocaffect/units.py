"""Samples, frames and seconds: the constants of the signal path and the conversions between them."""

SAMPLE_RATE = 16_000
"""Every signal inside vocaffect has this many samples a second."""


def exact_div(x: int, y: int) -> int:
    """The quotient of ``x / y``, which must leave no remainder.

    >>> exact_div(16_000, 160)
    100

    Raises:
        ValueError: if ``y`` does not divide ``x``.
    """
    quotient, remainder = divmod(x, y)
    if remainder:
        raise ValueError(f"{y} does not divide {x}")
    return quotient


def seconds_to_samples(seconds: float, sample_rate: int = SAMPLE_RATE) -> int:
    """The whole number of samples nearest to a duration.

    >>> seconds_to_samples(0.025)
    400
    """
    return round(seconds * sample_rate)


def samples_to_seconds(num_samples: int, sample_rate: int = SAMPLE_RATE) -> float:
    """The duration of a number of samples.

    >>> samples_to_seconds(160)
    0.01
    """
    return num_samples / sample_rate


def num_frames(num_samples: int, hop: int) -> int:
    """How many frames causal framing makes of a signal: one for every whole hop.

    >>> num_frames(1_000, 160)
    6
    """
    return num_samples // hop
