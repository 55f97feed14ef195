"""As much of protobuf's encoding as it takes to find a field of an ONNX file, and to write one."""

from collections.abc import Iterator
from typing import NamedTuple


class Field(NamedTuple):
    """A field of a message: its number, where it starts with its tag, where its content starts, and where both end."""

    number: int
    start: int
    content: int
    end: int


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a message in their order (protobuf encoding, "message structure").

    Raises:
        ValueError: if the message is cut short or is none.
    """
    position = 0
    while position < len(message):
        start = position
        try:
            tag, position = varint(message, position)
            size, content = _extent(message, position, tag & 7)
        except IndexError:
            raise ValueError("a message that ends within a number") from None
        position = content + size
        if position > len(message):
            raise ValueError("a message that ends within a field")
        yield Field(tag >> 3, start, content, position)


def contents(message: bytes, number: int) -> list[bytes]:
    """The contents of all fields of that number; raises as `fields`."""
    return [message[field.content : field.end] for field in fields(message) if field.number == number]


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it.

    Raises:
        ValueError: if it is longer than any number is.
        IndexError: if it is cut short.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")


def delimited(number: int, content: bytes) -> bytes:
    """A field of that number that holds bytes, a text or a message."""
    size, header = len(content), bytearray([number << 3 | 2])
    while size > 0x7F:
        header.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(header) + bytes([size]) + content


def _extent(data: bytes, position: int, wire_type: int) -> tuple[int, int]:
    """Size and start of a field's content."""
    match wire_type:
        case 0:
            return varint(data, position)[1] - position, position
        case 1:
            return 8, position
        case 2:
            return varint(data, position)
        case 5:
            return 4, position
        case _:
            raise ValueError(f"wire type {wire_type}")
