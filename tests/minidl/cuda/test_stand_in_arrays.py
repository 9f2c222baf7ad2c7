"""The stand-in for CuPy: its arrays and functions, by hand-computed results and by what they must refuse."""

import copy
import inspect
import pickle
import warnings
from types import FunctionType

import numpy as np
import pytest

from minidl.device import array_library, array_module, device_of
from minidl.kernels.cuda.emulator import stand_in as xp
from minidl.kernels.cuda.emulator.stand_in.functions import REDUCTIONS

RAMP = np.arange(6, dtype=np.float32).reshape(2, 3)


def ramp():
    return xp.asarray(RAMP)


def test_it_is_the_library_of_its_arrays():
    assert device_of(ramp()) == "emulated"
    assert array_module(ramp()) is array_library("emulated") is xp
    assert isinstance(ramp(), xp.ndarray)


def test_fresh_memory_is_nan_and_aligned():
    for dtype in (np.float16, np.float32, np.float64):
        assert np.isnan(xp.empty((3, 5), dtype).get()).all()
    assert (xp.empty(4, np.int32).get() == -1).all()
    assert xp.empty(3, np.int8).data.ptr % 256 == 0


def test_no_implicit_conversion_to_numpy():
    for convert in (np.asarray, np.array, np.linalg.norm, lambda a: np.add.reduce(a), lambda a: np.zeros(3) @ a):
        with pytest.raises(TypeError):
            convert(ramp())
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(ramp())


@pytest.mark.parametrize("other", [RAMP, np.ones(1), np.array(2.0), [1.0, 2.0, 3.0], None, "a"])
def test_only_numbers_and_its_own_arrays_are_operands(other):
    for mix in (
        lambda a: a + other,
        lambda a: other + a,
        lambda a: a < other,
        lambda a: xp.maximum(a, other),
        lambda a: xp.where(a > 0, a, other),
        lambda a: a.__setitem__(..., other),
        lambda a: xp.concatenate([a, other]),
        lambda a: a.__iadd__(other),
    ):
        with pytest.raises(TypeError):
            mix(ramp())


def test_indices_are_numbers_slices_or_its_own_arrays():
    for index in (np.array([0, 1]), [0, 1], True, 1.5, ramp()):
        with pytest.raises((TypeError, IndexError)):
            ramp()[index]
    with pytest.raises(IndexError):  # CuPy would wrap around
        ramp()[xp.asarray(np.array([2]))]
    with pytest.raises(TypeError):  # an array of one number is no index for Python, as in CuPy
        range(ramp()[0, 0].astype(int))


def test_operators_and_types():
    a = ramp()
    assert (a + 1).dtype == np.float32
    assert (a + np.float32(1)).dtype == np.float32
    assert (a + np.float64(1)).dtype == np.float64  # NumPy 2's rule for scalars with a type, and CuPy 14's
    assert (a.astype(np.float16) * 2).dtype == np.float16
    np.testing.assert_array_equal((2 - a).get(), [[2, 1, 0], [-1, -2, -3]])
    np.testing.assert_array_equal((a // 2 + a % 2).get(), [[0, 1, 1], [2, 2, 3]])
    np.testing.assert_array_equal((a**2 @ a.T).get(), [[9, 24], [66, 216]])
    np.testing.assert_array_equal((~(a > 1) & (a != 0) | (a >= 5)).get(), [[False, True, False], [False, False, True]])
    np.testing.assert_array_equal(abs(-a).get(), RAMP)
    a *= 2
    a -= ramp()
    a /= 1
    np.testing.assert_array_equal(a.get(), RAMP)
    integers = xp.arange(3)
    with pytest.raises(TypeError):
        integers += 0.5
    assert (np.float64(2) * a).dtype == np.float64
    np.testing.assert_array_equal(np.sqrt(a * a).get(), RAMP)  # NumPy's functions find those of the stand-in
    assert isinstance(np.zeros_like(a), xp.ndarray)


def test_an_operand_of_higher_priority_takes_over():
    class Other:
        __array_priority__ = 101

        def __radd__(self, array):
            return "taken"

    assert ramp() + Other() == "taken"
    Other.__array_priority__ = 100  # not above CuPy's own
    with pytest.raises(TypeError, match="Unsupported type"):
        ramp() + Other()


def test_nothing_is_reported_of_divisions_by_zero():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a = ramp() / 0
        assert np.isinf(xp.log(ramp() * 0).get()).all()
        assert (xp.exp(ramp() + 1000).get() == np.inf).all()
        (a - a).sum()
        (ramp() * 1e6).astype(np.float16)
        xp.arange(3) // 0


def test_views_share_memory():
    a = ramp()
    for view in (a[0], a[..., 1:], a[:, None], a.T, a.reshape(3, 2), xp.expand_dims(a, 0), a.swapaxes(0, 1), a[1, 2]):
        before = a.get().sum()
        assert view._memory is a._memory
        view += 1
        assert a.get().sum() == before + view.size
    assert xp.ascontiguousarray(a) is a
    assert xp.asarray(a) is a
    assert xp.broadcast_to(a[0], (4, 3))._memory is a._memory
    for other in (a.copy(), a.T.reshape(6), a[a > -1], xp.ascontiguousarray(a.T), copy.copy(a), copy.deepcopy(a)):
        assert other._memory is not a._memory


def test_a_single_number_stays_on_the_gpu():
    a = ramp()
    for single in (a[1, 2], a.sum(), a.max(), a[0].argmax(), a.mean(), (a > 0).all()):
        assert isinstance(single, xp.ndarray)
        assert single.shape == ()
    assert [float(each) for each in a[1]] == [3, 4, 5]
    assert int(a.argmax()) == 5
    assert f"{a.mean():.2f}" == "2.50"
    assert a.sum(axis=0).tolist() == [3, 5, 7]
    with pytest.raises(TypeError):
        a.max(initial=0)  # NumPy alone has it
    with pytest.raises(TypeError):
        iter(a.sum())


def test_functions():
    a = ramp()
    row, column = xp.meshgrid(xp.arange(2), xp.arange(3), indexing="ij")
    np.testing.assert_array_equal((10 * row + column).get(), [[0, 1, 2], [10, 11, 12]])
    np.testing.assert_array_equal(xp.stack([a[0], a[1]], axis=-1).get(), [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(xp.concatenate([a, a[:, :1]], axis=1).get(), [[0, 1, 2, 0], [3, 4, 5, 3]])
    np.testing.assert_array_equal(xp.clip(a, 1, None).get(), [[1, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(xp.full(2, 7).get(), [7, 7])
    assert xp.full(2, 7).dtype == np.int64
    assert xp.zeros(2).dtype == np.float64
    assert [each.tolist() for each in xp.nonzero(a > 3)] == [[1, 1], [1, 2]]
    assert xp.where(a > 3, 1, 0).tolist() == [[0, 0, 0], [0, 1, 1]]
    assert not xp.zeros_like(a.T).flags.c_contiguous  # the order of the model is kept, as in CuPy
    with pytest.raises(ValueError, match="must set either max or min"):
        a.clip(None, None)
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.empty(1, "S3")
    with pytest.raises(ValueError, match="Unsupported dtype"):
        xp.empty(1, np.longdouble)


def test_what_is_not_listed_is_missing():
    for name in ("cumsum", "einsum", "linalg", "random", "pad"):
        with pytest.raises(AttributeError, match=f"stand-in for CuPy has no '{name}'"):
            getattr(xp, name)
    with pytest.raises(AttributeError, match="stand-in for CuPy have no 'cumsum'"):
        ramp().cumsum()
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ramp())


def test_storing_with_arrays_as_indices():
    a = xp.zeros(5)
    a[xp.asarray(np.array([3, 1]))] = xp.asarray(np.array([8.0, 9.0]))
    assert a.tolist() == [0, 9, 0, 8, 0]
    a[a > 8] = 1
    assert a.tolist() == [0, 1, 0, 8, 0]
    a[xp.asarray(np.array([2, 2]))] = 4  # the same number twice is no question
    assert a.tolist() == [0, 1, 4, 8, 0]
    a[xp.asarray(np.array([2, 3, 2]))] = xp.asarray(np.array([1.0, 2.0, 3.0]))  # on a GPU, 1 or 3
    np.testing.assert_array_equal(a.get(), [0, 1, np.nan, 2, 0])


def test_ufunc_at():
    a = xp.zeros((2, 2), np.float32)
    places = xp.asarray(np.array([0, 1, 0])), xp.asarray(np.array([1, 1, 1]))
    xp.add.at(a, places, xp.asarray(np.array([1, 2, 4], np.float32)))
    assert a.tolist() == [[0, 5], [0, 2]]
    owner = xp.full(3, -1, np.int32)
    xp.maximum.at(owner, xp.asarray(np.array([2, 0, 2])), xp.asarray(np.array([5, 1, 3], np.int32)))
    assert owner.tolist() == [1, -1, 5]
    with pytest.raises(TypeError, match=r"maximum\.at only supports"):  # CuPy 14.0 has no such atomic operation
        xp.maximum.at(owner.astype(np.int64), places[0], 1)
    with pytest.raises(NotImplementedError):
        xp.multiply.at(a, places, 1)


def test_integers_of_nan_are_refused():
    assert xp.asarray([1.9, -1.9]).astype(int).tolist() == [1, -1]
    for number in (np.nan, np.inf, 3e9):
        with pytest.raises(ValueError, match="astype"):
            xp.asarray([0.0, number]).astype(np.int32)


def test_copies_to_and_from_the_cpu():
    a = ramp()
    out = np.empty((2, 3), np.float32)
    assert a.get(out) is out
    np.testing.assert_array_equal(out, RAMP)
    a.set(-RAMP)
    np.testing.assert_array_equal(a.get(), -RAMP)
    with pytest.raises(ValueError, match="Shape mismatch"):
        a.set(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="cannot be set"):
        a.set(np.zeros((2, 3)))
    with pytest.raises(RuntimeError, match="non-contiguous"):
        a.T.set(np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="out is"):
        a.get(np.empty(6, np.float32))


def test_strided_views_stay_within_the_memory():
    a = ramp()
    as_strided = xp.lib.stride_tricks.as_strided
    assert as_strided(a[:, 1:], (5,), (4,)).tolist() == [1, 2, 3, 4, 5]
    assert as_strided(a[1, ::-1], (6,), (-4,)).tolist() == [5, 4, 3, 2, 1, 0]
    for view, count, stride in ((a[:, 1:], 6, 4), (a[0], 2, -4)):
        with pytest.raises(ValueError, match="beyond the memory"):
            as_strided(view, (count,), (stride,))


OWN_NAMES = {"count", "library", "memory_limit"}  # what CuPy does not have


def test_cupy_has_every_function_and_parameter():
    cupy = pytest.importorskip("cupy")
    for name in {*xp.library, *xp.__all__} - OWN_NAMES:
        assert hasattr(cupy, name), name
    for name, function in xp.library.items():
        if (
            name not in REDUCTIONS
            and isinstance(function, FunctionType)
            and isinstance(getattr(cupy, name), FunctionType)
        ):
            theirs = inspect.signature(getattr(cupy, name)).parameters
            takes_any = any(each.kind is each.VAR_KEYWORD for each in theirs.values())
            assert takes_any or set(inspect.signature(function).parameters) <= set(theirs), name


def test_cupy_has_every_method_and_class():
    cupy = pytest.importorskip("cupy")
    cuda = xp.cuda
    for ours, theirs, own_names in (
        (xp.ndarray, cupy.ndarray, set()),
        (cuda.Stream, cupy.cuda.Stream, {"submit", "invalidate", "refuse_while_capturing"}),
        (cuda.Event, cupy.cuda.Event, {"milliseconds"}),
        (cuda.Graph, cupy.cuda.Graph, set()),
        (cuda.Device, cupy.cuda.Device, set()),
        (type(xp.get_default_memory_pool()), cupy.cuda.MemoryPool, {"take", "give_back"}),
        (xp.RawKernel, cupy.RawKernel, set()),
        (xp.RawModule, cupy.RawModule, set()),
    ):
        missing = [name for name in vars(ours) if not name.startswith("_") and not hasattr(theirs, name)]
        assert set(missing) == own_names, ours
    assert [name for name in cuda.__all__ if not hasattr(cupy.cuda, name)] == []
    for name in (
        "CUDARuntimeError",
        "deviceSynchronize",
        "driverGetVersion",
        "getDevice",
        "getDeviceCount",
        "getDeviceProperties",
        "runtimeGetVersion",
        "streamCaptureModeRelaxed",
    ):
        assert hasattr(cuda.runtime, name), name
        assert hasattr(cupy.cuda.runtime, name), name
    assert hasattr(cupy.cuda.memory, "OutOfMemoryError")
