"""The machine a run uses: device, mixed precision, and what to write down about it."""

import contextlib
import os
import platform
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Literal

import torch

from vocaffect import __version__
from vocaffect.errors import VocaffectError


def choose_device(wanted: str) -> torch.device:
    """The device a recipe asks for; ``auto`` is a GPU where there is one.

    Raises:
        VocaffectError: if torch does not know or does not have that device.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=wanted)
        return torch.device(wanted)
    except (RuntimeError, AssertionError) as error:
        raise VocaffectError(f"device '{wanted}' cannot be used here; take 'cpu' or 'auto' ({error})") from error


def mixed_precision(device: torch.device, wanted: Literal["auto", "on", "off"]) -> bool:
    """Whether to compute in half precision: by default on GPUs, and on CPUs with bfloat16 instructions.

    Raises:
        VocaffectError: if it is wanted on a CPU without them: bfloat16 is emulated there, slower than float32, and has
            no recurrent layers.
    """
    able = device.type == "cuda" or _cpu_has_bfloat16()
    if wanted == "on" and not able:
        raise VocaffectError("this processor has no bfloat16 instructions: set training.amp to auto or off")
    return able and wanted != "off"


def autocast(device: torch.device, enabled: bool) -> AbstractContextManager[object]:
    """Half precision while computing logits: float16 on a GPU, bfloat16 on a CPU."""
    if not enabled:
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.float16 if device.type == "cuda" else torch.bfloat16)


def environment(device: torch.device) -> dict[str, str]:
    """What a reader needs to know to repeat a run: versions, system and device."""
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "soundfile", "soxr", "onnx")}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    return {
        "vocaffect": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": f"{device.type}: {name}",
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        **versions,
    }


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
