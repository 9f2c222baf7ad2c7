"""Every kernel once more, in the plainest loops there are: what the fast ones are compared with.

Nothing is shared with the package, and everything is float64.
"""

import math

import numpy as np


def _window_pixels(i, j, kernel_size, stride, padding):
    """``(u, v, row, column)``: kernel cell and image position for output pixel (i, j); positions may lie outside."""
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            yield u, v, i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]


def conv2d(x, weight, bias=None, stride=(1, 1), padding=(0, 0)):
    """Each output pixel: the sum over its window of pixel times weight."""
    batch, height, width, _ = x.shape
    kernel_size, filters = weight.shape[:2], weight.shape[3]
    out_height = (height + 2 * padding[0] - kernel_size[0]) // stride[0] + 1
    out_width = (width + 2 * padding[1] - kernel_size[1]) // stride[1] + 1
    y = np.zeros((batch, out_height, out_width, filters))
    for n in range(batch):
        for i in range(out_height):
            for j in range(out_width):
                for u, v, row, column in _window_pixels(i, j, kernel_size, stride, padding):
                    if 0 <= row < height and 0 <= column < width:
                        y[n, i, j] += x[n, row, column] @ weight[u, v]
    return y if bias is None else y + bias


def conv2d_gradients(x, weight, grad, stride=(1, 1), padding=(0, 0)):
    """Gradients of x, weight and bias: every product of the forward pass hands its gradient to both factors."""
    batch, height, width, _ = x.shape
    grad_x, grad_weight, grad_bias = np.zeros(x.shape), np.zeros(weight.shape), np.zeros(weight.shape[3])
    for n in range(batch):
        for i in range(grad.shape[1]):
            for j in range(grad.shape[2]):
                grad_bias += grad[n, i, j]
                for u, v, row, column in _window_pixels(i, j, weight.shape[:2], stride, padding):
                    if 0 <= row < height and 0 <= column < width:
                        grad_x[n, row, column] += weight[u, v] @ grad[n, i, j]
                        grad_weight[u, v] += np.outer(x[n, row, column], grad[n, i, j])
    return grad_x, grad_weight, grad_bias


def leaky(value, slope):
    """Of one number."""
    return value if value > 0 else slope * value


def leaky_relu(x, slope=0.1):
    """Number by number."""
    return np.array([leaky(value, slope) for value in x.ravel()]).reshape(x.shape)


def channel_statistics(x):
    """Mean and sum of squared deviations of every channel, added up without rounding."""
    rows = x.reshape(-1, x.shape[-1])
    means = [math.fsum(rows[:, c]) / len(rows) for c in range(rows.shape[1])]
    squares = [math.fsum((value - means[c]) ** 2 for value in rows[:, c]) for c in range(rows.shape[1])]
    return np.array(means), np.array(squares)


def batchnorm_standard(x, gamma, beta, mean=None, variance=None, slope=1.0):
    """``gamma (x - mean) / sqrt(variance + 1e-5) + beta``; statistics of x, variance over N, where none are given."""
    if mean is None:
        mean, squares = channel_statistics(x)
        variance = squares / (x.size // x.shape[-1])
    return leaky_relu(gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta, slope)


def batchnorm_darknet(x, gamma, beta, mean=None, variance=None, slope=1.0):
    """``gamma (x - mean) / (sqrt(variance) + 1e-6) + beta``; variance over N - 1."""
    if mean is None:
        mean, squares = channel_statistics(x)
        variance = squares / (x.size // x.shape[-1] - 1)
    return leaky_relu(gamma * (x - mean) / (np.sqrt(variance) + 1e-6) + beta, slope)


def maxpool2d(x, size, stride, padding, grad=None):
    """Spec 3.4: the window starts ``padding // 2`` before the image; places outside do not count; the first wins.

    With ``grad`` returns the gradient of x instead.
    """
    batch, height, width, channels = x.shape
    out_height, out_width = (height + padding - size) // stride + 1, (width + padding - size) // stride + 1
    y, grad_x = np.zeros((batch, out_height, out_width, channels)), np.zeros(x.shape)
    for n, i, j, c in np.ndindex(y.shape):
        best, place = -math.inf, None
        for u, v in np.ndindex(size, size):
            row, column = i * stride + u - padding // 2, j * stride + v - padding // 2
            if 0 <= row < height and 0 <= column < width and x[n, row, column, c] > best:
                best, place = x[n, row, column, c], (n, row, column, c)
        y[n, i, j, c] = best
        if grad is not None:
            grad_x[place] += grad[n, i, j, c]
    return y if grad is None else grad_x


def upsample_nearest(x, factor):
    """Every output pixel looks where it came from."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * factor, width * factor, channels))
    for i, j in np.ndindex(y.shape[1:3]):
        y[:, i, j] = x[:, i // factor, j // factor]
    return y


def upsample_bilinear(x, factor):
    """Every output pixel blends the four input pixels around its centre; beyond the border the border's pixels."""
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * factor, width * factor, channels))
    for i, j in np.ndindex(y.shape[1:3]):
        row, column = (i + 0.5) / factor - 0.5, (j + 0.5) / factor - 0.5
        top, left = math.floor(row), math.floor(column)
        for neighbour_row in (top, top + 1):
            for neighbour_column in (left, left + 1):
                nearness = (1 - abs(row - neighbour_row)) * (1 - abs(column - neighbour_column))
                inside_row = min(max(neighbour_row, 0), height - 1)
                inside_column = min(max(neighbour_column, 0), width - 1)
                y[:, i, j] += nearness * x[:, inside_row, inside_column]
    return y


def concat(*arrays):
    """Number by number along the last axis."""
    leading = arrays[0].shape[:-1]
    y = np.zeros((*leading, sum(array.shape[-1] for array in arrays)))
    for position in np.ndindex(leading):
        y[position] = [value for array in arrays for value in array[position]]
    return y


def linear(x, weight, bias):
    """Each output: a sum over the inputs."""
    y = np.zeros((len(x), weight.shape[1]))
    for row, out in np.ndindex(y.shape):
        y[row, out] = bias[out] + math.fsum(x[row, i] * weight[i, out] for i in range(x.shape[1]))
    return y


def bce_with_logits(logits, targets, weights):
    """``-sum w [t log p + (1 - t) log(1 - p)]`` for moderate logits; all three of one shape."""
    total = 0.0
    for x, t, w in zip(logits.ravel(), targets.ravel(), weights.ravel(), strict=True):
        p = 1 / (1 + math.exp(-x))
        total -= w * (t * math.log(p) + (1 - t) * math.log(1 - p))
    return np.array(total)


def cross_entropy(logits, labels):
    """``-sum log(e^x_label / sum e^x)`` for moderate logits."""
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        total -= math.log(math.exp(row[label]) / sum(math.exp(x) for x in row))
    return np.array(total)


def squared_error(prediction, targets, weights):
    """``sum w (p - t)^2 / 2``."""
    entries = zip(prediction.ravel(), targets.ravel(), weights.ravel(), strict=True)
    return np.array(sum(w * (p - t) ** 2 / 2 for p, t, w in entries))


def shortcut(x, source):
    """Number by number, by the indices of the original's rule."""
    y = x.copy()
    height, width = (min(a, b) for a, b in zip(x.shape[1:3], source.shape[1:3], strict=True))
    stride, sample = max(1, source.shape[2] // x.shape[2]), max(1, x.shape[2] // source.shape[2])
    for n in range(x.shape[0]):
        for i in range(height):
            for j in range(width):
                for k in range(min(x.shape[3], source.shape[3])):
                    y[n, i * sample, j * sample, k] += source[n, i * stride, j * stride, k]
    return y
