"""``yolov3 info``, ``yolov3 export`` and ``yolov3 compare-backbones``."""

from pathlib import Path

from yolov3.commands.common import network_options, refuse
from yolov3.errors import UserError
from yolov3.runs import run_folder


def info(options):
    """Print a layer table in the original's form."""
    from yolov3.darknet.table import layer_table

    print(layer_table(_plan(options.model, options.imgsz)))


def _plan(model, image_size):
    """The plan of a cfg file, a checkpoint, a shipped cfg or a preset."""
    from yolov3.checkpoint import is_checkpoint, load_checkpoint
    from yolov3.darknet.cfg import BUILTIN, builtin_cfg, read_cfg
    from yolov3.darknet.trace import plan_of
    from yolov3.model import PRESETS, build_model, check_image_size, preset

    if model in BUILTIN:
        return read_cfg(builtin_cfg(model), check_image_size(image_size) if image_size else None)
    if model.endswith(".cfg"):
        return read_cfg(Path(model), image_size)
    if is_checkpoint(model):
        checkpoint = load_checkpoint(model)
        network, size = checkpoint.model, checkpoint.image_size
    elif model in PRESETS:
        network, size = build_model(model), preset(model)[2]
    else:
        if model.endswith(".weights"):
            raise UserError(f"{model} does not say which network it belongs to: give its .cfg, or a network's name")
        names = ", ".join(dict.fromkeys([*PRESETS, *BUILTIN]))
        raise UserError(f"unknown model {model!r}: give a .cfg file, a checkpoint, or one of {names}")
    return plan_of(network, check_image_size(image_size or size))


def export(options):
    """Write a detector for other programs."""
    from yolov3.loading import load_detector

    if options.format != "darknet":
        refuse(options, ["reader"], "--reader is for --format darknet")
    if options.format == "npz":
        _export_compact(options)
        return
    loaded = load_detector(**network_options(options))
    with run_folder(options.project, options.name) as folder:
        if options.format == "onnx":
            from yolov3.onnx_export import export_onnx

            export_onnx(loaded.model, folder / "model.onnx", loaded.image_size, loaded.names)
        else:
            from yolov3.darknet.export import READERS, export_darknet

            export_darknet(loaded, folder / "model", READERS[options.reader or "darknet-gpu"])
    for path in sorted(folder.iterdir()):
        print(path)
    print(folder)


def _export_compact(options):
    from yolov3.checkpoint import is_checkpoint, load_checkpoint, save_compact

    refuse(options, ["cfg", "model", "names", "imgsz"], "--format npz keeps what the checkpoint says")
    if options.batchnorm != "standard":
        raise UserError("a checkpoint has no rule of batch norm: leave out --batchnorm")
    if not is_checkpoint(options.weights):
        raise UserError(f"{options.weights} is no checkpoint of this program: only such a one can be written as npz")
    checkpoint = load_checkpoint(options.weights)
    with run_folder(options.project, options.name) as folder:
        save_compact(folder / "model.npz", checkpoint)
    print(folder / "model.npz")
    print(folder)


def compare_backbones(options):
    """Count and time the backbones of the paper's Table 2."""
    from yolov3.compare import PAPER_SIZE
    from yolov3.compare import compare_backbones as compare
    from yolov3.model import check_image_size

    size = check_image_size(options.imgsz or PAPER_SIZE)
    with run_folder(options.project, options.name) as folder:
        print(compare(folder, options.repeat, size, options.device, options.precision))
    print(folder)
