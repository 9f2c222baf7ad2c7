"""How the layers of a detector are joined, stated a second time: for a program that brings layers of its own.

A *peer* here is an object with the methods ``block(block, x)`` and ``convolution(layer, x)``, which compute a ConvBlock
and a Conv2d of our network in the peer's way, and ``add(a, b)``, ``concat(a, b)``, ``upsample(x)`` (nearest, twice the
size) and ``maxpool(x, size, stride)`` (whose missing places lie right and below).  What ``x`` is, is the peer's
affair.
"""

from yolov3.model import YOLOv3Tiny


def run(model, images, peer):
    """The heads of ``model`` for ``images``, coarse to fine, with every layer computed by ``peer``."""
    return (_run_tiny if isinstance(model, YOLOv3Tiny) else _run_yolov3)(model, images, peer)


def _run_yolov3(model, x, peer):
    x = peer.block(model.backbone.stem, x)
    maps = []
    for stage in model.backbone.stages:
        x = peer.block(stage.downsample, x)
        for residual in stage.blocks:
            x = peer.add(x, peer.block(residual.expand, peer.block(residual.reduce, x)))
        maps.append(x)
    fine, middle, coarse = maps[2:]
    pyramid = model.pyramid
    x, logits_32 = _run_branch(pyramid.branch_32, coarse, peer)
    x, logits_16 = _run_branch(pyramid.branch_16, _run_top_down(pyramid.top_down_16, x, middle, peer), peer)
    _, logits_8 = _run_branch(pyramid.branch_8, _run_top_down(pyramid.top_down_8, x, fine, peer), peer)
    return logits_32, logits_16, logits_8


def _run_branch(branch, x, peer):
    for block in branch.features.layers:
        x = peer.block(block, x)
    return x, peer.convolution(branch.output, peer.block(branch.expand, x))


def _run_top_down(top_down, x, backbone_map, peer):
    upsampled = peer.upsample(peer.block(top_down.reduce, x))
    if top_down.lateral is not None:
        return peer.add(upsampled, peer.block(top_down.lateral, backbone_map))
    return peer.concat(upsampled, backbone_map)


def _run_tiny(model, x, peer):
    for block, pool in zip(model.convs[:6], model.pools, strict=True):
        before_pool = peer.block(block, x)
        x = peer.maxpool(before_pool, pool.size, pool.stride)
        if block is model.convs[4]:
            finer = before_pool
    x = peer.block(model.reduce, peer.block(model.convs[6], x))
    logits_32 = peer.convolution(model.output_32, peer.block(model.expand_32, x))
    x = peer.block(model.expand_16, _run_top_down(model.top_down, x, finer, peer))
    return logits_32, peer.convolution(model.output_16, x)
