"""Files of students: weights that have learned from a larger encoder what it hears, and of which corpora's clips."""

from pathlib import Path

from torch import Tensor

from vocaffect.encoders.store import EncoderError


def read_student(path: str) -> dict[str, Tensor]:
    """A student's weights by name, in float32.

    Raises:
        EncoderError: if the file is not here or holds none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise EncoderError(
            f"{path} holds no student ({error}): make one with the scripts in configs/students"
        ) from error


def taught_by(path: str) -> frozenset[str]:
    """The corpora that a student has learned from, as its file says; the file's name where it does not or is gone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get("corpora", "")
    except (SafetensorError, OSError):
        said = ""
    return frozenset(said.split() or [Path(path).name])
