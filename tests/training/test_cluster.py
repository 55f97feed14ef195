"""Work on Ray, two processes of it on this machine, one of which is killed: the work ends as it does without Ray."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from vocaffect.cache import stored
from vocaffect.cluster import connected
from vocaffect.errors import VocaffectError
from vocaffect.recipe import Recipe, read_recipe
from vocaffect.training import checkpoint

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="work on Ray needs the extra cluster"),
    pytest.mark.timeout(900),
]
MakeRecipe = Callable[..., Recipe]
TOLERANCE = 2e-4
"""Of a weight, as among processes that torchrun starts: sums in another order."""

PLUGIN = """
import os
import signal
from pathlib import Path

from vocaffect.features import register_feature
from vocaffect.losses import cross_entropy, register_loss

calls = 0


def die_once():
    global calls
    calls += 1
    if calls == 7:
        try:
            Path({mark!r}).open("x")
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@register_loss("deadly")
def deadly(logits, shares):
    die_once()
    return cross_entropy(logits, shares)


@register_loss("hopeless")
def hopeless(logits, shares):
    return cross_entropy(logits, shares) * float("nan")


@register_feature("deadly")
def peak(wav, sr, params):
    die_once()
    return abs(wav).max(keepdims=True)[None]
"""


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster but those that tests start; and its workers get their time while other tests run."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A running cluster of one machine with room for two processes."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    port, client = (_free_port() for _ in range(2))
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--num-cpus=2", f"--port={port}"]
    command += [f"--ray-client-server-port={client}", "--include-dashboard=false", "--disable-usage-stats"]
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets lie in it, whose paths must be short
    command += ["--object-store-memory=100000000", f"--temp-dir={folder}"]
    with (tmp_path / "log").open("w") as log:
        head = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, start_new_session=True)
    try:
        while "Ray runtime started" not in (tmp_path / "log").read_text() or not _answers(client):
            assert head.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield f"ray://127.0.0.1:{client}"
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A loss and a feature that kill their process, once for all processes."""
    (tmp_path / "deadly.py").write_text(PLUGIN.format(mark=str(tmp_path / "died")))
    return tmp_path / "deadly.py"


def command(*words: object, code: int = 0) -> str:
    """What the command line says; a process of its own, as Ray reads its settings when it is imported."""
    line = [sys.executable, "-m", "vocaffect.cli", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done.stderr if code else done.stdout


def test_features_are_those_computed_here(plugin: Path, corpus: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{{plugins: [{plugin}], data: {{corpus: folder}}, frontend: {{features: {{deadly: {{}}}}}}}}")
    words = ("cache", "--config", recipe, "--data-root", corpus, "--cache-dir")
    assert "far: 54 clips, " in command(*words, tmp_path / "far", "--on", "ray")
    assert (tmp_path / "died").exists()
    command(*words, tmp_path / "near", "--workers", 1)
    far, near = ({path.name: path.read_bytes() for path in (tmp_path / name).glob("*/*/*")} for name in ("far", "near"))
    assert far == near
    assert [each.num_clips for each in stored(tmp_path / "far")] == [54]


def test_two_processes_train_what_one_does(
    address: str, plugin: Path, small: MakeRecipe, corpus: Path, tmp_path: Path
) -> None:
    changes = ("training.max_epochs=3", "model.dropout=0", f"plugins=[{plugin}]", "training.loss={name: deadly}")
    small(*changes).write(tmp_path / "recipe.yaml")
    words = ("train", "--config", tmp_path / "recipe.yaml", "--data-root", corpus, "--runs-dir", tmp_path)
    said = command(*words, "--run-name", "far", "--on", address, "--processes", 2)
    assert (tmp_path / "died").exists()
    assert "a process died; all go on" in said
    assert [said.count(f"epoch   {epoch}") for epoch in (1, 2, 3)] == [1, 1, 1]
    command(*words, "--run-name", "near")
    far, near = (checkpoint.load(tmp_path / name / "last_3_0.safetensors")[0] for name in ("far", "near"))
    for name, value in near.items():
        torch.testing.assert_close(far[name], value, rtol=TOLERANCE, atol=TOLERANCE)
    assert {path.name for path in (tmp_path / "far").iterdir()} == {path.name for path in (tmp_path / "near").iterdir()}


def test_a_sweep_has_all_its_trials(plugin: Path, small: MakeRecipe, corpus: Path, tmp_path: Path) -> None:
    small("training.max_epochs=2", f"plugins=[{plugin}]", "training.loss={name: deadly}").write(tmp_path / "r.yaml")
    words = ("sweep", "--config", tmp_path / "r.yaml", "--sweep-name", "s", "--runs-dir", tmp_path)
    rate = ("--data-root", corpus, "--set", "training.learning_rate=log(1e-3,1e-1)")
    said = command(*words, *rate, "--trials", 3, "--on", "ray")
    assert (tmp_path / "died").exists()
    assert "best of 3: trial" in said
    rows = [json.loads(line) for line in (tmp_path / "s" / "trials.jsonl").read_text().splitlines()]
    assert [(row["trial"], row["state"], row["epochs"]) for row in rows] == [(n, "whole", 2) for n in range(3)]
    assert read_recipe(tmp_path / "s" / "best.yaml").training.max_epochs == 2


def test_a_mistake_is_told_as_it_is_without_ray(plugin: Path, small: MakeRecipe, corpus: Path, tmp_path: Path) -> None:
    small(f"plugins=[{plugin}]", "training.loss={name: hopeless}").write(tmp_path / "recipe.yaml")
    words = ("train", "--config", tmp_path / "recipe.yaml", "--data-root", corpus, "--runs-dir", tmp_path)
    said = command(*words, "--run-name", "far", "--on", "ray", code=2)
    assert "error: the loss became nan in epoch 1, batch 1: lower training.learning_rate" in said


def test_places_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VocaffectError, match="write ray for this machine, or ray://host:10001"), connected("spark"):
        pass
    monkeypatch.setattr("vocaffect.errors.find_spec", lambda name: None)
    with pytest.raises(VocaffectError, match=r"needs ray: pip install 'vocaffect\[cluster\]'"), connected("ray"):
        pass


def test_a_cluster_that_could_not_serve_is_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = [], [ConnectionAbortedError("Initialization failure from server"), None]

    def init(address: str, **options: object) -> None:
        asked.append(address)
        if error := answers.pop(0):
            raise error

    monkeypatch.setattr("ray.init", init)
    with connected("ray://10.0.0.1:10001"):
        assert asked == ["ray://10.0.0.1:10001"] * 2
    answers[:] = [ConnectionAbortedError("again"), ConnectionAbortedError("and again")]
    with pytest.raises(VocaffectError, match=r"no Ray answers at ray://10\.0\.0\.1:10001: and again"):
        connected("ray://10.0.0.1:10001").__enter__()


def test_several_processes_without_ray_are_refused(small: MakeRecipe, corpus: Path, tmp_path: Path) -> None:
    small().write(tmp_path / "recipe.yaml")
    words = ("train", "--data-root", corpus, "--config", tmp_path / "recipe.yaml", "--run-name", "a", "--processes", 2)
    assert "add --on ray" in command(*words, code=2)
