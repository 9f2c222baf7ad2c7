"""``.weights`` files: both headers, whole and partial files, the order of the numbers, and what does not fit."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import nn
from tests.hashing import parameter_dict
from tests.minidl.small_networks import outputs_of, pictures
from tests.yolov3.darknet.random_networks import CLASSIFIER, DETECTOR, configured, conv
from tests.yolov3.golden_network import load_table, relative_error
from yolov3.darknet.kinds import Connected
from yolov3.darknet.network import ConfiguredNetwork
from yolov3.darknet.plan import make_plan
from yolov3.darknet.weights import Header, read_header, read_weights, weight_layers, write_weights
from yolov3.errors import UserError
from yolov3.model import build_model

PLAN = make_plan(DETECTOR, (32, 32, 3))
NAMES = [f"layers.{layer.index}" for layer in PLAN.layers if layer.floats]


def same_state(a, b):
    states = a.state_dict(), b.state_dict()
    return list(states[0]) == list(states[1]) and all(
        np.array_equal(states[0][key], states[1][key]) for key in states[0]
    )


# --------------------------------------------------------------------------------------- order and layout


def test_the_order_by_hand(tmp_path):
    # A 1x2 picture with 3 channels: one convolution with batch norm, one with a bias, one connected layer.
    network = ConfiguredNetwork(
        make_plan(
            [conv(2, 1), conv(1, 1, 1, False), Connected(2, True, "linear"), Connected(1, False, "linear")], (1, 2, 3)
        )
    )
    numbers = np.arange(100, 100 + sum(each.floats for each in weight_layers(network)), dtype="<f4")
    path = tmp_path / "n.weights"
    path.write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + numbers.tobytes())
    read_weights(path, network)
    first, second, third, fourth = weight_layers(network)
    assert [vector.data.tolist() for vector in (first.norm.beta, first.norm.gamma)] == [[100, 101], [102, 103]]
    assert first.norm.running_mean.data.tolist() == [104, 105]
    assert first.norm.running_variance.data.tolist() == [106, 107]
    assert first.layer.weight.data.tolist() == [[[[108, 111], [109, 112], [110, 113]]]]  # (h, w, in, out)
    assert second.layer.bias.data.tolist() == [114]
    assert second.layer.weight.data.tolist() == [[[[115], [116]]]]
    # Connected: bias, weights, then gamma, mean, variance.  Two inputs, of columns 0 and 1.
    assert third.norm.beta.data.tolist() == [117, 118]
    assert third.layer.weight.data.tolist() == [[119, 121], [120, 122]]
    assert third.norm.gamma.data.tolist() == [123, 124]
    assert third.norm.running_variance.data.tolist() == [127, 128]
    assert fourth.layer.bias.data.tolist() == [129]
    assert fourth.layer.weight.data.tolist() == [[130], [131]]


def test_a_connected_layer_is_stored_channels_first(tmp_path):
    network = ConfiguredNetwork(make_plan([Connected(1, False, "linear")], (2, 2, 3)))
    path = tmp_path / "n.weights"
    path.write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + np.arange(13, dtype="<f4").tobytes())
    read_weights(path, network)
    (layer,) = weight_layers(network)
    # file: (channel, row, column), 1 to 12; ours: (row, column, channel)
    assert layer.layer.weight.data.ravel().tolist() == [1, 5, 9, 2, 6, 10, 3, 7, 11, 4, 8, 12]


def test_connected_layers_of_very_old_files_by_hand(tmp_path):
    network = ConfiguredNetwork(make_plan([Connected(2, False, "linear")], (1, 1, 3)))
    path = tmp_path / "n.weights"
    path.write_bytes(struct.pack("<iiii", 2000, 0, 0, 0) + np.arange(8, dtype="<f4").tobytes())
    read_weights(path, network)
    (layer,) = weight_layers(network)
    assert layer.layer.weight.data.tolist() == [[2, 3], [4, 5], [6, 7]]  # (in, out), as they stand there


def test_connected_layers_of_very_old_files_are_transposed(tmp_path):
    network, other = (configured(CLASSIFIER, seed=seed) for seed in (1, 2))
    path, old = tmp_path / "n.weights", tmp_path / "old.weights"
    write_weights(path, network)
    write_weights(old, network, Header(major=2000, minor=0, size=16))
    assert path.read_bytes()[20:] != old.read_bytes()[16:]
    header, _ = read_weights(old, other)
    assert header.transposed
    assert same_state(network, other)


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov3"])
def test_a_file_of_the_golden_recipe_is_read_and_written(name, golden, tmp_path):
    table = load_table(golden, name)
    arrays = parameter_dict(table, seed=1)
    path = tmp_path / "golden.weights"
    with open(path, "wb") as file:
        file.write(struct.pack("<iiiq", 0, 2, 0, 64_000))
        for entry in table["tensors"]:
            file.write(arrays[entry["name"]].tobytes())
    model = build_model(name)
    header, count = read_weights(path, model)
    assert (header.seen, count) == (64_000, len({entry["layer"] for entry in table["tensors"]}))
    last = arrays[table["tensors"][-1]["name"]]  # weights (out, in, height, width) of the last layer
    np.testing.assert_array_equal(weight_layers(model)[-1].layer.weight.data, last.transpose(2, 3, 1, 0))
    write_weights(tmp_path / "again.weights", model, header)
    assert (tmp_path / "again.weights").read_bytes() == path.read_bytes()


# ------------------------------------------------------------------------------------------------ headers


@pytest.mark.parametrize(
    "header",
    [Header(), Header(0, 1, 0, 5, 16), Header(0, 2, 5, 2**40, 20), Header(0, 2, 0, 7, 16), Header(1, 0, 0, 9, 20)],
    ids=str,
)
@pytest.mark.parametrize("kind_list", [DETECTOR, CLASSIFIER], ids=["detector", "classifier"])
def test_round_trip_is_byte_for_byte(header, kind_list, tmp_path):
    network, other = configured(kind_list, seed=1), configured(kind_list, seed=2)
    first, second = tmp_path / "1.weights", tmp_path / "2.weights"
    write_weights(first, network, header)
    assert first.stat().st_size == header.size + 4 * network.plan.floats
    read, count = read_weights(first, other)
    assert (read, count) == (header, len(weight_layers(network)))
    assert same_state(network, other)
    write_weights(second, other, read)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("header", "told"), [(Header(0, 2, size=16), True), (Header(0, 1, size=20), True), (Header(), False)]
)
def test_a_header_that_is_not_as_its_version_says_is_told(header, told, tmp_path, capsys):
    network = configured(DETECTOR)
    write_weights(tmp_path / "n.weights", network, header)
    read_weights(tmp_path / "n.weights", network)
    assert (f"by its size it has a header of {header.size} bytes" in capsys.readouterr().err) == told


def test_a_count_of_pictures_that_a_short_header_cannot_hold(tmp_path):
    with pytest.raises(UserError, match="a header of 16 bytes cannot hold"):
        write_weights(tmp_path / "n.weights", configured(DETECTOR), Header(0, 1, seen=2**31, size=16))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_none_survive_a_round_trip(tmp_path):
    network = configured([conv(2, 1, 1, False, "linear")], (1, 1, 3))
    payload = np.frombuffer(struct.pack("<II", 0x7FC00001, 0xFF800000) + bytes(24), "<f4")
    path = tmp_path / "n.weights"
    path.write_bytes(Header().packed() + payload.tobytes())
    header, _ = read_weights(path, network)
    write_weights(tmp_path / "2.weights", network, header)
    assert (tmp_path / "2.weights").read_bytes() == path.read_bytes()


# ---------------------------------------------------------------------------------------- partial files


@pytest.mark.parametrize("size", [16, 20])
@pytest.mark.parametrize("layers", range(1, len(NAMES)))
def test_a_partial_file_fills_the_first_layers(layers, size, tmp_path):
    network, other, before = (configured(DETECTOR, seed=seed) for seed in (1, 2, 2))
    header = Header(0, 2 if size == 20 else 1, size=size)
    path, again = tmp_path / "n.conv", tmp_path / "again.conv"
    write_weights(path, network, header, layers)
    assert read_weights(path, other, partial=True) == (header, layers)
    for index, each in enumerate(weight_layers(other)):
        wanted = weight_layers(network if index < layers else before)[index]
        for ours, theirs in zip(each.in_file_order(), wanted.in_file_order(), strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data)
    write_weights(again, other, header, layers)
    assert again.read_bytes() == path.read_bytes()
    missing = f"ends before {weight_layers(network)[layers].name}: [0-9,]+ of the network's [0-9,]+ numbers are missing"
    with pytest.raises(UserError, match=missing):
        read_weights(path, other)


def test_the_backbone_of_a_detector_has_the_size_of_the_published_file():
    layers = weight_layers(build_model("yolov3"))
    assert 20 + 4 * sum(each.floats for each in layers[:52]) == 162_482_580
    assert layers[51].name == "backbone.stages.4.blocks.3.expand.conv"


# -------------------------------------------------------------------------------------- what does not fit


@pytest.mark.parametrize("cut", [1, 5, 8, 400])  # not 4: that is a file with a header of 16 bytes
@pytest.mark.parametrize("partial", [False, True])
def test_a_file_cut_off_names_the_layer(cut, partial, tmp_path):
    network, before = configured(DETECTOR), configured(DETECTOR)
    path = tmp_path / "n.weights"
    write_weights(path, network)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match=r"n\.weights ends inside layers\.17 \([0-9,]+ of its [0-9,]+ numbers\)"):
        read_weights(path, network, partial)
    assert same_state(network, before)


@pytest.mark.parametrize("extra", [8, 400])
def test_numbers_left_over_are_counted(extra, tmp_path):
    network = configured(DETECTOR)
    path = tmp_path / "n.weights"
    write_weights(path, network)
    path.write_bytes(path.read_bytes() + bytes(extra))
    with pytest.raises(UserError, match=r"holds more numbers, [\d,]+, than .* last layer here is layers\.17"):
        read_weights(path, network)


@pytest.mark.parametrize("content", [b"", b"abc", bytes(15)])
def test_files_too_short_for_a_header(content, tmp_path):
    path = tmp_path / "n.weights"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"is no weights file: it has only {len(content)} bytes"):
        read_weights(path, configured(DETECTOR))


def test_a_web_page_is_recognised(tmp_path):
    path = tmp_path / "n.weights"
    path.write_bytes(b"\n<!DOCTYPE html><html>the file has moved</html>")
    with pytest.raises(UserError, match="is a web page and no weights file"):
        read_weights(path, configured(DETECTOR))


@pytest.mark.parametrize("name", ["absent.weights", ".", "bad\0name", "x" * 5000])
def test_what_cannot_be_opened(name, tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_weights(f"{tmp_path}/{name}", configured(DETECTOR))


def test_a_layer_that_a_file_cannot_hold():
    with pytest.raises(UserError, match=r"layers\.0: a weights file wants a bias or a batch norm"):
        weight_layers(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False)))


@pytest.mark.parametrize(
    "layers", [[nn.BatchNorm(3)], [nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm(3), nn.BatchNorm(3)]]
)
def test_a_batch_norm_without_a_convolution_of_its_own(layers):
    with pytest.raises(UserError, match="a batch norm belongs to the convolution before it"):
        weight_layers(nn.Sequential(*layers))


def test_no_memory_is_taken_before_the_size_is_known(tmp_path):
    # A network of 4 * 10^17 numbers: it could not even be begun.
    counts = [("first", 10**6), ("huge", 4 * 10**17)]
    path = tmp_path / "n.weights"
    path.write_bytes(Header().packed() + bytes(4 * 10**6))
    with pytest.raises(UserError, match="ends before huge"):
        read_header(path, counts)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(content=st.binary(max_size=200) | st.integers(0, 3000).map(bytes), partial=st.booleans())
def test_random_bytes_are_read_or_refused(content, partial, tmp_path_factory):
    network = ConfiguredNetwork(make_plan([conv(2, 1), conv(3, 1, 1, False)], (2, 2, 3)), seed=0)
    path = tmp_path_factory.getbasetemp() / "fuzz.weights"
    path.write_bytes(content)
    try:
        header, count = read_weights(path, network, partial)
    except UserError:
        return
    assert len(content) == header.size + 4 * sum(each.floats for each in weight_layers(network)[:count])


def test_truncation_at_every_byte_of_a_small_file(tmp_path):
    network = ConfiguredNetwork(make_plan([conv(2, 1), conv(3, 1, 1, False)], (2, 2, 3)), seed=0)
    path = tmp_path / "n.weights"
    write_weights(path, network)
    content = path.read_bytes()
    ends = {20 + 4 * 14: 1, len(content): 2, len(content) - 4: 2}  # four bytes fewer: a header of 16 is assumed
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        try:
            assert read_weights(path, network, partial=True)[1] == ends.pop(length)
        except UserError:
            assert length not in ends
    assert not ends


# ------------------------------------------------------------------------------------- rules of batch norm


@pytest.mark.parametrize("rule", nn.BATCHNORM_RULES.values(), ids=lambda rule: rule.name)
@pytest.mark.parametrize("own", nn.BATCHNORM_RULES.values(), ids=lambda rule: rule.name)
def test_written_for_a_reader_with_another_rule(own, rule, tmp_path):
    network, reader = configured(DETECTOR, seed=1), configured(DETECTOR, seed=2)
    for each in weight_layers(network):
        if each.norm is not None:  # variances so small that the rules separate; one is zero
            each.norm.running_variance.data *= np.float32(1e-5)
            each.norm.running_variance.data[0] = 0
    network.configure_batchnorm(rule=own)
    reader.configure_batchnorm(rule=rule)
    images = pictures(1, 32, 32, 3)
    wanted = outputs_of(network, images)
    for told, limit in ((rule, 2e-5), (None, np.inf)):
        write_weights(tmp_path / "n.weights", network, rule=told)
        read_weights(tmp_path / "n.weights", reader)
        found = outputs_of(reader, images)
        error = max(relative_error(*each) for each in zip(found, wanted, strict=True))
        assert error < limit
    assert (error > 1e-3) == (own is not rule)  # without being told, the reader computes something else
