"""Versions of the development models that training makes: whole, the head alone, low-rank merged.

All is computed by torch on one thread from fixed seeds. A few dozen steps are what a correction in
the field takes; longer training moves every weight further, and its update is larger.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
from hwc.toolchain.engine import Array
from hwc.toolchain.frontend.torch_graph import Tensor, TorchGraph, import_torch, to_torch

from .devkit import Case, calibration_arrays, calibration_feeds
from .update_changes import with_weights

EPOCHS = 2
RATE = 1e-5  # of Adam
LOW_RANK_RATE = 1e-3  # a product of small matrices starts from 0 and is trained faster
RANK = 8
_IMAGES, _SENTENCES = 4, 12  # in a batch
_HIGHEST = 5.0  # score of two sentences that say the same


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Labelled inputs, in the order of a permutation that the seed decides.

    Attributes:
        feeds: By input.
        loss: Of the model's only output.
    """

    feeds: Mapping[str, Tensor]
    loss: Callable[[Tensor], Tensor]


def trained(data: bytes, batches: Iterator[Batch], names: Collection[str]) -> bytes:
    """A model after one step of Adam for each batch.

    Args:
        data: The model, of float32 weights.
        batches: What it learns from.
        names: Of the weights that are trained.
    """
    graph = _converted(data)
    weights = {name: graph.weights[name] for name in names}
    _descend(graph, batches, list(weights.values()), lambda: weights, RATE)
    return with_weights(data, _arrays(weights))


def merged(data: bytes, batches: Iterator[Batch], names: Collection[str]) -> bytes:
    """A model with trained products of low rank added to these matrices, as LoRA is merged."""
    graph, torch = _converted(data), import_torch()
    generator = torch.Generator().manual_seed(0)
    first = {
        name: torch.randn(len(graph.weights[name]), RANK, generator=generator) / RANK
        for name in names
    }
    second = {name: torch.zeros(RANK, graph.weights[name].shape[1]) for name in names}

    def weights() -> dict[str, Tensor]:
        return {name: graph.weights[name] + first[name] @ second[name] for name in names}

    _descend(graph, batches, [*first.values(), *second.values()], weights, LOW_RANK_RATE)
    return with_weights(data, _arrays(weights()))


def pictures(case: Case) -> Iterator[Batch]:
    """Labelled pictures of a classifier."""
    torch = import_torch()
    inputs = np.concatenate([feed["input"] for feed in calibration_feeds(case)])
    labels = calibration_arrays(case)["y"].astype(np.int64)
    for chosen in _epochs(len(labels), _IMAGES):
        wanted = torch.from_numpy(labels[chosen])
        loss = partial(torch.nn.functional.cross_entropy, target=wanted)
        yield Batch({"input": torch.from_numpy(inputs[chosen])}, loss)


def sentences(case: Case) -> Iterator[Batch]:
    """Pairs of sentences whose likeness people gave scores; the cosine is to be the score."""
    torch = import_torch()
    tokens = [feed["input_ids"][0] for feed in calibration_feeds(case)]
    scores = calibration_arrays(case)["score"] / np.float32(_HIGHEST)
    for chosen in _epochs(len(scores), _SENTENCES):
        wanted = torch.from_numpy(scores[chosen])
        feeds = _padded([tokens[2 * k + side] for side in (0, 1) for k in chosen])
        inputs = {name: torch.from_numpy(array) for name, array in feeds.items()}
        yield Batch(inputs, partial(_likeness, wanted=wanted))


def _likeness(embedded: Tensor, wanted: Tensor) -> Tensor:
    """How far the cosines of the first half with the second half are from the scores."""
    functional = import_torch().nn.functional
    return functional.mse_loss(functional.cosine_similarity(*embedded.chunk(2)), wanted)


def _epochs(count: int, size: int) -> Iterator[Array]:
    """Indices of batches."""
    rng = np.random.default_rng(0)
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        yield from (order[at : at + size] for at in range(0, count, size))


def _padded(tokens: list[Array]) -> dict[str, Array]:
    ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
    mask = np.zeros_like(ids)
    for row, one in enumerate(tokens):
        ids[row, : len(one)], mask[row, : len(one)] = one, 1
    return {"input_ids": ids, "attention_mask": mask}


def _converted(data: bytes) -> TorchGraph:
    import_torch().set_num_threads(1)
    return to_torch(ir.from_proto(onnx.load_from_string(data)))


def _descend(
    graph: TorchGraph,
    batches: Iterator[Batch],
    learnt: list[Tensor],
    weights: Callable[[], Mapping[str, Tensor]],
    rate: float,
) -> None:
    """One step of Adam for each batch."""
    for tensor in learnt:
        tensor.requires_grad_(True)  # noqa: FBT003 - torch's signature
    optimiser = import_torch().optim.Adam(learnt, lr=rate)
    for batch in batches:
        optimiser.zero_grad()
        (output,) = graph(batch.feeds, weights()).values()
        batch.loss(output).backward()
        optimiser.step()


def _arrays(weights: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in weights.items()}
