"""The benchmark of several processes, and the estimate for many GPUs."""

import pytest

from tests.benchmarks import parallel, per_core, scale_out
from tests.mpi import mpiexec


@pytest.mark.long
def test_a_step_in_two_processes(capsys):
    mpiexec()  # or skip
    parallel.main(["--model", "yolov3-nano", "--imgsz", "32", "--batch", "2", "--repeat", "1"])
    output = capsys.readouterr().out
    assert "2 ranks, a share of them each" in output
    assert "the same with --local-batchnorm" in output
    rows = {line[:28].strip(): line.split() for line in output.splitlines()}
    assert rows["batch norm, forwards"][3] == rows["batch norm, backwards"][3] == "34"
    assert rows["gradients"][1:3] == ["1", "1,357,440"]  # 339,360 parameters in float32
    assert rows["loss and counts"][3] == "1"
    assert "yolov3: gradients 247,796,596 bytes (61,949,149 parameters, float32); batch norm 72 messages" in output


def test_formulas_of_the_estimate():
    assert scale_out.latency(8) == pytest.approx((6.8 + 2 * 7 * 0.6) * 1e-6)
    assert scale_out.latency(64) == pytest.approx((6.8 + 2 * (7 * 0.6 + 3 * 5.0)) * 1e-6)
    assert scale_out.ring(2, 225e9) == pytest.approx(1)
    assert scale_out.ring(64, 200e9) == pytest.approx(2 * 63 / 64)


def test_the_table_of_the_estimate(capsys):
    scale_out.main()
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("197.6 billion operations a picture, 144 messages of batch norm, 247,796,596 bytes")
    assert last.startswith("| tf32 | 64 | 64 | 1.1 |")


def test_what_one_core_does(capsys):
    per_core.main(["--photographs", "2", "--pictures", "3"])
    *_, recipe, original, scoring = capsys.readouterr().out.splitlines()
    assert recipe.startswith("a 640x480 JPEG for 416x416, augmentation recipe: ")
    assert original.endswith(" ms")
    assert scoring.startswith("COCO's AP of 3 pictures, 100 detections each: ")
