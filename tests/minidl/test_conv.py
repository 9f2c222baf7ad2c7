"""Convolution: naive loops, SciPy, OpenCV and ONNX Runtime as oracles; many shapes; blocks and threads; errors."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minidl import Tensor, get_num_threads, nn, ops, set_num_threads
from minidl.kernels import cpu
from minidl.kernels.cpu import choice
from minidl.kernels.cpu import conv as conv_kernels
from tests.minidl import naive
from tests.minidl.harness import assert_close, check_operation, numbers

CASES = [  # batch, height, width, in_channels, kernel, out_channels, stride, padding
    (1, 5, 7, 3, (1, 1), 4, (1, 1), (0, 0)),
    (2, 5, 7, 2, (1, 1), 3, (2, 2), (0, 0)),
    (1, 4, 3, 2, (1, 1), 2, (1, 1), (1, 2)),
    (2, 5, 7, 2, (3, 3), 3, (1, 1), (1, 1)),
    (2, 7, 5, 2, (3, 3), 3, (2, 2), (1, 1)),
    (1, 8, 6, 2, (3, 3), 2, (2, 2), (1, 1)),
    (1, 9, 8, 1, (3, 3), 2, (3, 2), (0, 1)),
    (2, 5, 5, 2, (2, 2), 2, (2, 2), (0, 0)),
    (1, 6, 5, 2, (2, 2), 3, (3, 3), (1, 1)),
    (1, 9, 7, 2, (5, 4), 2, (1, 1), (2, 1)),
    (1, 9, 8, 2, (5, 4), 2, (2, 3), (3, 0)),
    (1, 10, 11, 1, (2, 1), 1, (4, 5), (0, 0)),
    (1, 3, 4, 2, (2, 2), 2, (1, 1), (3, 3)),
    (1, 2, 2, 1, (1, 1), 1, (2, 2), (3, 2)),
    (1, 3, 3, 1, (5, 5), 1, (1, 1), (1, 1)),
    (1, 1, 1, 1, (1, 1), 1, (1, 1), (0, 0)),
    (3, 4, 4, 1, (4, 4), 2, (1, 1), (0, 0)),
    (2, 3, 8, 3, (3, 3), 8, (1, 1), (1, 1)),  # so few weights that four pixels are computed at once
    (2, 5, 15, 2, (3, 3), 5, (2, 2), (1, 1)),  # the same with stride 2
    (2, 3, 8, 7, (3, 3), 7, (1, 1), (1, 1)),  # one weight too many for that
]


def arrays_of(batch, height, width, channels, kernel, filters):
    return (
        numbers(batch, height, width, channels),
        numbers(*kernel, channels, filters, seed=1),
        numbers(filters, seed=2),
    )


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("with_bias", [False, True], ids=["plain", "bias"])
def test_result_and_gradients(case, with_bias, device):
    *sizes, stride, padding = case
    inputs = arrays_of(*sizes)[: 3 if with_bias else 2]

    def convolve(x, weight, bias=None):
        return ops.conv2d(x, weight, bias, stride, padding)

    def expected(x, weight, bias=None):
        return naive.conv2d(x, weight, bias, stride, padding)

    check_operation(convolve, inputs, expected, device)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    image=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    filters=st.integers(1, 3),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_random_shapes_against_loops(batch, image, channels, kernel, filters, stride, padding):
    assume(all(size + 2 * pad >= taps for size, pad, taps in zip(image, padding, kernel, strict=True)))
    x, weight, bias = arrays_of(batch, *image, channels, kernel, filters)
    tensors = [Tensor(each, requires_grad=True) for each in (x, weight, bias)]
    y = ops.conv2d(*tensors, stride, padding)
    assert_close(y.data, naive.conv2d(x, weight, bias, stride, padding), 1e-12)
    cotangent = numbers(*y.shape, seed=3)
    y.backward(cotangent)
    wanted = naive.conv2d_gradients(x, weight, cotangent, stride, padding)
    for tensor, gradient in zip(tensors, wanted, strict=True):
        assert_close(tensor.grad, gradient, 1e-12)


def test_by_hand():
    x = Tensor(np.arange(9.0).reshape(1, 3, 3, 1), requires_grad=True)
    weight = Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1), requires_grad=True)
    y = ops.conv2d(x, weight)
    np.testing.assert_array_equal(y.data[0, :, :, 0], [[27, 37], [57, 67]])  # 0*1 + 1*2 + 3*3 + 4*4 = 27
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(x.grad[0, :, :, 0], [[1, 3, 2], [4, 10, 6], [3, 7, 4]])
    np.testing.assert_array_equal(weight.grad[:, :, 0, 0], [[8, 12], [20, 24]])


def test_pixels_that_no_window_reaches_have_no_gradient():
    x = Tensor(numbers(1, 6, 8, 1), requires_grad=True)
    ops.conv2d(x, Tensor(numbers(2, 2, 1, 1)), stride=3).backward(np.ones((1, 2, 3, 1)))
    reached = np.zeros((6, 8), bool)
    for row in (0, 3):
        for column in (0, 3, 6):
            reached[row : row + 2, column : column + 2] = True
    np.testing.assert_array_equal(x.grad[0, :, :, 0] != 0, reached)


def test_only_gradients_that_are_needed_are_computed(monkeypatch):
    monkeypatch.setattr(cpu, "conv2d_grad_input", lambda *_: pytest.fail("nobody needs the image's gradient"))
    weight = Tensor(numbers(3, 3, 2, 2), requires_grad=True)
    ops.conv2d(Tensor(numbers(1, 4, 4, 2)), weight).sum().backward()
    assert weight.grad.shape == weight.shape


def test_against_scipy():
    signal = pytest.importorskip("scipy.signal")
    x, weight, _ = arrays_of(1, 12, 9, 3, (4, 3), 2)
    y = ops.conv2d(Tensor(x), Tensor(weight)).data
    for o in range(2):
        wanted = sum(signal.correlate(x[0, :, :, c], weight[:, :, c, o], mode="valid") for c in range(3))
        np.testing.assert_allclose(y[0, :, :, o], wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [3, 5])
def test_against_opencv(size):
    cv2 = pytest.importorskip("cv2")
    image, kernel = numbers(17, 22), numbers(size, size, seed=1)
    y = ops.conv2d(Tensor(image[None, :, :, None]), Tensor(kernel[:, :, None, None]), padding=size // 2)
    wanted = cv2.filter2D(image, cv2.CV_64F, kernel, borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(y.data[0, :, :, 0], wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES[3:12], ids=str)
def test_against_onnxruntime(case):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    *sizes, stride, padding = case
    x, weight, bias = (each.astype(np.float32) for each in arrays_of(*sizes))
    names = {"x": x.transpose(0, 3, 1, 2), "weight": weight.transpose(3, 2, 0, 1), "bias": bias}
    single = onnx.TensorProto.FLOAT
    node = onnx.helper.make_node("Conv", list(names), ["y"], strides=stride, pads=[*padding, *padding])
    inputs = [onnx.helper.make_tensor_value_info(name, single, value.shape) for name, value in names.items()]
    outputs = [onnx.helper.make_tensor_value_info("y", single, None)]
    graph = onnx.helper.make_graph([node], "convolution", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {name: np.ascontiguousarray(value) for name, value in names.items()})[0]
    found = ops.conv2d(Tensor(x), Tensor(weight), Tensor(bias), stride, padding).data
    assert_close(found, wanted.transpose(0, 2, 3, 1), 1e-5)


LARGE = [  # more numbers in the windows than one block holds, and enough work for three threads
    ((2, 61, 47, 16), (3, 3, 16, 8), (1, 1), (1, 1)),
    ((2, 61, 47, 16), (3, 3, 16, 8), (2, 2), (1, 1)),
    ((7, 19, 23, 32), (1, 1, 32, 24), (1, 1), (0, 0)),
    ((5, 20, 21, 8), (5, 4, 8, 6), (3, 2), (2, 3)),
    ((4, 61, 96, 3), (3, 3, 3, 8), (1, 1), (1, 1)),  # four pixels at once
]


@pytest.mark.parametrize(("image", "kernel", "stride", "padding"), LARGE, ids=str)
def test_blocks_and_threads(image, kernel, stride, padding):
    x, weight = numbers(*image), numbers(*kernel, seed=1)
    padded = np.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel[:2], axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1]]  # (batch, out_height, out_width, channels, kernel...)
    wanted = np.einsum("nijcuv,uvco->nijo", windows, weight, optimize=True)
    cotangent = numbers(*wanted.shape, seed=2)
    wanted_weight = np.einsum("nijcuv,nijo->uvco", windows, cotangent, optimize=True)
    before = get_num_threads()
    try:
        for threads in (1, 2, 3):
            set_num_threads(threads)
            first, again = (_run(x, weight, cotangent, stride, padding) for _ in range(2))
            for one, other in zip(first, again, strict=True):
                np.testing.assert_array_equal(one, other)  # bit for bit
            assert_close(first[0], wanted, 1e-5, f"result, {threads} threads")
            assert_close(first[2], wanted_weight, 1e-5, f"weight gradient, {threads} threads")
            # <grad_x, x> = <cotangent, conv(x)>: the gradient is the transposed map, for this x and another
            for probe in (x, numbers(*image, seed=3)):
                through = ops.conv2d(Tensor(probe), Tensor(weight), None, stride, padding).data
                size = np.linalg.norm(cotangent) * np.linalg.norm(through)
                assert abs((first[1] * probe).sum() - (cotangent * through).sum()) < 1e-6 * size
    finally:
        set_num_threads(before)


def _run(x, weight, cotangent, stride, padding):
    tensors = [Tensor(each.astype(np.float32), requires_grad=True) for each in (x, weight)]
    y = ops.conv2d(*tensors, None, stride, padding)
    y.backward(cotangent.astype(np.float32))
    return y.data, tensors[0].grad, tensors[1].grad


def test_layer_keeps_the_size_at_stride_one_and_halves_at_two():
    x = Tensor(np.zeros((1, 14, 10, 3), np.float32))
    assert nn.Conv2d(3, 5, 3)(x).shape == (1, 14, 10, 5)
    assert nn.Conv2d(3, 5, 3, stride=2)(x).shape == (1, 7, 5, 5)
    assert nn.Conv2d(3, 5, 1, bias=False)(x).shape == (1, 14, 10, 5)
    assert nn.Conv2d(3, 5, 3, padding=0)(x).shape == (1, 12, 8, 5)


def test_layer_starts_he_normal_and_repeats_with_its_generator():
    layer = nn.Conv2d(64, 50, 3, rng=np.random.default_rng(3))
    assert layer.weight.dtype == np.float32
    assert layer.weight.data.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert layer.weight.data.mean() == pytest.approx(0, abs=1e-3)
    np.testing.assert_array_equal(layer.bias.data, np.zeros(50))
    again = nn.Conv2d(64, 50, 3, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(layer.weight.data, again.weight.data)


IMAGE, WEIGHT = np.ones((1, 4, 5, 2)), np.ones((3, 3, 2, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((1, 4, 5, 3)), WEIGHT), r"needs an input \(batch, height, width, 2\), not \(1, 4, 5, 3\)"),
        ((np.ones((4, 5, 2)), WEIGHT), r"needs an input \(batch, height, width, 2\), not \(4, 5, 2\)"),
        ((IMAGE, np.ones((3, 3, 2))), r"conv2d: the weight must be .*, not \(3, 3, 2\)"),
        ((IMAGE, WEIGHT, np.ones(1)), r"conv2d: the bias must have the shape \(4,\), not \(1,\)"),
        ((IMAGE, np.ones((5, 5, 2, 4))), "a 5x5 window does not fit into a 4x5 image with 0x0 padding"),
        ((IMAGE, WEIGHT, None, 0), "conv2d: stride must be .* of at least 1, not 0"),
        ((IMAGE, WEIGHT, None, (1, -1)), r"conv2d: stride must be .* of at least 1, not \(1, -1\)"),
        ((IMAGE, WEIGHT, None, 1, -1), "conv2d: padding must be .* of at least 0, not -1"),
        ((IMAGE, WEIGHT, None, 1.5), "conv2d: stride must be one whole number or two .*, not 1.5"),
        ((IMAGE, WEIGHT, None, (1, 1, 1)), r"conv2d: stride must be one whole number or two .*, not \(1, 1, 1\)"),
        ((IMAGE, WEIGHT, None, "2"), "conv2d: stride must be one whole number or two .*, not '2'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(arguments, message):
    arguments = [Tensor(each) if isinstance(each, np.ndarray) else each for each in arguments]
    with pytest.raises(ValueError, match=message):
        ops.conv2d(*arguments)


def test_four_pixels_at_once_where_the_weights_are_few():
    from minidl.kernels.cpu.wide import pixels_at_once

    assert pixels_at_once((3, 3, 3, 8), 96) == 4
    assert pixels_at_once((3, 3, 3, 8), 97) == 1  # four do not divide it
    assert pixels_at_once((3, 3, 8, 16), 96) == 1  # weights enough as it is
    assert pixels_at_once((1, 1, 3, 8), 96) == 1  # nothing overlaps


def test_one_channel_from_a_transposed_array():
    # NumPy calls such an image contiguous whatever its last stride says, and no copy is made where there is no padding.
    x = numbers(2, 1, 6, 8).transpose(0, 2, 3, 1)
    assert x.flags.c_contiguous
    weight = numbers(3, 2, 1, 4, seed=1)
    y = ops.conv2d(Tensor(x), Tensor(weight), stride=(2, 1), padding=0)
    assert_close(y.data, naive.conv2d(x, weight, stride=(2, 1)), 1e-12)


# ------------------------------------------------------------------------ large convolutions go Winograd's way


@pytest.fixture
def tiled(monkeypatch):
    """Let every 3x3 convolution with stride 1 count as large, and note which tiles were used."""
    used = []
    original = conv_kernels.transform_kernel
    monkeypatch.setattr(conv_kernels, "MANY_OPERATIONS", 1)
    monkeypatch.setattr(choice, "WEIGHT_COST", 0)
    monkeypatch.setattr(choice, "MOVE_COST", 0)

    def noting(weight, size, at_once):
        used.append(size)
        return original(weight, size, at_once)

    monkeypatch.setattr(conv_kernels, "transform_kernel", noting)
    return used


@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
@pytest.mark.parametrize("shape", [(2, 9, 14, 30), (1, 12, 12, 30)], ids=str)
def test_tiles_give_the_same_values_and_gradients(tiled, shape, padding, device):
    weight, vertical_horizontal = numbers(3, 3, 30, 40, seed=1), (padding,) * 2 if np.ndim(padding) == 0 else padding
    x, bias = numbers(*shape), numbers(40, seed=2)
    tensors = [Tensor(each, requires_grad=True) for each in (x, weight, bias)]
    y = ops.conv2d(*tensors, padding=padding)
    assert_close(y.data, naive.conv2d(x, weight, bias, (1, 1), vertical_horizontal), 1e-12)
    cotangent = numbers(*y.shape, seed=3)
    y.backward(cotangent)
    assert len(tiled) == 2  # once forwards, once for the gradient of the input
    wanted = naive.conv2d_gradients(x, weight, cotangent, (1, 1), vertical_horizontal)
    for tensor, gradient in zip(tensors, wanted, strict=True):
        assert_close(tensor.grad, gradient, 1e-11)


def test_only_large_ones_and_only_where_it_is_allowed(monkeypatch):
    large, small = ((3, 3, 64, 128), (8, 52, 52, 128)), ((3, 3, 64, 128), (1, 16, 16, 128))
    assert conv_kernels._tile_size(large[0], (1, 1), large[1]) == 4
    assert conv_kernels._tile_size(small[0], (1, 1), small[1]) is None
    assert conv_kernels._tile_size(large[0], (2, 2), large[1]) is None
    assert conv_kernels._tile_size((1, 1, 640, 1280), (1, 1), large[1]) is None
    monkeypatch.setattr(conv_kernels, "TRAINING", choice.FuseSettings(winograd=()))
    assert conv_kernels._tile_size(large[0], (1, 1), large[1]) is None
