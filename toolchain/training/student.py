"""A graph that torch trains: its weights by their own names, and the way back into the graph."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import onnx_ir as ir

from ..accuracy.samples import Samples
from ..engine import Array, Feeds, Runner
from ..errors import InputError
from ..frontend.torch_graph import (
    Tensor,
    TorchGraph,
    batches,
    check_same,
    import_torch,
    tensors_of,
    to_torch,
)
from ..kernels import constant
from .norms import Norm, calibrate, insert, with_biases

MakeRunner = Callable[[ir.Model], Runner]

_CALIBRATION = 256  # samples whose statistics the norms begin with
_TOGETHER = 32  # of them run at a time
_SAME = 1e-3  # of an output's largest number: a hundred layers, with norms, in float32
# What is learnt: the inputs of an operator that its weights come in. Embeddings are not: rows that
# the training data lacks would only decay.
_LEARNT: Mapping[str, Collection[int]] = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "GroupNormalization": (1, 2),
    "GRU": (1, 2, 3),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "LSTM": (1, 2, 3, 7),
    "MatMul": (0, 1),
    "Mul": (0, 1),
    "PRelu": (1,),
    "RNN": (1, 2, 3),
}


@dataclass(frozen=True, slots=True, eq=False)
class Student:
    """A graph in training.

    Attributes:
        model: The graph, with a bias for each norm to be folded into.
        graph: Its torch form, whose weights are parameters of the module.
        learnt: Names of the weights that are trained, in the order of the nodes.
        norms: Batch norms that it has while it is trained.
        batched: Whether several samples may run at once.
        steps: Learnt steps of quantisation-aware training.
        rounding: What it rounds; empty where it does not.
    """

    model: ir.Model
    graph: TorchGraph
    learnt: tuple[str, ...]
    norms: tuple[Norm, ...]
    batched: bool
    steps: tuple[Tensor, ...] = ()
    rounding: str = ""

    @classmethod
    def of(
        cls,
        model: ir.Model,
        samples: Samples,
        run: MakeRunner,
        *,
        features: Sequence[str] = (),
        norms: bool = False,
    ) -> Self:
        """Convert a graph and see that it is the same function.

        Args:
            model: The graph, of float32 weights; it is not changed.
            samples: Some of the training data: for the check, and for the norms' statistics.
            run: The runtime that the check compares with.
            features: Names of tensors to return beside the outputs.
            norms: Whether to put batch norms behind convolutions; only where samples can be
                batched.

        Raises:
            InputError: torch cannot run the graph, it is another function there, or it has nothing
                to learn.
        """
        feeds = samples[0].feeds
        expected = run(model)(feeds)
        plain = to_torch(model, features)
        check_same(plain, feeds, expected, _SAME)
        batched = batches(plain, feeds, _like(feeds, samples))
        if not (norms and batched):
            graph = _learning(plain, model)
            student = cls(model, graph, _learnt(graph, model), (), batched)
        else:
            model = with_biases(model)
            graph = _learning(to_torch(model, features), model)
            graph.module.eval()
            inserted = insert(graph, model)
            calibrate(graph, inserted, lambda: _run_some(graph, samples))
            student = cls(model, graph, _learnt(graph, model), inserted, batched)
            check_same(graph, feeds, expected, _SAME)
        if not student.learnt:
            raise InputError("the graph has no weights that can be trained", "leave recovery out")
        return student

    def __call__(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run it; outputs and features by name."""
        return self.graph(feeds)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the tensors that it returns beside the outputs of the model."""
        outputs = {str(value.name) for value in self.model.graph.outputs}
        return tuple(name for name in self.graph.outputs if name not in outputs)

    def parameters(self, name: str) -> tuple[Tensor, ...]:
        """What is trained for a weight: a normed convolution's bias stands for the norm."""
        for norm in self.norms:
            if norm.bias == name:
                return norm.module.weight, norm.module.bias
        return (self.graph.weights[name],)

    def state(self) -> dict[str, Tensor]:
        """A copy of all that training changes, by torch's names."""
        return {name: tensor.detach().clone() for name, tensor in self._live().items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave."""
        torch = import_torch()
        with torch.no_grad():
            for name, tensor in self._live().items():
                tensor.copy_(state[name])

    def weights(self) -> dict[str, Array]:
        """The weights as the graph has them, norms folded, by name."""
        split = {
            name: np.ascontiguousarray(self.graph.weights[name].detach().numpy())
            for name in self.learnt
        }
        folded: dict[str, Array] = {}
        for norm in self.norms:
            folded |= norm.fold(split)
        return {name: np.array(array) for name, array in {**split, **folded}.items()}

    def to_model(self, samples: Samples, run: MakeRunner) -> ir.Model:
        """The trained graph, checked to be what torch has.

        Args:
            samples: The first one is compared.
            run: The runtime that the check compares with.

        Raises:
            InputError: It is another function.
        """
        model = write_back(self.model, self.weights())
        self.graph.module.eval()
        feeds = samples[0].feeds
        check_same(self.graph, feeds, run(model)(feeds), _SAME)
        return model

    def _live(self) -> dict[str, Tensor]:
        """Parameters, and statistics of the norms."""
        live = dict(self.graph.module.named_parameters())
        for norm in self.norms:
            live[f"{norm.path}.running_mean"] = norm.module.running_mean
            live[f"{norm.path}.running_var"] = norm.module.running_var
        return live


def write_back(model: ir.Model, weights: Mapping[str, Array]) -> ir.Model:
    """A copy of a graph with other weights, by name; each keeps its type.

    Raises:
        InputError: The graph has no such weight, its shape is another, or a number is not finite.
    """
    copy = model.clone()
    for name, array in weights.items():
        value = copy.graph.initializers.get(name)
        held = None if value is None else value.const_value
        if value is None or held is None:
            raise InputError(f"the graph has no weight {name!r}", "train the graph that is written")
        if tuple(held.shape) != array.shape:
            raise InputError(f"weight {name!r} of shape {list(held.shape)} became {array.shape}")
        if not np.isfinite(array).all():
            raise InputError(f"weight {name!r} is not finite after training", "lower lr")
        value.const_value = ir.tensor(array.astype(held.dtype.numpy()), name=name)
    return copy


def learnt_weights(model: ir.Model) -> tuple[str, ...]:
    """Names of the float weights that training may change, in the order of the nodes."""
    names: dict[str, None] = {}
    for node in model.graph:
        for index in _LEARNT.get(node.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is not None and value.is_initializer() and _varies(value):
                names[str(value.name)] = None
    return tuple(names)


def common_features(first: ir.Model, second: ir.Model) -> tuple[str, ...]:
    """Tensors that two graphs have by name and that say much: the ends of residual blocks."""
    ends = [_residual_ends(model) for model in (first, second)]
    return tuple(name for name in ends[0] if name in set(ends[1]))


def _residual_ends(model: ir.Model) -> list[str]:
    """Sums of two activations."""
    adds = [node for node in model.graph if node.op_type == "Add"]
    return [str(n.outputs[0].name) for n in adds if all(constant(v) is None for v in n.inputs)]


def _varies(value: ir.Value) -> bool:
    """Whether a constant is a weight rather than a number of the formula or a mask."""
    held = value.const_value
    if held is None or held.dtype != ir.DataType.FLOAT or held.size <= 1:
        return False
    return bool(np.abs(held.numpy()).max() < np.finfo(np.float32).max / 2)


def _learnt(graph: TorchGraph, model: ir.Model) -> tuple[str, ...]:
    """The weights to train that the torch form has, too."""
    return tuple(name for name in learnt_weights(model) if name in graph.weights)


def _learning(graph: TorchGraph, model: ir.Model) -> TorchGraph:
    """The graph with weights as parameters; those that are not learnt need no gradient."""
    torch = import_torch()
    names = set(learnt_weights(model))
    weights: dict[str, Tensor] = {}
    for name, tensor in graph.weights.items():
        owner, _, leaf = graph.attributes[name].rpartition(".")
        module = graph.module.get_submodule(owner)
        layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format  # noqa: PLR2004 - OIHW
        own = tensor.detach().clone(memory_format=layout)
        weights[name] = torch.nn.Parameter(own, requires_grad=name in names)
        del module._buffers[leaf]  # noqa: SLF001 - torch has no other way to make it a parameter
        module.register_parameter(leaf, weights[name])
    return replace(graph, weights=weights)


def _like(feeds: Feeds, samples: Samples) -> Feeds:
    """Another sample of the same shapes, as far as a few show one."""
    for index in range(1, min(len(samples), _CALIBRATION)):
        other = samples[index].feeds
        if all(other[name].shape == array.shape for name, array in feeds.items()):
            return other
    return feeds


def _run_some(graph: TorchGraph, samples: Samples) -> None:
    """Call a graph on samples from all over the data, those of one shape together."""
    step = max(1, len(samples) // _CALIBRATION)
    alike: dict[object, list[Feeds]] = {}
    for index in range(0, len(samples), step)[:_CALIBRATION]:
        feeds = samples[index].feeds
        alike.setdefault(tuple(array.shape for array in feeds.values()), []).append(feeds)
    for group in alike.values():
        for start in range(0, len(group), _TOGETHER):
            some = group[start : start + _TOGETHER]
            graph(tensors_of({n: np.concatenate([each[n] for each in some]) for n in some[0]}))
