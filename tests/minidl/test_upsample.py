"""Upsampling, nearest and bilinear."""

import numpy as np
import pytest

from minidl import Tensor, nn, ops
from tests.minidl import naive
from tests.minidl.harness import check_operation, numbers

SHAPES = [(2, 3, 4, 2), (1, 1, 5, 3), (1, 2, 1, 1), (1, 1, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsample(shape, factor, mode, device):
    oracle = {"nearest": naive.upsample_nearest, "bilinear": naive.upsample_bilinear}[mode]
    check_operation(lambda x: ops.upsample(x, factor, mode), [numbers(*shape)], lambda x: oracle(x, factor), device)


def test_worked_example_of_the_notes():
    x = Tensor(np.arange(1.0, 10).reshape(1, 3, 3, 1), requires_grad=True)
    y = nn.Upsample()(x)
    np.testing.assert_array_equal(
        y.data[0, :, :, 0],
        [
            [1, 1, 2, 2, 3, 3],
            [1, 1, 2, 2, 3, 3],
            [4, 4, 5, 5, 6, 6],
            [4, 4, 5, 5, 6, 6],
            [7, 7, 8, 8, 9, 9],
            [7, 7, 8, 8, 9, 9],
        ],
    )
    y.backward(np.arange(36.0).reshape(y.shape))
    # The square at the top left collects 0 + 1 + 6 + 7 = 14; one to the right adds 8, one below 48.
    np.testing.assert_array_equal(x.grad[0, :, :, 0], [[14, 22, 30], [62, 70, 78], [110, 118, 126]])


def test_bilinear_by_hand():
    y = nn.Upsample(2, "bilinear")(Tensor(np.array([0.0, 4.0]).reshape(1, 1, 2, 1)))
    np.testing.assert_allclose(y.data[0, :, :, 0], [[0, 1, 3, 4], [0, 1, 3, 4]])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_against_scipy(factor):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = numbers(2, 5, 7, 3)
    wanted = ndimage.zoom(x, (1, factor, factor, 1), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(ops.upsample(Tensor(x), factor, "bilinear").data, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_against_opencv(mode):
    cv2 = pytest.importorskip("cv2")
    x = numbers(4, 6, 3).astype(np.float32)
    how = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR}[mode]
    wanted = cv2.resize(x, (12, 8), interpolation=how)
    np.testing.assert_allclose(ops.upsample(Tensor(x[None]), 2, mode).data[0], wanted, rtol=1e-5, atol=1e-6)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="unknown mode 'cubic', choose one of nearest, bilinear"):
        ops.upsample(Tensor(np.ones((1, 2, 2, 1))), 2, "cubic")


@pytest.mark.parametrize("factor", [0, -1, 1.5])
def test_factor_must_be_a_positive_whole_number(factor):
    with pytest.raises(ValueError, match=f"upsample: the factor must be a whole number of at least 1, not {factor}"):
        ops.upsample(Tensor(np.ones((1, 2, 2, 1))), factor)
