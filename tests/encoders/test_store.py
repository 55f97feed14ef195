"""Fetching encoders: what is missing or altered is said in a sentence; the rest arrives whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vocaffect.cli import build_app
from vocaffect.encoders import build_encoder, load_pretrained, store
from vocaffect.encoders.store import KNOWN, EncoderError, fetch, here, locate, place_of, sha256

from .tiny import TINY


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "encoders"))


def known(monkeypatch: pytest.MonkeyPatch, content: bytes, tmp_path: Path) -> Path:
    """A file that is what the known encoder should be."""
    file = tmp_path / "given.onnx"
    file.write_bytes(content)
    entry = store.Known("moonshine-base.onnx", sha256(file), "http://127.0.0.1:9/x.tgz", "a/b.onnx", "MIT", "a test")
    monkeypatch.setitem(KNOWN, "moonshine-base", entry)
    return file


def test_a_missing_encoder_says_where_to_get_it_and_its_hash() -> None:
    with pytest.raises(EncoderError, match=r"encoders fetch moonshine-base.*--from.*npmjs.*1dd9ab0a7f987113d30aff"):
        locate("moonshine-base")


def test_a_file_of_the_users_is_checked_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = known(monkeypatch, b"weights", tmp_path)
    assert here() == []
    place = fetch("moonshine-base", file)
    assert place == locate("moonshine-base") == fetch("moonshine-base")
    assert here() == ["moonshine-base"]
    place.write_bytes(b"weightz")
    with pytest.raises(EncoderError, match="not what was fetched"):
        locate("moonshine-base")
    with pytest.raises(EncoderError, match="is not the encoder"):
        fetch("moonshine-base", place)
    with pytest.raises(EncoderError, match="there is no file"):
        fetch("moonshine-base", tmp_path / "none.onnx")


def test_no_network_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known(monkeypatch, b"weights", tmp_path)
    with pytest.raises(EncoderError, match=r"gave no encoder.*--from FILE"):
        fetch("moonshine-base")
    assert list((tmp_path / "encoders").iterdir()) == []


def test_names_that_are_neither_known_nor_of_the_hub() -> None:
    for name in ("moonshine-bse", "a/b/c", "../x"):
        with pytest.raises(EncoderError, match="owner/name"):
            place_of(name)


@pytest.mark.parametrize("model_type", ["wavlm", "moonshine"])
def test_an_encoder_of_the_hub(model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny one, saved as the library saves: it loads, as deep as wanted, and is checked ever after."""
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options: dict[str, Any] = TINY[model_type]
    if model_type == "moonshine":
        options = {
            "model_type": "moonshine",
            "hidden_size": 16,
            "intermediate_size": 32,
            "encoder_num_hidden_layers": 2,
            "encoder_num_attention_heads": 2,
            "decoder_num_hidden_layers": 1,
            "vocab_size": 20,
        }
    own = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**options))
    own.save_pretrained(tmp_path / "saved")
    with pytest.raises(EncoderError, match="encoders fetch a/tiny"):
        build_encoder("a/tiny")
    place = fetch("a/tiny", tmp_path / "saved")
    assert here() == ["a/tiny"]
    encoder = build_encoder("a/tiny", depth=1)
    load_pretrained(encoder, "a/tiny")
    prefix = "encoder." if model_type == "moonshine" else ""
    theirs = own.state_dict()
    for name, values in encoder.state_dict().items():
        assert values.equal(theirs[prefix + name]), name
    (place / "config.json").write_text(json.dumps({"model_type": "wavlm"}))
    with pytest.raises(EncoderError, match="not what was fetched"):
        locate("a/tiny")


def test_the_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, runner = known(monkeypatch, b"weights", tmp_path), CliRunner(env={"COLUMNS": "200"})
    assert "not here" in runner.invoke(build_app(), ["encoders", "list"]).output
    fetched = runner.invoke(build_app(), ["encoders", "fetch", "moonshine-base", "--from", str(file)])
    assert fetched.exit_code == 0
    assert "moonshine-base.onnx" in fetched.output
    listed = runner.invoke(build_app(), ["encoders", "list"]).output
    assert "not here" not in listed
    assert "MIT" in listed
