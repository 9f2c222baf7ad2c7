"""The detector on a GPU: it trains, evaluates and detects as on the CPU, with few copies and clear refusals."""

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from minidl import Tensor
from minidl.device import array_library, device_of, to_cpu, to_device
from tests.minidl.small_networks import outputs_of, pictures, randomised
from tests.yolov3.darknet.random_networks import DETECTOR, configured
from tests.yolov3.short_runs import rows_of, same_arrays, stopping_in_epoch
from yolov3 import compare, demo
from yolov3.backbones import PlainStage
from yolov3.checkpoint import load_checkpoint
from yolov3.data.shapes import ShapesDataset
from yolov3.decode import decode
from yolov3.detect import Detector
from yolov3.devices import PRECISIONS, choose_device, constant, enough_memory, to_cpu_together
from yolov3.errors import UserError
from yolov3.loss import LossTerms, yolo_loss
from yolov3.model import YOLOv3Tiny, build_model
from yolov3.targets import TargetSettings, best_anchors, scale_targets
from yolov3.train import TrainingRun
from yolov3.train_settings import TrainSettings

ROUNDING = 1e-4  # relative: sums are added in another order, and three steps of training follow one another
TINY_TRAINING = ("--imgsz", 32, "--batch", 2, "--augment", "none", "--anchors", "published")


def close(found, wanted, tolerance=ROUNDING):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


# ---------------------------------------------------------------- arrays between devices


def test_constants_are_kept(gpu_device):
    like = array_library(gpu_device).zeros(3, np.float32)
    found = constant(((1, 2), (3, 4.5)), like)
    assert device_of(found) == gpu_device
    assert found.dtype == np.float32
    np.testing.assert_array_equal(to_cpu(found), [[1, 2], [3, 4.5]])
    assert constant([(1, 2), (3, 4.5)], like) is found
    assert constant((1, 2, 3, 4.5), like).shape == (4,)
    on_cpu = constant(np.array([[1, 2], [3, 4.5]]), np.zeros(1))
    assert (on_cpu.dtype, device_of(on_cpu)) == (np.float64, "cpu")
    with pytest.raises(ValueError, match="read-only"):
        on_cpu += 1


def test_several_arrays_come_to_the_cpu_together(gpu_device):
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32([7.5]).reshape(()), np.array([True, False])]
    found = to_cpu_together(*(to_device(each, gpu_device) for each in arrays))
    assert [each.shape for each in found] == [(2, 3), (), (2,)]
    for one, other in zip(found, arrays, strict=True):
        assert device_of(one) == "cpu"
        np.testing.assert_array_equal(one, other)
    assert to_cpu_together(*arrays)[0] is arrays[0]


# ---------------------------------------------------------------- targets, loss, decoding


def crowded_truths(rng, batch=3, count=9):
    """Boxes of which many share a cell and an anchor, some are the same, and some rows are padding."""
    truths = np.zeros((batch, count, 5), np.float32)
    truths[..., :2] = rng.integers(0, 3, (batch, count, 2)) / 4 + 0.1
    truths[..., 2:4] = rng.choice([0.1, 0.3, 0.9], (batch, count, 2))
    truths[..., 4] = rng.integers(0, 3, (batch, count))
    truths[:, 1] = truths[:, 0]
    truths[0, 6:] = 0
    return truths


@pytest.mark.parametrize(("threshold", "weigh"), [(1.0, True), (0.3, False)])
def test_targets_are_those_of_the_cpu(gpu_device, threshold, weigh):
    rng = np.random.default_rng(0)
    truths, settings = crowded_truths(rng), TargetSettings(0.5, threshold, weigh)
    anchors = np.float32([[10, 20], [60, 60], [12, 20]])
    head = rng.standard_normal((3, 4, 5, 3 * 8)).astype(np.float32)
    best = best_anchors(truths, anchors, (160, 128))
    wanted = scale_targets(head, truths, anchors, 32, 0, best, settings)
    on_gpu = [to_device(each, gpu_device) for each in (head, truths)]
    best = best_anchors(on_gpu[1], anchors, (160, 128))
    found = scale_targets(*on_gpu, anchors, 32, 0, best, settings)
    assert wanted.positive.sum() > 8
    for name, array in vars(wanted).items():
        assert device_of(getattr(found, name)) == gpu_device, name
        np.testing.assert_allclose(to_cpu(getattr(found, name)), array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_loss_and_its_gradient_are_those_of_the_cpu(gpu_device):
    rng = np.random.default_rng(1)
    model, truths = build_model("yolov3-nano", 3, seed=0), crowded_truths(rng)
    shapes = [(3, 64 // stride, 96 // stride, 24) for stride in model.strides]
    heads = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    def loss(device):
        tensors = [Tensor(to_device(head, device), requires_grad=True) for head in heads]
        terms = yolo_loss(tensors, to_device(truths, device), model.anchors, model.strides)
        terms.total.backward()
        values = [to_cpu(getattr(terms, name)) for name in LossTerms.names] + [to_cpu(terms.total.data)]
        return values, [to_cpu(tensor.grad) for tensor in tensors]

    (values, gradients), (wanted, wanted_gradients) = loss(gpu_device), loss("cpu")
    np.testing.assert_allclose(values, wanted, rtol=1e-5)
    for one, other in zip(gradients, wanted_gradients, strict=True):
        close(one, other, 1e-5)


@pytest.mark.parametrize("one_class", [False, True])
def test_decoding_is_that_of_the_cpu(gpu_device, one_class):
    rng = np.random.default_rng(2)
    model = build_model("yolov3-nano", 3)
    heads = [3 * rng.standard_normal((2, 64 // s, 32 // s, 24)).astype(np.float32) for s in model.strides]
    wanted = decode(heads, model.anchors, model.strides, one_class)
    found = decode([to_device(head, gpu_device) for head in heads], model.anchors, model.strides, one_class)
    for name, array in vars(wanted).items():
        close(to_cpu(getattr(found, name)), array, 1e-5)


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["nano", "tiny", "from a cfg"])
def test_fused_detectors_find_what_the_cpu_finds(gpu_device, name, precision):
    model, shape = {
        "nano": (build_model("yolov3-nano", 3, lateral="add", seed=1), (1, 32, 64, 3)),
        "tiny": (YOLOv3Tiny(2, width=4, max_channels=32, seed=1), (2, 64, 32, 3)),
        "from a cfg": (configured(DETECTOR, (32, 32, 3), seed=1), (1, 32, 32, 3)),
    }[name]
    images = pictures(*shape)
    wanted = outputs_of(randomised(model), images)
    found = outputs_of(model.to(gpu_device).fuse(precision=precision), to_device(images, gpu_device))
    for one, other in zip(found, wanted, strict=True):
        assert (device_of(one), one.dtype) == (gpu_device, np.float32)
        close(to_cpu(one), other, {"fp32": 1e-5, "tf32": 1e-2, "fp16": 2e-2}[precision])


def test_detections_are_those_of_the_cpu(gpu_device, checkpoint):
    picture = ShapesDataset("val", size=1).load_image(0)
    found, wanted = (Detector(checkpoint, confidence=0.01, device=each)(picture) for each in (gpu_device, "cpu"))
    assert len(found) == len(wanted) > 20
    close([each.score for each in found], [each.score for each in wanted])
    close(sorted(each.box_xyxy for each in found), sorted(each.box_xyxy for each in wanted))


def test_one_copy_to_the_gpu_and_one_back_per_picture(checkpoint):
    detector, picture = Detector(checkpoint, confidence=0.01, device="emulated"), np.zeros((48, 64, 3), np.uint8)
    detector(picture)
    with array_library("emulated").count() as counts:
        detector(picture)
    assert (len(counts.to_device), len(counts.to_host), counts.graph_launches) == (1, 1, 1)


# ---------------------------------------------------------------- training


def tiny_run(device="cpu", precision="fp32", seed=0):
    dataset = ShapesDataset("train", size=4, image_size=64)
    settings = TrainSettings(image_size=(32, 32), batch=2, anchors="published", augmentation="none", seed=seed)
    return TrainingRun(settings, dataset, dataset, {}, device=device, precision=precision)


def losses(run, steps=2):
    run.model.train()
    return [
        run.learner.step(batch, number + 1) for number, batch in zip(range(steps), run.batches.epoch(0), strict=False)
    ]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("tf32", 1e-2), ("fp16", 2e-2)])
def test_training_steps_have_the_losses_of_the_cpu(gpu_device, precision, tolerance):
    wanted, run = losses(tiny_run()), tiny_run(gpu_device, precision)
    found = losses(run)
    assert len(found) == 2
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert one["loss"] == pytest.approx(other["loss"], rel=tolerance)
        assert one["object"] == pytest.approx(other["object"], rel=10 * tolerance)
    assert run.model.device == gpu_device
    assert {parameter.dtype for parameter in run.model.parameters()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_training_step_copies_the_batch_there_and_one_row_of_numbers_back(precision):
    run = tiny_run("emulated", precision)
    first, second = list(run.batches.epoch(0))
    run.model.train()
    run.learner.step(first, 1)
    with array_library("emulated").count() as counts:
        run.learner.step(second, 2)
    assert len(counts.to_host) == 1
    assert counts.to_host_bytes <= 8 * 10  # the loss, its five terms, three scales' positives, did float16 overflow
    assert len(counts.to_device) == 2  # images, truths


def test_a_step_that_overflows_float16_is_left_out_and_halves_the_scale():
    run = tiny_run("emulated", "fp16")
    batch = next(iter(run.batches.epoch(0)))
    run.model.train()
    before = {name: array.copy() for name, array in run.model.state_dict().items() if "running" not in name}
    run.learner.loss_scale.factor = 2.0**100
    assert np.isfinite(run.learner.step(batch, 1)["loss"])
    assert run.learner.loss_scale.factor == 2.0**99
    after = run.model.state_dict()
    assert all(np.array_equal(after[name], array) for name, array in before.items())


def test_a_run_goes_from_device_to_device(voc, succeeds, yolov3, tmp_path):
    """An epoch on the GPU, resumed on the CPU, is a run on the CPU; and its checkpoint can be resumed on the GPU."""
    project = tmp_path / "runs"
    # Adam's first steps are as long for a gradient that is nothing but rounding: those of SGD show less of it.
    options = (*TINY_TRAINING, "--optimizer", "sgd", "--project", project, "--epochs", 2)
    whole = succeeds("train", "--data", voc, *options, "--device", "cpu").folder
    with pytest.MonkeyPatch.context() as patch:
        stopping_in_epoch(patch, 2)
        begun = yolov3("train", "--data", voc, *options, "--name", "mixed", "--device", "emulated")
    assert begun.code == 130
    assert any("slow" in line and "learning" in line for line in begun.errors)
    half = shutil.copytree(project / "mixed", project / "again")
    mixed = succeeds("train", "--resume", project / "mixed", "--device", "cpu").folder
    again = succeeds("train", "--resume", half, "--device", "emulated").folder
    for folder in (mixed, again):
        for one, other in zip(rows_of(folder), rows_of(whole), strict=True):
            assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=ROUNDING)
    arrays = load_checkpoint(f"{again}/last.npz").model.state_dict()
    for name, array in load_checkpoint(f"{whole}/last.npz").model.state_dict().items():
        assert type(arrays[name]) is np.ndarray
        np.testing.assert_allclose(arrays[name], array, rtol=0, atol=1e-3, err_msg=name)
    assert not same_arrays(f"{again}/last.npz", f"{whole}/last.npz")  # it was computed elsewhere


def test_val_and_detect_from_the_command_line(voc, checkpoint, succeeds, tmp_path):
    picture = tmp_path / "picture.png"
    Image.fromarray(ShapesDataset("val", size=1).load_image(0)).save(picture)
    detections, scores = [], []
    for device in ("cpu", "emulated"):
        where = ("--device", device, "--project", tmp_path / device, "--conf-thres", 0.01)
        outcome = succeeds("detect", picture, "--weights", checkpoint, "--save-json", *where)
        with open(f"{outcome.folder}/detections.json") as file:
            (found,) = json.load(file).values()
        detections.append([each["score"] for each in found])
        outcome = succeeds("val", "--data", voc, "--weights", checkpoint, "--name", "val", *where)
        with open(f"{outcome.folder}/results.json") as file:
            scores.append(json.load(file)["mAP50"])
    close(*detections)
    assert scores[0] == pytest.approx(scores[1], rel=1e-3, abs=1e-4)


def test_the_demonstration_computes_where_it_is_told(refused, monkeypatch, tmp_path):
    def training_run(*arguments, device, precision):
        raise UserError(f"{device} {precision}")

    monkeypatch.setattr(demo, "TrainingRun", training_run)
    options = ("--device", "cpu", "--project", tmp_path)
    refused("demo", "--steps", 10, *options, says=["cpu fp32"])


def test_backbones_are_compared_where_it_is_told(gpu_device, monkeypatch, tmp_path):
    for name in compare.TABLE_2:
        monkeypatch.setitem(compare.BACKBONES, name, lambda rng: PlainStage(3, 4, 1, rng=rng))
    text = compare.compare_backbones(tmp_path, 1, (32, 32), gpu_device, "tf32")
    assert f"here: 32x32, batch 1, {gpu_device} in tf32, median of 1" in text


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_the_cpu_has_one_precision(refused, precision, in_tmp_path):
    words = [precision, "for GPUs", "leave out --precision"]
    refused("detect", "a.png", "--weights", "w", "--device", "cpu", "--precision", precision, says=words)
    with pytest.raises(UserError, match="unknown precision 'fp8'"):
        choose_device("cpu", "fp8")


class DriverError(Exception):
    pass


def no_driver():
    raise DriverError("cudaErrorInsufficientDriver")


@pytest.mark.parametrize(("count", "words"), [(no_driver, "no NVIDIA driver answers"), (lambda: 0, "no NVIDIA GPU")])
def test_no_driver_and_no_card(refused, monkeypatch, in_tmp_path, count, words):
    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=DriverError)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    refused("demo", "--device", "cuda", says=["device 'cuda'", words, "--device emulated or cpu"])
    assert choose_device("auto") == "cpu"


def test_no_compiler_for_the_emulator(refused, monkeypatch, in_tmp_path):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    refused("compare-backbones", "--device", "emulated", says=["device 'emulated'", "g++", "apt install g++"])


def test_too_little_memory_says_for_what(gpu_device):
    sentence = r"the GPU has not .* batch 8 at 416x320: try --batch 4 or a smaller --imgsz"
    with pytest.raises(UserError, match=sentence), enough_memory("cuda", 8, (416, 320)):
        raise array_library(gpu_device).cuda.memory.OutOfMemoryError(1, 2, 3)
    sentence = r"this computer has not .* batch 1 at 32x32: try a smaller --imgsz$"
    with pytest.raises(UserError, match=sentence), enough_memory("cpu", 1, (32, 32)):
        raise MemoryError


def memory_for(bytes_more):
    """A limit on the emulated GPU's memory: so many bytes beside what is in use."""
    library = array_library("emulated")
    return library.memory_limit(library.get_default_memory_pool().used_bytes() + bytes_more)


@pytest.mark.parametrize("bytes_more", [1 << 18, 1 << 22])  # too few for the network, too few for its maps
@pytest.mark.parametrize("command", ["train", "val"])
def test_commands_in_too_little_memory(yolov3, voc, checkpoint, tmp_path, command, bytes_more):
    network = ("--model", "yolov3-nano") if command == "train" else ("--weights", checkpoint)
    where = ("--device", "emulated", "--project", tmp_path / "runs", "--imgsz", 256, "--batch", 4)
    with memory_for(bytes_more):
        outcome = yolov3(command, "--data", voc, *network, *where)
    assert outcome.code == 1
    assert "the GPU has not enough memory for batch 4 at 256x256: try --batch 2" in outcome.errors[-1]


def test_a_detector_in_too_little_memory(checkpoint):
    sentence = r"not enough memory for batch 1 at 64x64: try a smaller --imgsz"
    with memory_for(1 << 18), pytest.raises(UserError, match=sentence):
        Detector(checkpoint, device="emulated")
