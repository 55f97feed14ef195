"""The graph of one hop inside a graph that repeats it.

What `vocaffect.repetition` writes is a Scan over hops, and nothing else that computes. To step through one hop costs
less outside of the Scan than in it, and the nodes are the same.
"""

from vocaffect.protobuf import contents, delimited, fields

STEP = "step"
"""What the names of a hop's inputs and outputs begin with, where the whole graph's have the rest."""

_GRAPH, _NODE, _OP_TYPE, _ATTRIBUTE, _BODY, _METADATA = 7, 1, 4, 5, 6, 14
"""Fields of ModelProto, GraphProto, NodeProto and AttributeProto (onnx.proto)."""


def one_hop(model: bytes) -> bytes | None:
    """The model of one hop, whose inputs and outputs are called ``step.NAME``; none if a model repeats nothing.

    Raises:
        ValueError: if the model is cut short.
    """
    [graph] = contents(model, _GRAPH)
    nodes = contents(graph, _NODE)
    kinds = [contents(node, _OP_TYPE)[0] for node in nodes]
    if kinds[:2] != [b"Reshape", b"Scan"] or set(kinds[2:]) != {b"Squeeze"}:
        return None
    [body] = [body for attribute in contents(nodes[1], _ATTRIBUTE) for body in contents(attribute, _BODY)]
    kept = (model[each.start : each.end] for each in fields(model) if each.number not in (_GRAPH, _METADATA))
    return b"".join(kept) + delimited(_GRAPH, body)
