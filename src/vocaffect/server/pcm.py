"""Raw PCM off the wire: little-endian samples in chunks that may end in the middle of one."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vocaffect.server.refusals import ProtocolError


class PcmReader:
    """Turns bytes into float32 samples in [-1, 1]; an unfinished sample waits for the next chunk."""

    def __init__(self, sample_format: Literal["int16", "float32"]) -> None:
        self._dtype = np.dtype("<i2" if sample_format == "int16" else "<f4")
        self._remainder = b""
        self.sample_bytes = self._dtype.itemsize

    def push(self, data: bytes) -> NDArray[np.float32]:
        """The samples (num_samples,) that are whole now; float32 beyond [-1, 1] is cut off there.

        Raises:
            ProtocolError: if a sample is not a finite number.
        """
        data = self._remainder + data
        whole = len(data) - len(data) % self._dtype.itemsize
        self._remainder = data[whole:]
        samples = np.frombuffer(data[:whole], self._dtype)
        if self._dtype.kind == "i":
            return np.asarray(samples / np.float32(32_768), np.float32)
        if not np.isfinite(samples).all():
            raise ProtocolError("bad_audio", "a sample is not a finite number; send float32 in [-1, 1]")
        return np.asarray(np.clip(samples, -1, 1), np.float32)
