"""Writes `src/lib/protocol.ts`, the TypeScript twin of `vocaffect.server.protocol` and `records`.

Run `python web/types_from_python.py` after a change of the protocol; a test holds the two against each other.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vocaffect import card
from vocaffect.server import protocol, records

TARGET = Path(__file__).parent / "src" / "lib" / "protocol.ts"

REQUESTS: tuple[type[BaseModel], ...] = (
    protocol.Hello,
    protocol.Voice,
    protocol.Ping,
    protocol.Flush,
    protocol.End,
    records.SavedSegment,
    records.Save,
    records.Correction,
)
"""What clients send: fields that have a default may be left out."""

ANSWERS: tuple[type[BaseModel], ...] = (
    protocol.Ready,
    protocol.Features,
    protocol.Update,
    protocol.Segment,
    protocol.Known,
    protocol.Pong,
    protocol.Flushed,
    protocol.Summary,
    protocol.ErrorMessage,
    card.StateSpec,
    card.Golden,
    protocol.RecognizerInfo,
    protocol.RecognizerCard,
    protocol.ServerInfo,
    protocol.RecognizerList,
    protocol.Trace,
    protocol.Recognition,
    protocol.Progress,
    protocol.BatchItem,
    protocol.Batch,
    protocol.Health,
    protocol.Readiness,
    records.Saved,
    records.SavedList,
    records.Deleted,
)
MESSAGES = REQUESTS + ANSWERS

HEADER = """// Written by web/types_from_python.py from vocaffect.server.protocol and records; change it there.

export const VERSION = {version};

export type ClientMessage = Hello | Voice | Ping | Flush | End;
export type ServerMessage = Ready | Update | Segment | Known | Pong | Flushed | Summary | ErrorMessage;
"""


def render() -> str:
    """The text of the TypeScript module."""
    _, schema = models_json_schema([(message, "validation") for message in MESSAGES])
    definitions = schema["$defs"]
    parts = [HEADER.format(version=protocol.VERSION)]
    parts += [_interface(message, definitions[message.__name__]) for message in MESSAGES]
    return "\n".join(parts)


def _interface(message: type[BaseModel], schema: dict[str, Any]) -> str:
    fields = [
        f"  {field}{'?' if _may_lack(message, field) else ''}: {_type(value)};\n"
        for field, value in schema["properties"].items()
    ]
    return f"/** {schema['description']} */\nexport interface {message.__name__} {{\n{''.join(fields)}}}\n"


def _may_lack(message: type[BaseModel], field: str) -> bool:
    return message in REQUESTS and field != "type" and not message.model_fields[field].is_required()


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": str(reference)}:
            return reference.rsplit("/", 1)[1]
        case {"const": str(value)}:
            return f'"{value}"'
        case {"enum": [*values]}:
            return " | ".join(f'"{value}"' for value in values)
        case {"anyOf": [*options]}:
            return " | ".join(_type(option) for option in options)
        case {"type": "array", "items": items}:
            return f"{_type(items)}[]"
        case {"type": "object", "additionalProperties": True}:
            return "Record<string, unknown>"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"Record<string, {_type(values)}>"
        case {"type": "number" | "integer"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as plain}:
            return str(plain)
    raise TypeError(f"no TypeScript type is known for {schema}")


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
