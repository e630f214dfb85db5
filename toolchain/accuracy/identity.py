"""Digests of what a loss depends on: the model, and the data."""

import hashlib
import json

import numpy as np
import onnx_ir as ir

from .samples import Samples, each


def model_digest(model: ir.Model, *words: str) -> str:
    """SHA-256 of a graph with its weights, whatever else it says about itself.

    Args:
        model: The graph.
        words: What else numbers depend on: how it is quantised, the runtime with its version.
    """
    digest = hashlib.sha256()
    graph = model.graph
    digest.update(_text(*words, *(f"{k}:{v}" for k, v in sorted(graph.opset_imports.items()))))
    digest.update(_text(*(str(value.name) for value in (*graph.inputs, *graph.outputs))))
    for node in graph:
        proto = ir.serde.serialize_node(node)
        proto.doc_string = ""
        del proto.metadata_props[:]
        digest.update(_text("node"))
        digest.update(proto.SerializeToString(deterministic=True))
    for name, value in sorted(graph.initializers.items()):
        tensor = value.const_value
        digest.update(_text("weight", name, str(value.dtype), str(value.shape)))
        digest.update(b"" if tensor is None else tensor.tobytes())
    return digest.hexdigest()


def data_digest(samples: Samples) -> str:
    """SHA-256 of all samples, in order, with their labels."""
    digest = hashlib.sha256()
    for sample in each(samples):
        arrays = {**sample.feeds, **({} if sample.label is None else {"": sample.label})}
        for name, array in sorted(arrays.items()):
            flat = np.ascontiguousarray(array)
            digest.update(_text(name, str(flat.dtype), str(flat.shape)))
            digest.update(flat.tobytes() if flat.dtype.kind != "O" else _text(*map(str, flat.flat)))
    return digest.hexdigest()


def _text(*words: str) -> bytes:
    return json.dumps(words).encode()
