"""``yolov3 anchors``, ``yolov3 check-data``, ``yolov3 convert`` and ``yolov3 download``."""

from contextlib import nullcontext

from yolov3.commands.common import open_data, refuse, say
from yolov3.errors import UserError
from yolov3.runs import run_folder
from yolov3.wording import count_of


def anchors(options):
    """Find anchors for a data set."""
    from yolov3.anchors import anchors_by_stride_band, assign_by_rank, format_anchors, kmeans_anchors, network_sizes
    from yolov3.model import check_image_size, preset

    network, _, size = preset(options.model)
    height, width = check_image_size(options.imgsz or size)
    strides = tuple(sorted(network.strides))
    scales = len(strides)
    per_scale, rest = divmod(options.clusters or 3 * scales, scales)
    if rest:
        raise UserError(f"{scales} strides cannot share {options.clusters} anchors: choose a multiple of {scales}")
    dataset = open_data(options.data, "train", options.strict)
    sizes = network_sizes(dataset.records, width, height)
    if options.by == "band":
        found = anchors_by_stride_band(sizes, per_scale, options.update, options.seed, strides=strides)
        groups, average_iou = found.groups, found.average_iou
        for stride, count in found.box_counts.items():
            kept = " (too few: the published anchors stay)" if stride in found.published else ""
            print(f"stride {stride:2}: {count_of(count, 'box')}{kept}")
    else:
        centres, average_iou = kmeans_anchors(sizes, per_scale * scales, options.update, options.seed)
        groups = assign_by_rank(centres, strides)
    boxes = count_of(len(sizes), "box")
    print(f"average IoU of {boxes} with the best anchor, at {height}x{width}: {100 * average_iou:.2f} %")
    print("\n".join(format_anchors(groups)))


def check_data(options):
    """Print the audit of a data set, and show its labels."""
    from yolov3.data.audit import audit
    from yolov3.data.dataset import open_dataset, splits_of
    from yolov3.model import check_image_size

    if not options.pictures:
        refuse(options, ["imgsz"], "--imgsz is for --pictures")
    image_size = check_image_size(options.imgsz or (416, 416))
    with run_folder(options.project, options.name) if options.pictures else nullcontext() as folder:
        train_set = None
        # Training needs the first two, so that one of them is missing is worth an error.
        for split in [options.split] if options.split else dict.fromkeys(["train", "val", *splits_of(options.data)]):
            print(f"--- {options.data}, {split}")
            dataset = open_dataset(options.data, split, options.strict)
            print(audit(dataset, split, train_set))
            if split == "train":
                train_set = dataset
            if folder:
                _show_labels(dataset, image_size, folder, split)
    if folder:
        print(folder)


def _show_labels(dataset, image_size, folder, split):
    """The labels in figures, with the published anchors, and in some pictures drawn at random."""
    from yolov3.anchors import PUBLISHED_ANCHORS
    from yolov3.data.augment import NONE
    from yolov3.data.batches import TrainingBatches
    from yolov3.label_figure import plot_labels
    from yolov3.pictures import MOST_COLUMNS, ROWS, batch_grid

    plot_labels(dataset, PUBLISHED_ANCHORS, image_size, folder / f"labels_{split}.png")
    count = min(ROWS * MOST_COLUMNS, len(dataset))
    batch = next(TrainingBatches(dataset, image_size, count, NONE, seed=0).epoch(0))
    batch_grid(folder / f"pictures_{split}.png", batch, dataset.names)


def convert(options):
    """Write a data set in another format."""
    from yolov3.data.convert import convert as write
    from yolov3.data.dataset import GENERATED, open_dataset, splits_of

    if options.source in GENERATED:
        raise UserError(f"{options.source} is generated while it is used, so there are no pictures to convert")
    datasets = {split: open_dataset(options.source, split, options.strict) for split in splits_of(options.source)}
    for split, dataset in datasets.items():
        for line in dataset.report.summary():
            say(f"{options.source}, {split}: {line}")
    for line in write(datasets, options.to, options.out, options.link):
        say(f"not kept: {line}")
    for split, dataset in datasets.items():
        print(f"{split}: {count_of(len(dataset), 'picture')}")
    print(options.out)


def download(options):
    """Fetch a public data set or published weights."""
    from yolov3.darknet.published import PUBLISHED, fetch_weights
    from yolov3.data.download import PUBLIC_SETS
    from yolov3.data.download import download as fetch

    if options.name in PUBLISHED:
        print(fetch_weights(options.name, options.folder or "weights"))
    elif options.name in PUBLIC_SETS:
        print(fetch(options.name, options.folder or "datasets"))
    else:
        names = ", ".join([*PUBLIC_SETS, *PUBLISHED])
        raise UserError(f"there is nothing to download by the name {options.name!r}: choose one of {names}")
