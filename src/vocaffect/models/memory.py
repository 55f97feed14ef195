"""What a part of a model that does not learn has said about a clip, remembered from epoch to epoch."""

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

BYTES_PER_MB = 1 << 20


class Memory:
    """Answers by the content of what was asked, until so many megabytes are full; then all others are found anew.

    Each is found alone and not in a batch, so that it does not depend on the company in which it was first asked for,
    and a resumed run goes on with the same bits.

    Args:
        size_mb: how much to remember.
    """

    def __init__(self, size_mb: float) -> None:
        self.free = int(size_mb * BYTES_PER_MB)
        self._answers: dict[bytes, tuple[Tensor, ...]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def recall(self, find: Callable[..., tuple[Tensor, ...]], *asked: Tensor) -> tuple[Tensor, ...]:
        """What ``find(*asked)`` says, or said."""
        key = digest(*asked)
        if key in self._answers:
            return self._answers[key]
        answer = find(*asked)
        size = sum(tensor.numel() * tensor.element_size() for tensor in answer)
        if size <= self.free:
            self.free -= size
            self._answers[key] = answer
        return answer


def digest(*tensors: Tensor) -> bytes:
    """32 bytes over what tensors hold."""
    found = hashlib.blake2b(digest_size=32)
    for tensor in tensors:
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.digest()


def spoken(features: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """A clip up to its last active frame, without what fills it up among longer ones.

    Args:
        features: ``(num_frames, num_features)``.
        active: ``(num_frames, 1)``.
    """
    sounding = active[:, 0].nonzero()
    end = int(sounding[-1]) + 1 if len(sounding) else 1
    return features[:end], active[:end]
