"""What docs/operations.md and the examples for containers name is there."""

import re
from pathlib import Path

import httpx
import yaml

from vocaffect.bundle import golden_signal
from vocaffect.load import load
from vocaffect.server.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_setting_that_is_named_exists() -> None:
    table = DOCUMENT.split("## Limits")[1].split("## What is kept")[0]
    named = set(re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.M))))
    assert len(named) > 20
    assert named <= set(Settings.model_fields)
    variables = set(re.findall(r"VOCAFFECT_([A-Z_]+)", DOCUMENT))
    assert {name.lower() for name in variables} <= set(Settings.model_fields)


def test_every_metric_that_is_named_is_counted(address: str) -> None:
    load(address, 2, 1.0, golden_signal(2.0), ramp_s=0.0, warm_s=0.0)
    httpx.post(f"{address}/v1/recognize", content=b"")
    httpx.get(f"{address}/healthz", headers={"Host": "evil.example"})
    told = httpx.get(f"{address}/metrics").text
    for name in re.findall(r"^\| (`vocaffect_[^|]+) \|", DOCUMENT, re.M):
        for metric, labels in re.findall(r"`(vocaffect_\w+)(?:\{([\w,]+)\})?`", name):
            sample = next(line for line in told.splitlines() if line.startswith(metric))
            assert all(f'{label}="' in sample for label in filter(None, labels.split(","))), sample
    for metric in re.findall(r"(vocaffect_\w+?)(?:_bucket)?[\[{]", DOCUMENT.split("alert: ", 1)[1]):
        assert metric in told


def test_the_compose_file_sets_what_there_is() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    environment = compose["services"]["server"]["environment"]
    assert {name.removeprefix("VOCAFFECT_").lower() for name in environment} <= set(Settings.model_fields)
    assert (ROOT / compose["services"]["server"]["build"]["dockerfile"]).is_file()
