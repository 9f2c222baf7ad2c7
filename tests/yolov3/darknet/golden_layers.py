"""Layers as lines of facts, from the golden files and from a plan, so that the two can be compared."""

import json

from yolov3.darknet import kinds


def line_of_golden(entry):
    """A line of an entry of ``layers`` in a golden table or structure."""
    match entry["type"]:
        case "convolutional":
            norm = "bn" if entry["batch_normalize"] else "bias"
            window = f"{entry['size']}/{entry['stride']}+{entry['padding']}"
            facts = f"{entry['filters']} {window} {norm} {entry['activation']}"
        case "maxpool":
            facts = f"{entry['size']}/{entry['stride']}+{entry['padding']}"
        case "shortcut":
            facts = f"{entry['from']} {entry['activation']}"
        case "route":
            facts = ",".join(map(str, entry["from"]))
        case "upsample" | "reorg":
            facts = str(entry["stride"])
        case "yolo":
            facts = f"{entry['mask']} {entry['anchors']} {entry['classes']} {entry['ignore_thresh']}"
        case "region":
            facts = f"{entry['anchors']} {entry['classes']} {entry['softmax']}"
        case "avgpool" | "softmax" | "cost":
            facts = ""
    return f"{entry['type']} {facts} -> {entry['output']}".replace("  ", " ")


def line_of(layer):
    """The same line of a layer of a plan."""
    height, width, channels = layer.output_shape
    facts = _facts(layer.kind)
    return f"{layer.section} {facts} -> {[channels, height, width]}".replace("  ", " ")


def _facts(kind):
    match kind:
        case kinds.Convolutional():
            norm = "bn" if kind.batch_normalize else "bias"
            return f"{kind.filters} {kind.size}/{kind.stride}+{kind.padding} {norm} {kind.activation}"
        case kinds.MaxPool():
            return f"{kind.size}/{kind.stride}+{kind.padding}"
        case kinds.Shortcut():
            return f"{kind.source} {kind.activation}"
        case kinds.Route():
            return ",".join(map(str, kind.sources))
        case kinds.Upsample() | kinds.Reorg():
            return str(kind.stride)
        case kinds.Yolo():
            anchors = [side for anchor in kind.anchors for side in anchor]
            return f"{list(kind.mask)} {anchors} {kind.classes} {kind.ignore_threshold}"
        case kinds.Region():
            return f"{[side for anchor in kind.anchors for side in anchor]} {kind.classes} {int(kind.softmax)}"
        case kinds.AvgPool() | kinds.Softmax() | kinds.Cost():
            return ""


def golden_lines(path):
    """All lines of a golden table or structure."""
    return [line_of_golden(entry) for entry in json.loads(path.read_text())["layers"]]
