"""Small networks with every kind of layer, and parameters that show every mistake, for the tests of inference."""

import numpy as np

from minidl import Tensor, nn, no_grad


def randomised(model, seed=0):
    """The network with random biases and running statistics in place of zeros and ones; in evaluation mode."""
    rng = np.random.default_rng(seed)
    for _, module in model.named_modules():
        if isinstance(module, nn.BatchNorm):
            channels = module.gamma.size
            module.gamma.data = rng.uniform(0.8, 1.2, channels).astype(np.float32)
            module.beta.data = rng.uniform(-0.2, 0.2, channels).astype(np.float32)
            module.running_mean.data = rng.uniform(-0.2, 0.2, channels).astype(np.float32)
            module.running_variance.data = rng.uniform(0.6, 1.4, channels).astype(np.float32)
        elif getattr(module, "bias", None) is not None:
            module.bias.data = rng.uniform(-0.2, 0.2, module.bias.size).astype(np.float32)
    return model.eval()


def pictures(*shape, seed=7):
    """Random images (batch, height, width, channels), float32 in [0, 1]."""
    return np.random.default_rng(seed).random(shape, np.float32)


def outputs_of(network, images):
    """The arrays that a network returns for images, in evaluation mode and without gradients."""
    with no_grad():
        outputs = network.eval()(Tensor(images))
    return [each.data for each in (outputs if isinstance(outputs, tuple) else (outputs,))]


class Graph(nn.Module):
    """A network written as a list: name = (layer, names of its inputs); ``images`` is the input.

    ``outputs``: the name of what it returns, or a tuple of names.
    """

    def __init__(self, outputs, **layers):
        self.names, self.layers = list(layers), [layer for layer, *_ in layers.values()]
        self.inputs, self.outputs = [inputs for _, *inputs in layers.values()], outputs

    def forward(self, images):
        maps = {"images": images}
        for name, layer, inputs in zip(self.names, self.layers, self.inputs, strict=True):
            maps[name] = layer(*(maps[each] for each in inputs))
        return tuple(maps[each] for each in self.outputs) if isinstance(self.outputs, tuple) else maps[self.outputs]


def every_layer(seed=0):
    """Each kind of layer and connection, for images (batch, height, width, 3) with sides that are multiples of 4."""
    rng = np.random.default_rng(seed)
    conv = lambda *arguments, **options: nn.Conv2d(*arguments, rng=rng, **options)  # noqa: E731
    network = Graph(
        ("head_4", "head_2", "scores", "c3"),
        c1=(conv(3, 8, 7, stride=2, bias=False), "images"),
        n1=(nn.BatchNorm(8, slope=0.1), "c1"),
        c2=(conv(8, 4, 1), "n1"),
        a2=(nn.LeakyReLU(0.2), "c2"),
        c3=(conv(4, 8, 3), "a2"),  # returned as it is
        n3=(nn.BatchNorm(8), "c3"),
        s3=(nn.Shortcut(0.3), "n3", "n1"),
        c4=(conv(8, 8, 3, bias=False), "s3"),
        n4=(nn.BatchNorm(8, slope=0.1), "c4"),
        s4=(nn.Shortcut(), "n4", "s3"),
        pool=(nn.MaxPool2d(2, 2), "s4"),
        odd=(conv(8, 8, 2, padding=0), "pool"),  # one row and column less
        same=(nn.MaxPool2d(2, 1), "odd"),
        c5=(conv(8, 12, 3, stride=2), "s4"),
        drop=(nn.Dropout(0.5), "c5"),
        n5=(nn.BatchNorm(12, slope=0.1), "drop"),
        mixed=(nn.Shortcut(0.1), "n5", "s4"),  # half the size, fewer channels
        head_4=(conv(12, 5, 1), "mixed"),
        up=(nn.Upsample(2), "mixed"),
        smooth=(nn.Upsample(2, "bilinear"), "n5"),
        narrow=(conv(8, 6, 1), "s4"),
        joined=(nn.Concat(), "up", "narrow", "smooth", "narrow"),
        alone=(nn.BatchNorm(36, slope=0.5), "joined"),
        head_2=(conv(36, 5, 3), "alone"),
        mean=(nn.GlobalAveragePool(), "same"),
        first=(nn.Linear(8, 4, rng=rng), "mean"),
        second=(nn.Linear(8, 3, bias=False, rng=rng), "mean"),
        pair=(nn.Concat(), "first", "second", "first"),
        scores=(nn.LeakyReLU(), "pair"),
    )
    return randomised(network, seed)
