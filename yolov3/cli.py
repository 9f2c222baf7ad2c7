"""The command line: what may be asked for.  How it is answered is in :mod:`yolov3.commands`.

Nothing heavy is imported before the arguments are understood, so ``yolov3 --help`` answers at once.
"""

import argparse
import os
import sys

from yolov3.arguments import fraction, image_size, minutes, natural_number, positive_integer
from yolov3.errors import in_words
from yolov3.launchers import one_voice, refuse_several
from yolov3.thresholds import EVALUATION_CONFIDENCE, NMS_IOU, SHOWN_CONFIDENCE


@one_voice()
def main(arguments=None):
    """Run the command; exit code 0, 1 for wrong input (one sentence on stderr), 2 for wrong usage, 130 for Ctrl-C."""
    options = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a file name may hold what the terminal cannot show
        if hasattr(stream, "reconfigure"):  # not so in a notebook
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(options)
        sys.stdout.flush()  # while a closed pipe can still be answered
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
        code = 0
    sys.exit(code)


def _run(options):
    try:
        from yolov3 import commands
        from yolov3.commands.common import choose_device
    except KeyboardInterrupt:  # before there is anything to stop
        return 130
    try:
        refuse_several(options.command)
        if hasattr(options, "device"):
            choose_device(options)
        return getattr(commands, options.run)(options)
    except (Exception, KeyboardInterrupt) as error:
        words = in_words(options.command, error)
        if words is None:
            raise
        text, code = words
        print(text, file=sys.stderr)
        return code


def build_parser():
    """The parser of all commands and their options."""
    parser = argparse.ArgumentParser(prog="yolov3", description="YOLOv3 from scratch: train, evaluate, detect.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        *(
            _add_demo,
            _add_train,
            _add_overfit,
            _add_val,
            _add_detect,
            _add_video,
            _add_export,
            _add_info,
            _add_compare_backbones,
        ),
        *(_add_anchors, _add_check_data, _add_convert, _add_download),
    ):
        add(commands)
    return parser


def _command(commands, name, help_text):
    command = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    command.set_defaults(run=name.replace("-", "_"))
    return command


def _add_demo(commands):
    command = _command(commands, "demo", "learn to find generated shapes, from nothing, in about a minute")
    steps_help = "training steps, in ten equal epochs (default 1000)"
    command.add_argument("--steps", type=positive_integer, default=1000, help=steps_help)
    _add_seed(command)
    _add_device(command)
    _add_output(command, "demo")


def _add_train(commands):
    # No defaults here: what is not given keeps the setting's own (yolov3.train_settings), or, with --resume, the run's.
    command = _command(commands, "train", "train a detector on a data set")
    _add_data(command, required=False)  # a resumed run knows its own
    command.add_argument("--model", help="preset: yolov3-nano (default), yolov3-small, yolov3-tiny, yolov3")
    start_help = "checkpoint to start from (fine-tuning), or the original's, such as darknet53.conv.74, for --model"
    command.add_argument("--weights", help=start_help)
    _add_image_size(command, "of the network input (default: the preset's, or that of --weights)")
    command.add_argument("--epochs", type=positive_integer, help="passes over the data (default 41)")
    command.add_argument("--batch", type=positive_integer, help="pictures per step (default 8)")
    command.add_argument("--lr", type=float, help="learning rate at the top of its schedule (default 0.003)")
    command.add_argument("--optimizer", help="adam (default) or sgd")
    command.add_argument("--anchors", help="band (default): found in the training boxes; or published")
    command.add_argument("--augment", help="recipe (default), mosaic, original or none")
    way_help = "pictures have no right way up, as under a microscope: recipe and mosaic show half of them upside down"
    command.add_argument("--any-way-up", action="store_true", default=None, help=way_help)
    schedule_help = "of the learning rate: cosine (default), or steps, the original's two falls to a tenth"
    command.add_argument("--schedule", help=schedule_help)
    burn_in_help = "steps in which the learning rate rises to its top (default 50)"
    command.add_argument("--burn-in", type=natural_number, metavar="STEPS", help=burn_in_help)
    scales_help = "another size for every ten batches, from 3/4 to 3/2 of --imgsz in steps of 32"
    command.add_argument("--multi-scale", action="store_true", default=None, help=scales_help)
    ema_help = "keep a running average of the weights, such as 0.998, and let it detect; 0 for none (default 0.0)"
    command.add_argument("--ema", type=fraction, metavar="DECAY", help=ema_help)
    freeze_help = "keep the backbone as it is in the first epochs, for --weights (default 0)"
    command.add_argument("--freeze", type=natural_number, metavar="EPOCHS", help=freeze_help)
    patience_help = "end when so many epochs brought no better mAP@0.5 (each is validated); 0 for never (default 0)"
    command.add_argument("--patience", type=natural_number, metavar="EPOCHS", help=patience_help)
    command.add_argument("--lateral", help="concat (default, as YOLOv3) or add (as FPN)")
    command.add_argument("--ignore-thres", type=fraction, help="IoU above which a box is ignored (default 0.7)")
    command.add_argument("--momentum", type=fraction, help="share of a batch in batch norm's averages (default 0.1)")
    local_help = "in several processes (mpiexec): batch norm over the pictures of each, not over the whole batch"
    command.add_argument("--local-batchnorm", action="store_true", default=None, help=local_help)
    resume_help = "continue the run in this folder (or of this last.npz); with --data where its data lie elsewhere now"
    command.add_argument("--resume", metavar="RUN", help=resume_help)
    save_help = "write a checkpoint within an epoch after so many minutes, too (default 10; 0: after every step)"
    command.add_argument("--save-every", type=minutes, metavar="MINUTES", help=save_help)
    tensorboard_help = "also write event files for TensorBoard: then tensorboard --logdir runs/train"
    command.add_argument("--tensorboard", action="store_true", help=tensorboard_help)
    _add_strict(command)
    _add_seed(command, default=None)
    _add_device(command)
    _add_output(command, "train")
    command.set_defaults(project=None, name=None)  # as described, but a resumed run has its own


def _add_overfit(commands):
    command = _command(commands, "overfit", "learn one batch by heart, to see whether the data can be learned at all")
    _add_data(command)
    command.add_argument("--model", default="yolov3-nano", help="preset, as for train (default yolov3-nano)")
    _add_image_size(command, "of the network input (default: the preset's)")
    command.add_argument("--batch", type=positive_integer, default=4, help="pictures in the batch (default 4)")
    command.add_argument("--steps", type=positive_integer, default=400, help="at most so many (default 400)")
    command.add_argument("--lr", type=float, help="learning rate at the top of its schedule (default 0.005)")
    _add_strict(command)
    _add_seed(command)
    _add_device(command)
    _add_output(command, "overfit")


def _add_val(commands):
    val_help = "evaluate a detector: AP per class and size, mAP@0.5 and AP@[.5:.95], speed, and errors by kind"
    command = _command(commands, "val", val_help)
    _add_network(command)
    _add_data(command)
    command.add_argument("--split", default="val", help="part of the data set (default val)")
    command.add_argument("--batch", type=positive_integer, default=8, help="pictures per step (default 8)")
    _add_thresholds(command, EVALUATION_CONFIDENCE)
    _add_low_memory(command)
    json_help = "also write detections.json, boxes in pixels, and coco_*.json, the same and the truth for pycocotools"
    command.add_argument("--save-json", action="store_true", help=json_help)
    _add_strict(command)
    _add_device(command)
    _add_output(command, "val")


def _add_detect(commands):
    command = _command(commands, "detect", "find objects in pictures")
    command.add_argument(
        "sources", nargs="+", metavar="PICTURE", help="picture, folder of pictures, or pattern such as 'a/*.jpg'"
    )
    _add_network(command)
    _add_thresholds(command, SHOWN_CONFIDENCE)
    _add_most_detections(command)
    _add_low_memory(command)
    command.add_argument("--save-txt", action="store_true", help="also write labels/*.txt: class x y w h score")
    command.add_argument("--save-json", action="store_true", help="also write detections.json, boxes in pixels")
    _add_device(command)
    _add_output(command, "detect")


def _add_video(commands):
    command = _command(commands, "video", "find objects in a video, a folder of frames, or before a camera")
    source_help = "video file, folder of pictures, or the number of a camera, such as 0"
    command.add_argument("source", metavar="SOURCE", help=source_help)
    _add_network(command)
    _add_thresholds(command, SHOWN_CONFIDENCE)
    _add_most_detections(command)
    _add_low_memory(command)
    rate_help = "frames per second of a folder of pictures (default 25), or to ask of a camera"
    command.add_argument("--fps", type=positive_integer, help=rate_help)
    command.add_argument("--frames", type=positive_integer, help="stop after so many frames (default: at the end)")
    command.add_argument("--save-json", action="store_true", help="also write detections.json, boxes in pixels")
    _add_device(command)
    _add_output(command, "video")


def _add_anchors(commands):
    command = _command(commands, "anchors", "find anchors for a data set by k-means with 1 - IoU")
    _add_data(command)
    command.add_argument("--model", default="yolov3", help="preset whose strides need anchors (default yolov3)")
    _add_image_size(command, "of the network input (default: the preset's)")
    command.add_argument("--clusters", type=positive_integer, help="number of anchors (default 3 per stride)")
    command.add_argument(
        "--by", choices=("band", "rank"), default="band", help="how they are given to strides (default band)"
    )
    command.add_argument(
        "--update", choices=("mean", "median"), default="mean", help="centre of a cluster (default mean)"
    )
    _add_strict(command)
    _add_seed(command)


def _add_check_data(commands):
    command = _command(commands, "check-data", "read a data set, check every label and picture, and say what is in it")
    _add_data(command)
    command.add_argument("--split", help="part of the data set (default: train, val, and test if it has one)")
    pictures_help = "also write figures of the labels, labels_*.png, and pictures with them, pictures_*.png"
    command.add_argument("--pictures", action="store_true", help=pictures_help)
    _add_image_size(command, "of the network input in these (default 416)")
    _add_output(command, "check-data")
    _add_strict(command)


def _add_convert(commands):
    command = _command(commands, "convert", "write a data set in another format, all its splits")
    source_help = "a VOC, COCO or Roboflow folder, a COCO json, a YOLO data.yaml, or a Darknet .data file"
    command.add_argument("source", metavar="SOURCE", help=source_help)
    command.add_argument("--to", required=True, choices=("yolo", "voc", "coco", "darknet"), help="format to write")
    command.add_argument("--out", required=True, metavar="FOLDER", help="where to; it must not exist yet")
    command.add_argument("--link", action="store_true", help="link to the pictures instead of copying them")
    _add_strict(command)


def _add_download(commands):
    command = _command(commands, "download", "fetch a public data set or published weights, and verify them")
    names_help = "bccd or aerial; or weights: yolov3, yolov3-tiny, yolov2, darknet53.conv.74"
    command.add_argument("name", help=names_help)
    command.add_argument("--folder", help="where to put it (default datasets, or weights)")


def _add_export(commands):
    command = _command(commands, "export", "write a detector for other programs")
    _add_network(command)
    format_help = (
        "onnx; darknet for a .cfg and .weights that the original program and OpenCV read; or npz for a checkpoint that "
        "only detects, a sixth of the size"
    )
    command.add_argument("--format", choices=("onnx", "darknet", "npz"), required=True, help=format_help)
    reader_help = "with darknet: which program's batch norm to write for (default darknet-gpu)"
    command.add_argument("--reader", choices=("darknet-gpu", "darknet-cpu", "opencv"), help=reader_help)
    _add_output(command, "export")


def _add_info(commands):
    command = _command(commands, "info", "print the layer table of a network: shapes, parameters, operations")
    model_help = "a .cfg file, a checkpoint, or a name such as yolov3-tiny, darknet53, resnet50 (default yolov3)"
    command.add_argument("model", nargs="?", default="yolov3", help=model_help)
    _add_image_size(command, "of the network input (default: the model's)")


def _add_compare_backbones(commands):
    command = _command(commands, "compare-backbones", "count and time the backbones of the paper's Table 2 here")
    command.add_argument("--repeat", type=positive_integer, default=10, help="timed runs per network (default 10)")
    _add_image_size(command, "of the pictures (default 256)")
    _add_device(command)
    _add_output(command, "compare-backbones")


def _add_network(command):
    weights_help = (
        "checkpoint, .weights file, or weights by name: blood-cells (comes along), yolov3, yolov3-tiny, yolov2"
    )
    command.add_argument("--weights", required=True, metavar="W", help=weights_help)
    command.add_argument("--cfg", metavar="F", help="the .cfg that belongs to a .weights file")
    model_help = "or the name of a network with a shipped cfg, such as yolov3-spp"
    command.add_argument("--model", metavar="NAME", help=model_help)
    command.add_argument(
        "--names",
        metavar="F",
        help="names of the classes: a .names or .data file (default: NAME.names beside NAME.cfg)",
    )
    _add_image_size(command, "of the network input (default: as trained, or as the cfg says)")
    rules = ("standard", "darknet-cpu", "opencv")
    rule_help = "where epsilon stands in batch norm: as in most programs (default), the original's CPU code, or OpenCV"
    command.add_argument("--batchnorm", choices=rules, default="standard", help=rule_help)


def _add_data(command, required=True):
    what = "shapes, a VOC, COCO or Roboflow folder, a COCO json, a YOLO data.yaml, or a Darknet .data file"
    command.add_argument("--data", required=required, help=what)


def _add_image_size(command, meaning):
    command.add_argument("--imgsz", type=image_size, metavar="N or HxW", help=f"size {meaning}")


def _add_thresholds(command, confidence):
    command.add_argument("--conf-thres", type=fraction, default=confidence, help=f"least score (default {confidence})")
    overlap_help = f"IoU above which NMS drops a box (default {NMS_IOU})"
    command.add_argument("--iou-thres", type=fraction, default=NMS_IOU, help=overlap_help)


def _add_low_memory(command):
    memory_help = "without the weights that Winograd's way enlarges: less memory, more time"
    command.add_argument("--low-memory", action="store_true", help=memory_help)


def _add_most_detections(command):
    most_help = "most objects of a picture, the surest (default 300)"
    command.add_argument("--max-det", type=positive_integer, default=300, help=most_help)


def _add_strict(command):
    command.add_argument("--strict", action="store_true", help="stop at the first wrong label or picture")


def _add_seed(command, default=0):
    seed_help = "of everything random: the same seed, the same run (default 0)"
    command.add_argument("--seed", type=natural_number, default=default, help=seed_help)


def _add_device(command):
    device_help = "where to compute: auto (default) is a GPU if there is one; emulated runs its kernels on the CPU"
    command.add_argument("--device", choices=("auto", "cpu", "cuda", "emulated"), default="auto", help=device_help)
    precision_help = "on a GPU: fp32 (default); tf32 and fp16 use tensor cores, which are faster and less exact"
    command.add_argument("--precision", choices=("fp32", "tf32", "fp16"), default="fp32", help=precision_help)


def _add_output(command, name):
    command.add_argument("--project", default=f"runs/{name}", help=f"folder of runs (default runs/{name})")
    command.add_argument("--name", default="exp", help="name of this run (default exp, then exp2, ...)")
