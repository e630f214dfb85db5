"""Stage 1c: channels in the order in which 2:4 sparsity keeps most of their weights."""

import onnx_ir as ir

from ...passes.permute import permute
from ...toolchain.observe import annotate
from ...toolchain.progress import Progress
from ...toolchain.sparse.channels import best_orders
from ...toolchain.structure.find_groups import find_groups
from ..request import Method
from .compilation import Compilation
from .decide import reference


def reordered(begun: Compilation, progress: Progress) -> ir.Model:
    """The same function, its channels in another order; the model itself where no kernel gains."""
    model = begun.prepared.model
    if Method.SPARSITY not in begun.request.methods or not begun.target.dialect.sparse_2_4:
        return model
    with progress.stage("order channels for 2:4"):
        seen = annotate(model, reference, begun.prepared.feeds)
        groups = find_groups(seen).groups
        return permute(model, groups, best_orders(seen, groups))
