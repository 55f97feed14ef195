"""Checkpoints: what is loaded is what was written, and there is always one to go on from."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from vocaffect.errors import VocaffectError
from vocaffect.training import checkpoint

FOUND = r"not what was written|no whole checkpoint"
TENSORS = {"model.a": torch.arange(6.0).reshape(2, 3), "optimiser.0.step": torch.tensor(4.0)}


def saved(folder: Path, *places: tuple[int, int]) -> None:
    for epoch, step in places:
        checkpoint.save_last(folder, epoch, step, TENSORS, {"epoch": epoch, "step": step})


def spoil(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved(tmp_path, (3, 0))
    tensors, facts = checkpoint.load(tmp_path / "last_3_0.safetensors")
    assert facts == {"epoch": 3, "step": 0}
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "alone"])
def test_every_changed_byte_is_found(listed: bool, tmp_path: Path) -> None:
    """By the folder's list; and alone, as a file that was taken elsewhere, by the digest in its header."""
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, TENSORS, {"epoch": 3})
    if not listed:
        (tmp_path / checkpoint.DIGESTS).unlink()
    whole = path.read_bytes()
    for at in range(len(whole)):
        spoil(path, at)
        with pytest.raises(VocaffectError, match=FOUND):
            checkpoint.load(path)
        path.write_bytes(whole)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(VocaffectError, match=FOUND):
            checkpoint.load(path)


def test_the_newest_two_are_kept_in_the_order_of_training(tmp_path: Path) -> None:
    saved(tmp_path, (8, 0), (9, 0), (9, 12), (10, 0))
    assert [path.name for path in checkpoint.resumable(tmp_path)] == ["last_10_0.safetensors", "last_9_12.safetensors"]
    assert checkpoint.load_last(tmp_path, pytest.fail)[1]["epoch"] == 10


def test_a_damaged_newest_is_told_of_and_the_one_before_used(tmp_path: Path) -> None:
    saved(tmp_path, (1, 0), (2, 0))
    spoil(tmp_path / "last_2_0.safetensors")
    notes: list[str] = []
    assert checkpoint.load_last(tmp_path, notes.append)[1]["epoch"] == 1
    assert notes == [
        "last_2_0.safetensors is damaged and was deleted; going on from last_1_0.safetensors, the one before"
    ]
    assert checkpoint.load_last(tmp_path, pytest.fail)[1]["epoch"] == 1


def test_where_none_is_whole_nothing_is_deleted(tmp_path: Path) -> None:
    saved(tmp_path, (1, 0), (2, 0))
    for path in checkpoint.resumable(tmp_path):
        spoil(path)
    with pytest.raises(VocaffectError, match=r"no whole checkpoint.*last_2_0.*last_1_0.*--run-name"):
        checkpoint.load_last(tmp_path, pytest.fail)
    assert len(checkpoint.resumable(tmp_path)) == 2


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("moment", range(2))
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "from before there were lists"])
def test_killed_between_two_renames_the_file_that_lies_there_loads(
    moment: int, listed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first rename the list is new, at the second the file: either way what lies there is listed."""
    path, renames, replace = tmp_path / checkpoint.BEST, [0], os.replace
    checkpoint.save(path, TENSORS, {"epoch": 1})
    if not listed:
        (tmp_path / checkpoint.DIGESTS).unlink()

    def killed(source: str, target: str) -> None:
        if renames[0] == moment:
            raise KilledError
        renames[0] += 1
        replace(source, target)

    for epoch in (2, 3):
        renames[0] = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            with pytest.raises(KilledError):
                checkpoint.save(path, TENSORS, {"epoch": epoch})
        assert checkpoint.load(path)[1] == {"epoch": 1}
    checkpoint.save(path, TENSORS, {"epoch": 4})
    assert checkpoint.load(path)[1] == {"epoch": 4}


@given(
    text=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["sha256", "a"]), inner, max_size=2)
            ),
        ).map(lambda content: json.dumps(content).encode()),
    )
)
def test_a_damaged_list_is_no_list(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What it held is forgotten, the headers' own digests still count, and the next save writes it anew."""
    folder = tmp_path_factory.mktemp("run")
    saved(folder, (1, 0))
    (folder / checkpoint.DIGESTS).write_bytes(text)
    assert checkpoint.load_last(folder, pytest.fail)[1]["epoch"] == 1
    saved(folder, (2, 0))
    assert "last_2_0.safetensors" in checkpoint.digests_of(folder)


def test_a_checkpoint_from_before_there_were_lists_loads(tmp_path: Path) -> None:
    """Written out here as it was written then."""
    facts, digest = json.dumps({"progress": {"epoch": 7}, "learning_rate": 0.1}), hashlib.sha256()
    digest.update(facts.encode())
    for name in sorted(TENSORS):
        tensor = TENSORS[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    save_file(TENSORS, tmp_path / "last.safetensors", {"facts": facts, "sha256": digest.hexdigest()})
    assert checkpoint.load_last(tmp_path, pytest.fail)[1] == json.loads(facts)
    saved(tmp_path, (8, 0), (9, 0))
    assert [path.name for path in checkpoint.resumable(tmp_path)] == ["last_9_0.safetensors", "last_8_0.safetensors"]
