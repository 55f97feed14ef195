"""Clips, clean and in a few augmented ways, or what a model's frozen beginning says of them: computed once, then kept.

A pretrained encoder takes a hundred times longer than the head that learns on it. Where nothing in it learns, each clip
is heard in so many takes before the first epoch, and each epoch is given the next of them. Where it learns, takes are
the augmented clips themselves: a GPU learns from them faster than a processor could augment them.
"""

import hashlib
import inspect
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocaffect import augment, encoders, models
from vocaffect.augment import AugmentOptions, Sounds, apply, draw
from vocaffect.errors import VocaffectError
from vocaffect.models import Network
from vocaffect.pcm import Pcm, from_pcm, to_pcm
from vocaffect.precompute import Extraction, Samples


@dataclass(frozen=True, kw_only=True)
class Take(Extraction):
    """One way of hearing clips; what is drawn for a clip is a function of (seed, number, what it sounds like).

    Args:
        network: its model's stem is what speaks; none where the clips themselves are wanted.
        number: 0 for clips as they are.
        options: what may happen to clips in the other takes.
        seed: of what happens.

    Raises:
        VocaffectError: if clips are to be mixed with others, of which a cache would know nothing.
    """

    network: Network | None
    number: int = 0
    options: AugmentOptions | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse babble."""
        if self.number and self.options and "babble" in self.options.noises:
            raise VocaffectError(
                "babble is of other training clips, so it cannot be computed once: take it out of augment.noises, or "
                "set training.copies to 0"
            )

    @cached_property
    def sounds(self) -> Sounds:
        """Recorded noises and rooms."""
        return Sounds.of(self.options or AugmentOptions())

    def heard(self, samples: Pcm) -> Samples:
        """A clip with what happens to it in this take."""
        heard = from_pcm(samples)
        if not self.number:
            return heard
        clip = int.from_bytes(hashlib.sha256(heard.tobytes()).digest()[:8])
        return apply(heard, draw(np.random.default_rng([self.seed, self.number, clip]), self.options), self.sounds)

    def computed(self, samples: Tensor) -> Tensor:
        """Samples ``(1, num_samples)`` in 16 bits, or what the stem says of them, frame by frame in half precision."""
        if self.network is None:
            return torch.from_numpy(to_pcm(samples.numpy()))
        network = self.network.eval()
        (features, active), _ = network.frontend(samples)
        said = network.model.stem(features, active)
        return said.half() if said.shape[1] > 1 else said

    def settings(self) -> dict[str, Any]:
        """Those of features, of the stem, and of what happens to clips."""
        happens = None
        if self.number:
            recordings = {path.name: path.stat().st_size for path in (*self.sounds.noises, *self.sounds.rooms)}
            happens = asdict(self.options or AugmentOptions())
            happens |= {"recordings": recordings, "seed": self.seed, "take": self.number}
        stem = None if self.network is None else self.network.model.stem_settings()
        return super().settings() | {"stem": stem, "augment": happens}

    def code(self) -> list[Path]:
        """The files of encoders, of models, and of augmentation where there is any."""
        packages = [*([encoders, models] if self.network else []), *([augment] if self.number else [])]
        files = [path for package in packages for path in Path(str(package.__file__)).parent.glob("*.py")]
        return [*files, *([Path(inspect.getfile(type(self.network.model)))] if self.network else [])]
