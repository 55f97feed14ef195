"""One trained recogniser in one `.onnx` file: the card inside, its seal, and the checks made before use.

The graph maps `samples (batch, num_samples)` and named state tensors onto `logits`, `posterior`, `features`, `active`
and the next state; older files have no `posterior`. The card is one JSON text in the model's
`metadata_props["vocaffect"]`. Its last field is a SHA-256 over the whole file with the digest itself read as zeros, so
a flipped bit anywhere is found before onnxruntime parses a byte of it; that rule is the same in every format version.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import ValidationError

from vocaffect.card import FORMAT_VERSION, NO_DIGEST, Card
from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.files import write_bytes
from vocaffect.hops import STEP, one_hop
from vocaffect.protobuf import delimited, fields, varint
from vocaffect.units import SAMPLE_RATE, seconds_to_samples
from vocaffect.utterance import Output, State, fresh_state, softmax

METADATA_KEY = "vocaffect"
BUNDLES = Path(__file__).parent / "bundles"
"""Where the recognisers that come with the package lie."""

_SEALED = re.compile(rb'"digest":"sha256:([0-9a-f]{64})"\}\Z')
_METADATA_PROPS = 14
SAME = 1e-5
"""How far the posterior that a graph computes may be from that of its logits."""


class BundleError(VocaffectError):
    """A bundle that must not be used, and why."""


@dataclass(frozen=True)
class Graph:
    """An onnxruntime session, or what is as good; its inputs and outputs are called as a card says, behind a prefix."""

    session: Any
    states: list[str]
    prefix: str = ""

    def run(self, samples: NDArray[np.float32], state: State) -> list[NDArray[np.float32]]:
        """The outputs in the order of `Output`, the next states last; no posterior where it `says_posterior` not."""
        feed = {self._samples: samples}
        for name, key in self._inputs:
            feed[key] = state[name]
        answers: list[NDArray[np.float32]] = self.session.run(self._wanted, feed)
        return answers

    @cached_property
    def says_posterior(self) -> bool:
        """Whether the graph computes the posterior, which older ones leave to others."""
        return f"{self.prefix}posterior" in [node.name for node in self.session.get_outputs()]

    @cached_property
    def _samples(self) -> str:
        return f"{self.prefix}samples"

    @cached_property
    def _inputs(self) -> list[tuple[str, str]]:
        return [(name, f"{self.prefix}state.{name}") for name in self.states]

    @cached_property
    def _wanted(self) -> list[str]:
        said = ["logits", *["posterior"] * self.says_posterior, "features", "active"]
        return [self.prefix + name for name in [*said, *(f"next_state.{name}" for name in self.states)]]


@dataclass(frozen=True)
class Bundle:
    """A checked bundle: its card, its graph, and the graph of one hop if that can be run alone."""

    card: Card
    graph: Graph
    path: Path | None
    hop: Graph | None = None

    def run(self, samples: NDArray[np.float32], state: State | None = None) -> Output:
        """Run the graph once on samples (batch, num_samples), from a fresh state if none is given."""
        if state is None:
            state = fresh_state(self.card, len(samples))
        graph = self.graph if self.hop is None or samples.shape[1] != self.card.hop else self.hop
        said = graph.run(samples, state)
        if not graph.says_posterior:
            said.insert(1, softmax(said[0], self.card.temperature))
        logits, posterior, features, active, *following = said
        return Output(logits, posterior, features, active, dict(zip(graph.states, following, strict=True)))


def golden_signal(seconds: float) -> NDArray[np.float32]:
    """A test signal (num_samples,) from a formula: gliding harmonics, syllables, a pause at the end."""
    t = np.arange(seconds_to_samples(seconds), dtype=np.float64) / SAMPLE_RATE
    phase = 2 * np.pi * (140 * t + 4 * np.sin(2 * np.pi * 1.7 * t))
    voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 13))
    hiss = np.sin(1e5 * t * t + 40 * np.sin(7919 * t))
    syllables = np.sin(np.pi * 4 * t) ** 2 * (t < 0.8 * seconds)
    return np.asarray(0.1 * syllables * voice + 0.003 * hiss, np.float32)


def seal(model: bytes, card: Card) -> bytes:
    """The bytes of a bundle: an ONNX model, then its card as one more metadata entry, digest filled in.

    A card the model already carries is dropped. Protobuf lets the elements of a repeated field lie anywhere,
    so appending `metadata_props` (field 14 of ModelProto, onnx.proto) needs no parsing of the graph.
    """
    return seal_fields(model, card.model_dump(mode="json"))


def seal_fields(model: bytes, card: Mapping[str, Any]) -> bytes:
    """Like `seal`, for card fields that nobody has checked."""
    body = b"".join(model[start:end] for start, end, value in _entries(model) if _card_text(value) is None)
    others = {name: value for name, value in card.items() if name != "digest"}
    text = json.dumps({**others, "digest": NO_DIGEST}, separators=(",", ":"))
    entry = delimited(1, METADATA_KEY.encode()) + delimited(2, text.encode())
    blank = body + delimited(_METADATA_PROPS, entry)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank[: -len(digest) - 2] + digest + blank[-2:]


def unseal(data: bytes, name: str = "the bundle") -> Card:
    """The card in the bytes of a bundle; the bytes are checked, the graph is not parsed.

    Raises:
        BundleError: as `read_card`; `name` is how the message calls the bundle.
    """
    texts = [text for _, _, value in _entries(data, name) if (text := _card_text(value)) is not None]
    sealed = _SEALED.search(texts[0]) if len(texts) == 1 else None
    if sealed is None:
        raise BundleError(f"{name} is no vocaffect bundle or is cut short; copy it again or export it again")
    at = data.rindex(sealed[1])
    if hashlib.sha256(data[:at] + b"0" * 64 + data[at + 64 :]).hexdigest().encode() != sealed[1]:
        raise BundleError(f"{name} is damaged: its bytes do not match its digest; copy it again or export it again")
    return _parse_card(json.loads(texts[0]), name)


def write_bundle(path: Path | str, model: bytes, card: Card) -> None:
    """Seal a model and write it, all or nothing.

    Raises:
        BundleError: if the result would be refused at load; nothing is written then.
    """
    data = seal(model, card)
    _open(data, Path(path), threads=1)
    write_bytes(path, data)


def created_now() -> str:
    """The present moment for `Card.created`, in UTC to the second (ISO 8601)."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def shipped_names() -> list[str]:
    """The names of the recognisers that come with the package."""
    return sorted(path.stem for path in BUNDLES.glob("*.onnx"))


def resolve(name_or_path: str | Path) -> Path:
    """The file of a shipped recogniser ("default" is "live"), or the path itself.

    Raises:
        BundleError: if there is neither a file nor a shipped recogniser of that name.
    """
    path = Path(name_or_path)
    name = "live" if str(name_or_path) == "default" else str(name_or_path)
    if name in shipped_names():
        return BUNDLES / f"{name}.onnx"
    if path.is_file():
        return path
    if path.suffix == ".onnx" or path.parent != Path():
        raise BundleError(f"there is no bundle at {path}; write one with `vocaffect export RUN -o {path.name}`")
    raise BundleError(unknown_name("recogniser", name, shipped_names()))


def read_card(path: Path | str) -> Card:
    """The card of a bundle whose bytes are whole.

    Raises:
        BundleError: if the file is no bundle, is damaged, or its card is not one this version can read.
    """
    return unseal(_read(Path(path)), str(path))


def load_bundle(path: Path | str, *, threads: int = 1) -> Bundle:
    """Read, check and open a bundle; it runs on `threads` threads.

    Raises:
        BundleError: if the file is cut short or altered, its format version or a field is not known, its
            graph does not match its card, or it does not answer the golden signal as its card says.
    """
    return _open(_read(Path(path)), Path(path), threads)


def _open(data: bytes, path: Path, threads: int) -> Bundle:
    card = unseal(data, str(path))
    bundle = open_model(data, str(path), threads, card, path)
    logits, posterior = golden_answer(bundle, golden_signal(card.golden.seconds))
    difference = float(np.max(np.abs(posterior - card.golden.posterior)))
    if not difference <= card.golden.tolerance:
        raise BundleError(
            f"{path} fails its golden vector: its posterior is off by {difference:.2g}, allowed are "
            f"{card.golden.tolerance:.2g}; export it again, or try another version of onnxruntime"
        )
    if np.max(np.abs(posterior - softmax(logits, card.temperature))) > SAME:
        raise BundleError(f"{path}: graph and card disagree about the temperature; export it again")
    return bundle


def open_model(model: bytes, name: str, threads: int, card: Card, path: Path | None) -> Bundle:
    """A model, sealed or not, that does what its card says; of the card's golden vector nothing is believed.

    Raises:
        BundleError: if onnxruntime cannot open it, or its graph does not match the card.
    """
    states = [spec.name for spec in card.state]
    bundle = Bundle(card, Graph(_open_session(model, name, threads, card), states), path)
    _check_graph(bundle)
    step = one_hop(model) if bundle.graph.says_posterior else None
    if step is None:
        return bundle
    stepping = replace(bundle, hop=Graph(_open_session(step, name, threads, card), states, f"{STEP}."))
    return stepping if _step_alike(bundle, stepping) else bundle


def _step_alike(bundle: Bundle, other: Bundle) -> bool:
    """Whether two ways to take a few hops agree to the last bit: a runtime might not compile them the same."""
    hop = bundle.card.hop
    signal = golden_signal(1.0)[None, : 8 * hop]
    whole, state = bundle.run(signal), fresh_state(bundle.card)
    for index in range(8):
        output = other.run(signal[:, index * hop : (index + 1) * hop], state)
        state = output.state
        if any(not np.array_equal(one[:, 0], all_[:, index]) for one, all_ in zip(output[:4], whole[:4], strict=True)):
            return False
    return all(np.array_equal(state[name], whole.state[name]) for name in state)


def at_once(card: Card, signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """A signal (num_samples,) as one row that a graph takes: whole hops, or the last window with zeros in front."""
    if card.streaming == "frame":
        return signal[None, : len(signal) // card.hop * card.hop]
    last = signal[-card.window_samples :]
    return np.concatenate([np.zeros(card.window_samples - len(last), np.float32), last])[None]


def golden_answer(bundle: Bundle, signal: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The last logits and posterior about a signal (num_samples,), ``(num_labels,)`` each."""
    card = bundle.card
    try:
        output = bundle.run(at_once(card, signal))
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise BundleError(f"{bundle.path or 'the model'} does not run on its golden signal: {error}") from error
    logits, posterior = (said.reshape(-1, len(card.labels))[-1] for said in (output.logits, output.posterior))
    return logits, posterior


def _open_session(model: bytes, name: str, threads: int, card: Card) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_mem_reuse = card.streaming == "window"  # what a frame fills is soon filled again, and small
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(f"onnxruntime cannot open {name}; try `pip install -U onnxruntime` ({error})") from error


def _check_graph(bundle: Bundle) -> None:
    names = [spec.name for spec in bundle.card.state]
    inputs = {node.name for node in bundle.graph.session.get_inputs()}
    outputs = {node.name for node in bundle.graph.session.get_outputs()}
    missing = {"samples", *(f"state.{name}" for name in names)} ^ inputs
    missing |= {"logits", "features", "active", *(f"next_state.{name}" for name in names)} - outputs
    if missing:
        raise BundleError(f"{bundle.path}: graph and card disagree about {', '.join(sorted(missing))}; export it again")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"cannot read the bundle {path} ({reason}); check the path") from error


def _parse_card(fields: Mapping[str, Any], name: str) -> Card:
    version = fields.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{name} has bundle format version {version}, this vocaffect reads version {FORMAT_VERSION}; "
            "install the vocaffect it was made with, or export it again"
        )
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors())
        raise BundleError(f"the card of {name} is not valid ({faults}); export it again") from error


def _entries(data: bytes, name: str = "the model") -> Iterator[tuple[int, int, bytes | None]]:
    """Start, end and, for metadata entries, content of every field of a model."""
    try:
        for number, start, content, end in fields(data):
            yield start, end, data[content:end] if number == _METADATA_PROPS else None
    except ValueError:
        raise BundleError(f"{name} is no ONNX file or is cut short; copy it again or export it again") from None


def _card_text(entry: bytes | None) -> bytes | None:
    """The JSON text in a metadata entry, if the entry is the card."""
    key = delimited(1, METADATA_KEY.encode())
    if entry is None or not entry.startswith(key):
        return None
    try:
        size, start = varint(entry, len(key) + 1)
    except (IndexError, ValueError):
        return None
    return entry[start:] if entry[len(key)] == 2 << 3 | 2 and start + size == len(entry) else None
