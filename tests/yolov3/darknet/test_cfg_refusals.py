"""What a cfg text may look like, and every way in which it is refused: with file, line and section."""

import os

import pytest

from yolov3.darknet import kinds
from yolov3.darknet.cfg import parse_cfg, read_cfg
from yolov3.errors import UserError

NET = "[net]\nheight=64\nwidth=96\nchannels=3\n"  # four lines: the first section of the layers is line 5


def layers_of(text):
    """The kinds of the layers under NET; no option may be unknown."""
    unknown = []
    plan = parse_cfg(NET + text, "some.cfg", report=unknown.append)
    assert unknown == []
    return [layer.kind for layer in plan.layers]


def refusal(text):
    """The sentence with which the text is refused."""
    with pytest.raises(UserError) as error:
        parse_cfg(text, "some.cfg")
    sentence = str(error.value)
    assert sentence.startswith("some.cfg ")
    assert "\n" not in sentence
    assert len(sentence) < 300
    return sentence


# ---------------------------------------------------------------------------------------------- how it is written


@pytest.mark.parametrize(
    "text",
    [
        "[convolutional]\nfilters=4\nactivation=linear\n",
        "[convolutional]\r\nfilters=4\r\nactivation=linear\r\n",
        "[convolutional]\nfilters = 4\n\tactivation =\tlinear",
        "\n\n# a comment\n; another\n  # a third\n[convolutional]\n\nfilters=4\n#filters=5\nactivation=linear",
        "[convolutional] # the first layer\nfilters=4 # four\nactivation=linear ; nothing",
        "[conv]\nfilters=+4\nactivation=linear",
    ],
)
def test_the_same_layer_in_other_words(text):
    assert layers_of(text) == [kinds.Convolutional(4, 1, 1, 0, False, "linear")]


def test_byte_order_mark_in_a_file(tmp_path):
    path = tmp_path / "mark.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + NET.encode() + b"[avg]\r\n")
    plan = read_cfg(path)
    assert plan.input_shape == (64, 96, 3)
    assert plan.places == (f"{path} line 5 [avg]",)


def test_network_is_another_name_of_net_and_the_size_can_be_given():
    plan = parse_cfg("[network]\nchannels=1\n[maxpool]\nsize=2", "some.cfg", image_size=(12, 10))
    assert plan.input_shape == (12, 10, 1)


def test_defaults_are_the_originals():
    text = """
        [convolutional]
        [maxpool]
        stride=3
        [upsample]
        [shortcut]
        from=-1
        [reorg]
        [dropout]
        [avg]
        [connected]
        [soft]
        [cost]
    """
    assert layers_of(text) == [
        kinds.Convolutional(1, 1, 1, 0, False, "logistic"),
        kinds.MaxPool(3, 3, 2),
        kinds.Upsample(2),
        kinds.Shortcut(2, "linear"),
        kinds.Reorg(1),
        kinds.Dropout(0.5),
        kinds.AvgPool(),
        kinds.Connected(1, False, "logistic"),
        kinds.Softmax(1, 1.0),
        kinds.Cost(),
    ]


def test_defaults_of_detection_layers():
    conv = "[conv]\nfilters={}\n"
    (_, yolo) = layers_of(conv.format(50) + "[yolo]\nnum=2\nanchors=1,2, 3.5,4")
    assert yolo == kinds.Yolo((0, 1), ((1, 2), (3.5, 4)), 20, 0.5)
    (_, region) = layers_of(conv.format(25) + "[region]\nanchors=1,2")
    assert region == kinds.Region(((1, 2),), 20, softmax=False)


def test_pad_is_half_the_size_and_beats_padding():
    conv = "[conv]\nsize=5\nactivation=leaky\n"
    layers = layers_of(f"{conv}pad=1\npadding=1\n{conv}padding=1\n{conv}pad=0\n")
    assert [layer.padding for layer in layers] == [2, 1, 0]


def test_sources_count_from_here_or_from_the_first_layer():
    text = "[avg]\n" * 3 + "[route]\nlayers=-1,0,-3\n[route]\nlayers=3\n[shortcut]\nfrom=4\n[shortcut]\nfrom=-2"
    assert [layer.sources for layer in layers_of(text)[3:]] == [(2, 0, 0), (3,), (4,), (4,)]


def test_options_at_their_neutral_values_are_accepted():
    neutral = "[conv]\nstride=2\nstride_x=2\nstride_y=2\ngroups=1\nbinary=0\nxnor=0\ndilation=1.0\ndontload=0\n"
    neutral += "[shortcut]\nfrom=0\nalpha=1.\nbeta=1\nweights_type=none\n[upsample]\nscale=1\n"
    assert len(layers_of(neutral)) == 3


def test_options_of_training_are_accepted():
    training = "[conv]\nlearning_rate=0.1\nstopbackward=1\nfilters=25\n"
    training += "[yolo]\nanchors=1,2\njitter=.3\nrandom=1\ntruth_thresh=1\nmax=90\n"
    assert len(layers_of(training)) == 2
    net = NET.replace("\n", "\nmomentum=.9\nsteps=40,50\npolicy=steps\nmax_batches=500200\n", 1)
    assert parse_cfg(net + "[avg]", "some.cfg", report=pytest.fail).input_shape == (64, 96, 3)


def test_unknown_options_are_reported_and_ignored(capsys):
    text = NET.replace("[net]", "[net]\nletters=3") + "[avg]\n[conv]\nfilter=3\nfilters=4\n"
    reported = []
    plan = parse_cfg(text, "some.cfg", report=reported.append)
    assert plan.layers[-1].kind.filters == 4
    assert reported == [
        "some.cfg line 2 [net]: nothing knows the option letters, it is ignored",
        "some.cfg line 8 [conv]: nothing knows the option filter, it is ignored (do you mean filters?)",
    ]
    parse_cfg(text, "some.cfg")
    assert capsys.readouterr().err.splitlines() == reported


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x00\x01\x02" * 50, "not a text file"),
        ("# é".encode("latin-1"), "not a text file"),
        (b"#" * 1_000_001, "longer than 1 MB"),
        (b"", "is empty"),
        (b"# nothing\r\n", "is empty"),
    ],
)
def test_files_that_are_no_cfg(tmp_path, content, says):
    path = tmp_path / "bad.cfg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        read_cfg(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("name", ["absent.cfg", "no\0name", "x" * 5000])
def test_files_that_cannot_be_read(tmp_path, name):
    with pytest.raises(UserError, match="cannot be read"):
        read_cfg(f"{tmp_path}/{name}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.cfg")
    for path in (tmp_path, tmp_path / "pipe.cfg"):
        with pytest.raises(UserError, match="is no file"):
            read_cfg(path)


# ------------------------------------------------------------------------------------------- lines and sections


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("width=3\n[net]", "line 1: width=3 stands before the first section"),
        ("[convolutional]\n[net]", "line 1 [convolutional]: the first section must be [net]"),
        ("[Net]\n", "line 1 [Net]: the first section must be [net]"),
        ("[net\nwidth=3", "line 1: [net is no section"),
        (NET, "line 1 [net]: no layers follow"),
        (NET + "[lrn]\n", "line 5 [lrn]: this section is not supported"),
        (NET + "[]\n", "line 5 []: this section is not supported"),
        (NET + "[avg]\n[net]\n", "line 6 [net]: this section is not supported"),
        (NET + "[conv]\nfilters\n", "line 6 [conv]: filters is neither a [section] nor an option"),
        (NET + "[conv]\nfilters=\n", "line 6 [conv]: filters= has no value"),
        (NET + "[conv]\nfilters= # none\n", "line 6 [conv]: filters= has no value"),
        (NET + "[conv]\n=3\n", "line 6 [conv]: =3 names no option"),
        (NET + "[conv]\nsize=3\n\nsize=3\n", "line 8 [conv]: size stands here again, after line 6"),
        (NET + "wi dth=3\n[conv]", "line 5 [net]: width stands here again, after line 3"),
        (NET + "[\x1b[31m]\n", r"line 5 ['\x1b[31m']: this section is not supported"),
    ],
)
def test_refused_lines(text, says):
    assert says in refusal(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[net]\nheight=64\nwidth=64\n[avg]", "line 1 [net]: channels= is missing"),
        ("[net]\nheight=64\nchannels=3\n[avg]", "line 1 [net]: the size of the pictures is missing"),
        ("[net]\nwidth=64\nheight=0\nchannels=3\n[avg]", "line 1 [net]: the size of the pictures is missing"),
        ("[net]\nheight=-64\nwidth=64\nchannels=3\n[avg]", "line 2 [net]: height=-64: -64 is not between"),
        ("[net]\nheight=64\nwidth=16385\nchannels=3\n[avg]", "line 3 [net]: width=16385: 16385 is not between"),
        ("[net]\nheight=64\nwidth=64\nchannels=0\n[avg]", "line 4 [net]: channels=0: 0 is not between 1 and"),
        ("[net]\ninputs=256\n[avg]", "line 2 [net]: inputs=256: this option is not supported"),
        (NET + "momentum=much\n[avg]", "line 5 [net]: momentum=much: much is no number"),
    ],
)
def test_refused_nets(text, says):
    assert says in refusal(text)


# ------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("filters=abc", "abc is no whole number"),
        ("filters=3.5", "3.5 is no whole number"),
        ("filters=3.0", "3.0 is no whole number"),
        ("filters=1e3", "1e3 is no whole number"),
        ("filters=1_000", "1_000 is no whole number"),
        ("filters=2#two", "2#two is no whole number"),
        ("filters=\u0663", "is no whole number"),
        ("filters=nan", "nan is no whole number"),
        ("filters=0x10", "0x10 is no whole number"),
        ("filters=0", "0 is not between 1 and 1,000,000"),
        ("filters=-3", "-3 is not between 1 and 1,000,000"),
        ("filters=1000001", "1000001 is not between 1 and 1,000,000"),
        (f"filters={10**400}", "is not between 1 and 1,000,000"),
        ("filters=" + "9" * 500_000, "is not between 1 and 1,000,000"),
        ("size=0", "0 is not between"),
        ("stride=0", "0 is not between"),
        ("padding=-1", "-1 is not between 0 and"),
        ("pad=2", "2 is not between 0 and 1"),
        ("batch_normalize=yes", "yes is no whole number"),
        ("activation=mish", "mish is not supported, only linear, leaky, relu, logistic are"),
        ("learning_rate=fast", "fast is no number"),
    ],
)
def test_refused_values_of_a_convolution(option, says):
    sentence = refusal(f"{NET}[convolutional]\n{option}\n")
    assert sentence.startswith("some.cfg line 6 [convolutional]: ")
    assert option[:20] in sentence or not option.isascii()
    assert says in sentence


UNSUPPORTED = {
    "conv": "groups=2 binary=1 xnor=1 flipped=1 dot=1 stride_x=2 stride_y=3 dilation=2 antialiasing=1 share_index=3 "
    "dontload=1 dontloadscales=1 numload=7 dontsave=1",
    "route": "groups=2 group_id=1",
    "shortcut": "alpha=2 beta=.5 weights_type=per_channel",
    "upsample": "scale=2",
    "max": "maxpool_depth=1 stride_x=3",
    "reorg": "reverse=1 flatten=1 extra=4",
    "softmax": "tree=some.tree spatial=1",
    "yolo": "map=some.map scale_x_y=1.05 new_coords=1",
    "region": "tree=some.tree map=some.map coords=5 log=1 sqrt=1 background=1",
}


@pytest.mark.parametrize(
    ("section", "option"), [(section, option) for section in UNSUPPORTED for option in UNSUPPORTED[section].split()]
)
def test_options_that_would_change_the_result_are_refused_by_name(section, option):
    needed = "from=0" if section == "shortcut" else "layers=0" if section == "route" else "anchors=1,2"
    sentence = refusal(f"{NET}[avg]\n[{section}]\n{needed}\n{option}\n")
    assert sentence.startswith(f"some.cfg line 8 [{section}]: {option}: this option is not supported")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("num=2", "line 5 [yolo]: anchors= is missing"),
        ("anchors=1,2,3", "line 6 [yolo]: anchors=1,2,3: 3 numbers are no pairs"),
        ("anchors=1,2,3,4", "line 6 [yolo]: anchors=1,2,3,4: these are 2 pairs, but num=1"),
        ("num=3\nanchors=1,2,3,4", "line 7 [yolo]: anchors=1,2,3,4: these are 2 pairs, but num=3"),
        ("anchors=1,,2", "anchors=1,,2: nothing is no number"),
        ("anchors=1,2,", "anchors=1,2,: nothing is no number"),
        ("anchors=1,0", "anchors=1,0: 0 is not between"),
        ("anchors=1,-2", "anchors=1,-2: -2 is not between"),
        ("anchors=1,nan", "anchors=1,nan: nan is no number"),
        ("anchors=1,inf", "anchors=1,inf: inf is no number"),
        ("anchors=1,1e999", "anchors=1,1e999: 1e999 is not between"),
        ("anchors=1,2\nmask=1", "line 7 [yolo]: mask=1: 1 is not between 0 and 0"),
        ("anchors=1,2\nmask=-1", "line 7 [yolo]: mask=-1: -1 is not between"),
        ("anchors=1,2\nmask=0.5", "line 7 [yolo]: mask=0.5: 0.5 is no whole number"),
        ("anchors=1,2\nclasses=0", "line 7 [yolo]: classes=0: 0 is not between"),
        ("anchors=1,2\nignore_thresh=-1", "line 7 [yolo]: ignore_thresh=-1: -1 is not between"),
    ],
)
def test_refused_yolo_layers(options, says):
    assert says in refusal(f"{NET}[yolo]\n{options}\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[route]\n", "line 5 [route]: layers= is missing"),
        ("[route]\nlayers=-1\n", "line 5 [route]: there is no layer -1 before layer 0"),
        ("[avg]\n[route]\nlayers=1\n", "line 6 [route]: there is no layer 1 before layer 1"),
        ("[avg]\n[route]\nlayers=0,x\n", "line 7 [route]: layers=0,x: x is no whole number"),
        ("[avg]\n[shortcut]\n", "line 6 [shortcut]: from= is missing"),
        ("[avg]\n[shortcut]\nfrom=-5\n", "line 6 [shortcut]: there is no layer -4 before layer 1"),
        ("[avg]\n[shortcut]\nfrom=-1,-2\n", "line 7 [shortcut]: from=-1,-2: -1,-2 is no whole number"),
        ("[upsample]\nstride=-2\n", "line 6 [upsample]: stride=-2: -2 is not between"),
        ("[dropout]\nprobability=1\n", "line 6 [dropout]: probability=1: 1 is not between 0 and 0.99"),
        ("[avg]\n[softmax]\ntemperature=0\n", "line 7 [softmax]: temperature=0: 0 is not between"),
        # shapes that do not fit
        ("[conv]\nsize=65\n", "line 5 [conv]: its window of 65 pixels is larger than the map"),
        ("[max]\nsize=2\npadding=3\n", "line 5 [max]: padding 3 makes windows of nothing but padding"),
        ("[softmax]\n", "line 5 [softmax]: a softmax follows a vector, not a map 64x96x3"),
        ("[max]\nsize=2\nstride=2\n[route]\nlayers=0\n[avg]\n[route]\nlayers=-1,0\n", "line 11 [route]: layer 2 is"),
        ("[reorg]\nstride=2\n", "line 5 [reorg]: a map 64x96x3 cannot be reordered with stride 2"),
        ("[yolo]\nanchors=1,2\n", "line 5 [yolo]: 1 anchors x (5 + 20 classes) need 25 channels"),
        ("[conv]\nfilters=1000000\nsize=31\n", "line 5 [conv]: its map of 2,244,000,000 numbers or its 2,883"),
        ("[upsample]\nstride=1000000\n" * 20_000, "line 5 [upsample]: its map of "),
        (
            "[conv]\nfilters=3\nsize=1\n[conv]\npadding=256\n",
            "line 9 [conv]: padding=256: 256 is not between",
        ),
        ("[maxpool]\nsize=256\n", "line 6 [maxpool]: size=256: 256 is not between 1 and 255"),
        (
            "[avg]\n[conn]\noutput=900000\n[conn]\noutput=900000\n",
            "line 8 [conn]: its map of 900,000 numbers or ",
        ),
        (
            "[conv]\n[shortcut]\nfrom=-1\nactivation=logistic\n",
            "activation=logistic: logistic is not supported",
        ),
    ],
)
def test_refused_layers(text, says):
    assert says in refusal(NET + text)
