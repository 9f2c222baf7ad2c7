"""A plan as a table, in the form in which the original program prints a network."""

from math import prod

from yolov3.darknet import kinds
from yolov3.darknet.weights import Header

HEADING = f"{'layer     filters    size              input                output':<93}trainable  run.st  byte offset"


def layer_table(plan):
    """One line per layer, and the totals below, as one text.

    On the left what the original prints: number, kind, filters, size / stride, and width x height x channels before
    and after; BFLOPs are the multiplications and additions of a convolution for one picture, in 10^9.  On the right
    what is in the weights file: trainable numbers, running statistics of the batch norms, and where the layer's first
    byte stands.
    """
    lines, offset = [HEADING], Header().size
    for layer in plan.layers:
        numbers = [str(number) if number else "-" for number in (layer.trainable, layer.statistics)]
        start = str(offset) if layer.floats else "-"
        lines.append(f"{_original_line(plan, layer):<93}{numbers[0]:>9}{numbers[1]:>7}{start:>12}")
        offset += 4 * layer.floats
    return "\n".join([*lines, "", *_totals(plan, offset)])


def _totals(plan, file_bytes):
    operations = plan.operations
    lines = [
        f"{plan.trainable:,} trainable parameters",
        f"{plan.statistics:,} running statistics",
        f"{operations:,} operations ({operations / 1e9:.2f} Bn) for one picture of "
        f"{plan.input_shape[1]} x {plan.input_shape[0]}",
        f"{file_bytes:,} bytes of weights",
    ]
    return [*lines, f"{plan.boxes:,} predicted boxes"] if plan.detections else lines


def _original_line(plan, layer):
    """The left part: as the original prints it, in its field widths."""
    kind, before, after = layer.kind, layer.input_shape, layer.output_shape
    maps = f"{_map(before)}   ->  {_map(after)}"
    match kind:
        case kinds.Convolutional():
            window = f"{kind.size:2d} x{kind.size:2d} /{kind.stride:2d}"
            text = f"conv  {kind.filters:5d} {window}  {maps}  {layer.operations / 1e9:5.3f} BFLOPs"
        case kinds.MaxPool():
            text = f"max         {kind.size:2d} x{kind.size:2d} /{kind.stride:2d}  {maps}"
        case kinds.Shortcut():
            source = plan.layers[kind.source].output_shape
            text = f"res  {kind.source:3d}                {_map(source)}   ->  {_map(after)}"
        case kinds.Route():
            text = "route " + "".join(f" {source}" for source in kind.sources)
        case kinds.Upsample():
            text = f"upsample           {kind.stride:2d}x  {maps}"
        case kinds.Reorg():
            text = f"reorg              /{kind.stride:2d}  {maps}"
        case kinds.AvgPool():
            text = f"avg                     {_map(before)}   ->  {after[2]:4d}"
        case kinds.Connected():
            text = f"connected                            {prod(before):4d}  ->  {kind.output:4d}"
        case kinds.Dropout():
            text = f"dropout       p = {kind.probability:.2f}               {prod(before):4d}  ->  {prod(after):4d}"
        case kinds.Softmax():
            text = f"softmax                                        {prod(before):4d}"
        case kinds.Cost():
            text = f"cost                                           {prod(before):4d}"
        case kinds.Region():
            text = "detection"
        case _:
            text = layer.section
    return f"{layer.index:5d} {text}"


def _map(shape):
    height, width, channels = shape
    return f"{width:4d} x{height:4d} x{channels:4d}"
