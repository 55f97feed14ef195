"""Writes `src/lib/protocol.ts`, the TypeScript twin of `vocaffect.server.protocol`.

Run `python web/types_from_python.py` after a change of the protocol; a test holds the two against each other.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vocaffect.server import protocol

TARGET = Path(__file__).parent / "src" / "lib" / "protocol.ts"

MESSAGES: tuple[type[BaseModel], ...] = (
    protocol.Hello,
    protocol.End,
    protocol.Ready,
    protocol.Update,
    protocol.Segment,
    protocol.Summary,
    protocol.ErrorMessage,
    protocol.RecognizerInfo,
    protocol.RecognizerList,
    protocol.Trace,
    protocol.Recognition,
    protocol.Health,
)

HEADER = """// Written by web/types_from_python.py from vocaffect.server.protocol; change it there.

export const VERSION = {version};

export type ClientMessage = Hello | End;
export type ServerMessage = Ready | Update | Segment | Summary | ErrorMessage;
"""


def render() -> str:
    """The text of the TypeScript module."""
    _, schema = models_json_schema([(message, "serialization") for message in MESSAGES])
    definitions = schema["$defs"]
    parts = [HEADER.format(version=protocol.VERSION)]
    parts += [_interface(message.__name__, definitions[message.__name__]) for message in MESSAGES]
    return "\n".join(parts)


def _interface(name: str, schema: dict[str, Any]) -> str:
    fields = [f"  {field}: {_type(value)};\n" for field, value in schema["properties"].items()]
    return f"/** {schema['description']} */\nexport interface {name} {{\n{''.join(fields)}}}\n"


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
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"Record<string, {_type(values)}>"
        case {"type": "number" | "integer"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as plain}:
            return str(plain)
    raise TypeError(f"no TypeScript type is known for {schema}")


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
