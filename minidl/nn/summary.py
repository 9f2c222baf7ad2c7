"""The layer table of a network: what runs, in which order, on which shapes, at what cost."""

from dataclasses import dataclass

from minidl.nn.graph import trace


@dataclass(frozen=True)
class LayerRow:
    """One layer that ran: its path in the network, kind, kernel, shapes without the batch, parameters, operations."""

    path: str
    kind: str
    kernel: str
    input_shape: tuple
    output_shape: tuple
    parameters: int
    operations: int


def layer_table(model, input_shape):
    """Rows for every layer without layers of its own, in the order in which they run.

    ``input_shape`` is (height, width, channels).  The model runs once on zeros, in evaluation mode.
    ``operations`` count multiplications and additions of convolutions and linear layers for one image.
    """
    return [
        LayerRow(
            path=node.path,
            kind=type(node.module).__name__,
            kernel=node.module.describe() if hasattr(node.module, "describe") else "",
            input_shape=node.input_shapes[0],
            output_shape=node.output_shape,
            parameters=node.module.parameter_count(),
            operations=node.module.operations((1, *node.output_shape)) if hasattr(node.module, "operations") else 0,
        )
        for node in trace(model, input_shape).nodes
    ]


def summary(model, input_shape):
    """The layer table as text, with totals in the last line.  ``input_shape`` is (height, width, channels)."""
    rows = layer_table(model, input_shape)
    width = max(len(row.path) for row in rows)
    lines = [
        f"{'':>4} {'layer':<{width}} {'kind':<18} {'kernel':<8} {'input':>15} -> {'output':<15} "
        f"{'parameters':>11} {'Bn ops':>7}"
    ]
    for index, row in enumerate(rows):
        sizes = f"{_times(row.input_shape):>15} -> {_times(row.output_shape):<15}"
        cost = f"{row.operations / 1e9:7.3f}" if row.operations else ""
        lines.append(
            f"{index:4} {row.path:<{width}} {row.kind:<18} {row.kernel:<8} {sizes} {row.parameters:11,} {cost}".rstrip()
        )
    total = sum(row.operations for row in rows)
    lines.append(
        f"total: {model.parameter_count():,} trainable parameters, {total:,} operations ({total / 1e9:.2f} Bn)"
    )
    return "\n".join(lines)


def _times(shape):
    return "x".join(str(size) for size in shape)
