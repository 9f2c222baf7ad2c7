"""The benchmarks themselves: both scripts run to the end, and what they compare is the same computation."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minidl import Tensor, get_num_threads
from minidl.nn import BatchNorm
from tests.benchmarks import inference, machine, measure, peers, training
from tests.benchmarks.peers import LIBRARIES, ONNX_RUNTIME, OPENCV, OURS, PYTORCH
from yolov3.data.batches import Batch
from yolov3.loss import yolo_loss
from yolov3.model import YOLOv3Tiny, build_model
from yolov3.targets import TargetSettings

MODELS = {
    "tiny": lambda: YOLOv3Tiny(classes=4, width=4, seed=1),
    "concat": lambda: build_model("yolov3-nano", classes=4, seed=1),
    "add": lambda: build_model("yolov3-nano", classes=4, lateral="add", seed=1),
}
FOLDER = Path(__file__).resolve().parent


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tasks gain nothing by more, and PyTorch's threads crawl where other programs want the cores too."""
    before = get_num_threads()
    peers.use_threads(1)
    yield
    peers.use_threads(before)


def need(program):
    for name in LIBRARIES[program]:
        pytest.importorskip(name)


def random_batch(image_size, classes, count=5, seed=0):
    """Random pictures, and ``count`` truths in each: a small one, a large one, and padding in the second picture."""
    rng = np.random.default_rng(seed)
    truths = np.concatenate(
        [
            rng.uniform(0.05, 0.95, (2, count, 2)),
            rng.uniform(0.05, 0.9, (2, count, 2)),
            rng.integers(0, classes, (2, count, 1)),
        ],
        axis=2,
    )
    truths[1, -2:] = 0
    truths[0, 1, :4] = truths[0, 0, :4]  # two objects for one prediction, of different classes
    truths[0, :2, 4] = 0, 1
    return Batch(rng.random((2, *image_size, 3)), truths)  # float64


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def programs(request):
    """The programs for one network, on a picture that is not square."""
    model = request.param()
    peers.fill_with_numbers(model, seed=2)
    images = np.random.default_rng(3).random((1, 64, 96, 3), dtype=np.float32)
    return peers.inference_programs(model, images)


@pytest.mark.parametrize("peer", [PYTORCH, ONNX_RUNTIME, OPENCV])
def test_peers_compute_the_same_heads(programs, peer):
    need(peer)
    errors = peers.check_inference({OURS: programs[OURS], peer: programs[peer]})
    assert errors[peer] < 1e-5
    assert [head.shape[1:3] for head in programs[peer]()] == [(2, 3), (4, 6), (8, 12)][: len(programs[OURS]())]


@pytest.mark.parametrize("value", [1.001, np.nan])
def test_a_peer_that_computes_something_else_is_refused(value):
    programs = {OURS: lambda: [np.ones(2)], PYTORCH: lambda: [np.array([1, value])], OPENCV: None}
    with pytest.raises(peers.PeerError, match="PyTorch disagrees on the heads"):
        peers.check_inference(programs)


@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS)
def test_gradients_agree_with_pytorch(make_model):
    need(PYTORCH)
    assert peers.check_gradients(make_model(), random_batch((96, 64), 4))[PYTORCH] < 1e-9


@pytest.mark.parametrize("loss", [2.01, np.nan])
def test_another_loss_is_refused(loss):
    with pytest.raises(peers.PeerError, match="PyTorch disagrees on the loss"):
        peers.check_losses({OURS: lambda: 2.0, PYTORCH: lambda: loss})


def test_a_wrong_gradient_is_refused(monkeypatch):
    need(PYTORCH)
    right = peers.OurTraining.gradients

    def one_wrong(training):
        gradients = right(training)
        gradients["backbone.stem.norm.beta"] *= 1.01
        return gradients

    monkeypatch.setattr(peers.OurTraining, "gradients", one_wrong)
    with pytest.raises(peers.PeerError, match=r"gradient of backbone\.stem\.norm\.beta"):
        peers.check_gradients(MODELS["concat"](), random_batch((64, 64), 4))


def test_losses_agree_with_pytorch_on_trained_looking_heads():
    """Boxes near the truths, so that many predictions are ignored; on all three scales of a picture."""
    torch = pytest.importorskip("torch")
    from tests.benchmarks import torch_loss

    model = MODELS["concat"]()
    truths = random_batch((1, 1), 4, count=40).truths
    rng = np.random.default_rng(5)
    heads = [rng.normal(0, 0.5, (2, 160 // stride, 128 // stride, 27)) for stride in model.strides]

    def both(threshold):
        settings = TargetSettings(ignore_threshold=threshold)
        ours = yolo_loss([Tensor(head) for head in heads], truths, model.anchors, model.strides, settings).total
        anchors = [torch.from_numpy(group).double() for group in model.anchors]
        tensors = [torch.from_numpy(head) for head in heads]
        theirs = torch_loss.yolo_loss(tensors, torch.from_numpy(truths), anchors, model.strides, threshold)
        return ours.item(), theirs.item()

    ours, theirs = both(0.5)
    nothing_ignored, _ = both(1.0)
    assert ours < 0.99 * nothing_ignored
    assert theirs == pytest.approx(ours, rel=1e-7)  # the anchors are float32


def test_steps_change_the_numbers_as_pytorch_does():
    """In float64, where no activation lies within rounding of leaky ReLU's kink."""
    need(PYTORCH)
    model = MODELS["concat"]().astype(np.float64)
    programs = peers.training_programs(model, random_batch((64, 64), 4))
    losses = [[step() for _ in range(4)] for step in programs.values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0][3] < losses[0][0]
    theirs = {path: value.detach().numpy() for path, value in programs[PYTORCH].network.named_values()}
    for path, module in model.named_modules():
        if isinstance(module, BatchNorm):
            for name in ("running_mean", "running_variance"):
                np.testing.assert_allclose(getattr(module, name).data, theirs[f"{path}.{name}"], rtol=1e-5, atol=1e-8)


@pytest.fixture
def no_processes(monkeypatch):
    """Measuring memory starts a process and takes seconds: here it only says what it was asked."""
    asked = []

    def growth(prepare, *arguments):
        asked.append((prepare.__name__, *arguments))
        return 3_000_000 * len(asked), {"weights": 2_000_000, "buffers": 1_000_000}

    for script in (inference, training):
        monkeypatch.setattr(script, "growth", growth)
    return asked


def test_the_inference_script_runs(tmp_path, capsys):
    file = tmp_path / "times.json"
    inference.main(["--models", "yolov3-nano", "--imgsz", "64", "--repeat", "1", "--json", str(file)])
    output = capsys.readouterr().out
    assert "yolov3-nano-64: 0.03 billion operations; matrix product: " in output
    assert "memory, this project: weights 2 MB, buffers 1 MB; the process's peak grows by " in output
    assert all(program in output for program in (OURS, *LIBRARIES))
    case = json.loads(file.read_text())["yolov3-nano-64"]
    assert case.keys() == {"seconds", "ratio"}
    assert case["seconds"][OURS] > 0
    for peer, ratio in case["ratio"].items():
        assert ratio == pytest.approx(case["seconds"][OURS] / case["seconds"][peer])
    assert set(case["ratio"]) == {peer for peer in LIBRARIES if peers.installed(peer)}


def test_batches_and_tricks_left_out(capsys, no_processes):
    arguments = ["--models", "yolov3-nano", "--imgsz", "32", "64", "--batch", "2", "1", "--repeat", "1"]
    inference.main([*arguments, "--ours", "not fused", "without Winograd"])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split(":")[0] for line in lines if "billion operations" in line]
    assert names == [f"yolov3-nano-{name}" for name in ("32-batch2", "32", "64-batch2", "64")]
    for variant in ("not fused", "without Winograd"):
        assert sum(line.startswith(f"  {variant} ") for line in lines) == 4
    no_winograd = peers.VARIANTS["without Winograd"]
    assert no_processes[:2] == [("fused_forward", "yolov3-nano", 2, 32, 1, each) for each in (None, no_winograd)]


def test_the_default_cases(monkeypatch, tmp_path):
    measured = []

    def measure_model(name, side, batch, repeat, variants):
        measured.append((name, side, batch, repeat, variants))
        return measure.Case(inference.case_name(name, side, batch), 1, {OURS: [1.0]}, {}, matrix_speed=1.0)

    monkeypatch.setattr(inference, "measure_model", measure_model)
    inference.main(["--repeat", "1", "--json", str(tmp_path / "times.json")])
    names = list(json.loads((tmp_path / "times.json").read_text()))
    assert names == ["yolov3-416", "yolov3-tiny-416", "yolov3-608", "yolov3-416-batch8"]
    assert measured[3] == ("yolov3", 416, 8, 1, ())


@pytest.mark.parametrize("variant", peers.VARIANTS)
def test_without_any_trick_the_heads_are_the_same(variant):
    model = MODELS["concat"]()
    peers.fill_with_numbers(model)
    images = np.random.default_rng(3).random((2, 64, 96, 3), dtype=np.float32)
    programs = peers.inference_programs(model, images, [variant])
    errors = peers.check_inference({name: programs[name] for name in (OURS, variant)})
    assert errors[variant] < 1e-5


def test_the_training_script_runs(tmp_path, capsys, no_processes):
    file = tmp_path / "times.json"
    training.main(["--cases", "train-yolov3-nano-96x96", "--repeat", "1", "--json", str(file)])
    output = capsys.readouterr().out
    assert "train-yolov3-nano-96x96" in output
    assert json.loads(file.read_text())["train-yolov3-nano-96x96"]["seconds"][OURS] > 0
    assert no_processes[0] == ("training_steps", OURS, "yolov3-nano", (8, 96, 96), 3, 1)
    if peers.installed(PYTORCH):
        assert "peak memory: this project 3 MB, PyTorch 6 MB, ours / PyTorch 0.50" in output


@pytest.mark.parametrize("script", ["inference.py", "training.py", "scaling.py", "layers.py"])
def test_scripts_run_as_files_from_anywhere(script, tmp_path):
    command = [sys.executable, str(FOLDER / script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--threads" in done.stdout


def test_programs_that_are_absent_are_listed(monkeypatch, capsys, no_processes):
    for name in ("torch", "onnx", "onnxruntime", "cv2"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails now
    inference.main(["--models", "yolov3-nano", "--imgsz", "32", "--repeat", "1"])
    output = capsys.readouterr().out
    assert output.count("not installed") == 3 + 3  # the header's versions, the table's lines
    training.main(["--cases", "train-yolov3-nano-96x96", "--repeat", "1"])
    assert "PyTorch       not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--imgsz", "100"], "multiple of 32, not 100"),
        (
            ["--imgsz", "32", "--models", "yolov3-nano", "--repeat", "1", "--json", "no/such/folder.json"],
            "no/such/folder",
        ),
    ],
)
def test_wrong_arguments_end_with_a_sentence(arguments, sentence, no_processes):
    with pytest.raises(SystemExit, match=sentence):
        inference.main(["--models", "yolov3-nano", "--repeat", "1", *arguments])


def test_programs_take_turns():
    calls = []
    programs = {"a": lambda: calls.append("a"), "b": None, "c": lambda: calls.append("c")}
    seconds = measure.interleave(programs, 2)
    assert calls == ["a", "a", "c", "c", "a", "a", "c", "c"]  # each time once without and once with a clock
    assert [each if each is None else len(each) for each in seconds.values()] == [2, None, 2]


def test_the_table_by_hand():
    case = measure.Case(
        "case",
        12_000_000_000,
        {OURS: [2.0, 4.0, 3.0], PYTORCH: [6.0, 6.0, 4.0], OPENCV: None},
        {PYTORCH: 2e-6},
        matrix_speed=5e9,
        remarks=("memory: none",),
    )
    assert measure.as_json([case]) == {"case": {"seconds": {OURS: 3.0, PYTORCH: 6.0}, "ratio": {PYTORCH: 0.5}}}
    lines = [" ".join(line.split()) for line in measure.table(case).splitlines()]
    assert lines[0] == "case: 12.00 billion operations; matrix product: 5 billion a second"
    assert lines[2] == "this project 3.0000 2.0000 4.0 80%"
    assert lines[3] == "PyTorch 6.0000 4.0000 0.50 0.50 2.0 40% 2.0e-06"
    assert lines[4] == "OpenCV not installed"
    assert lines[5] == "memory: none"
    assert "unsteady, do not trust: this project, PyTorch" in measure.table(case)


def test_the_matrix_product_takes_turns_and_is_no_program(monkeypatch):
    ticks = iter([0.0, 3.0, 10.0, 10.5, 20.0, 24.0, 30.0, 30.25])  # begin and end of each timed run
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    seconds, speed = measure.compare({OURS: lambda: None}, 2)
    assert seconds == {OURS: [3.0, 4.0]}
    assert speed == 2 * 1024**3 / 0.25


@pytest.mark.parametrize(("load", "warned"), [(0.3, False), (3.0, True)])
def test_a_busy_machine_is_told_of(monkeypatch, load, warned):
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (load, load, load), raising=False)
    assert (machine.busy_warning() is not None) == warned
