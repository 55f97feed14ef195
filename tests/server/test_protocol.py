import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel, TypeAdapter

from vocaffect.server import protocol, records, refusals

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]
MESSAGES = {
    message.model_fields["type"].default: message
    for message in {**vars(protocol), **vars(records)}.values()
    if isinstance(message, type) and issubclass(message, BaseModel) and "type" in message.model_fields
}


def load_generator() -> ModuleType:
    path = ROOT / "web" / "types_from_python.py"
    spec = importlib.util.spec_from_file_location("types_from_python", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_typescript_twin_is_what_python_says() -> None:
    generator = load_generator()
    assert generator.TARGET.read_text(encoding="utf-8") == generator.render(), (
        "the protocol has changed; run `python web/types_from_python.py`"
    )


def test_the_twin_holds_every_message() -> None:
    assert set(MESSAGES.values()) <= set(load_generator().MESSAGES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["type"])
def test_every_example_of_the_document_is_a_message(example: dict[str, object]) -> None:
    message = MESSAGES[str(example["type"])].model_validate(example)
    assert json.loads(message.model_dump_json(exclude_unset=True)) == example


def test_the_document_shows_every_message_and_every_error() -> None:
    assert {example["type"] for example in EXAMPLES} == set(MESSAGES)
    for code in get_args(refusals.ErrorCode):
        status, close = refusals.STATUS[code]
        assert f"| `{code}` | {status} | {close} |" in DOCUMENT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON"),
        ("[]", "object"),
        ('{"type":"bye"}', "bye"),
        ('{"type":"hello","version":1,"format":"int16"}', "sample_rate"),
        ('{"type":"hello","version":1,"format":"mp3","sample_rate":16000}', "format"),
        ('{"type":"hello","version":1,"format":"int16","sample_rate":1}', "sample_rate"),
        ('{"type":"end","now":true}', "now"),
    ],
)
def test_text_that_is_no_message_is_refused_with_its_fault(text: str, reason: str) -> None:
    with pytest.raises(refusals.ProtocolError, match="not a message of the protocol") as caught:
        protocol.parse_client(text)
    assert reason in caught.value.message


def test_messages_of_the_client_are_read() -> None:
    hello = protocol.Hello(version=1, sample_rate=48_000, format="float32", recognizer="live")
    assert protocol.parse_client(hello.model_dump_json()) == hello
    assert protocol.parse_client('{"type":"end"}') == protocol.End()


def test_numbers_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        TypeAdapter(protocol.Trace).validate_python({"peak_s": 0.02, "peaks": [float("nan")], "updates": []})


def test_the_documents_client_runs(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    exec(code.replace("ws://127.0.0.1:8000", address.replace("http", "ws")), {})
    assert [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()] == [
        "ready",
        *["update"] * 10,
        "summary",
    ]
