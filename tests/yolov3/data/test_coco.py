"""COCO JSON: ids with gaps, crowds, where pictures are looked for, and every broken entry by its number."""

import json

import numpy as np
import pytest
from PIL import Image

from yolov3.data.dataset import open_dataset
from yolov3.errors import UserError


def coco(annotations, images=None, categories=None):
    return {
        "images": images or [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": annotations,
        "categories": categories or [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
    }


def annotation(bbox, category_id=3, image_id=7, **more):
    return {"id": 11, "image_id": image_id, "category_id": category_id, "bbox": bbox, **more}


@pytest.fixture
def save(tmp_path):
    """Writes a JSON beside a 40x20 picture a.png and returns its path."""

    def write(content, name="labels.json", picture="a.png"):
        path = tmp_path / name
        for file in (path, tmp_path / picture):
            file.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        Image.new("RGB", (40, 20)).save(tmp_path / picture)
        return path

    return write


def test_categories_become_contiguous_labels_and_boxes_corners(save):
    path = save(coco([annotation([1, 2, 10, 5.5], 90), annotation([20, 3, 4, 4], 3, iscrowd=1)]))
    dataset = open_dataset(path, strict=True)
    assert dataset.names == ["car", "toothbrush"]  # by id: 3, 90
    [record] = dataset.records
    np.testing.assert_array_equal(record.boxes_xyxy, np.array([[1, 2, 11, 7.5], [20, 3, 24, 7]], np.float32))
    assert record.labels.tolist() == [1, 0]
    assert record.crowd.tolist() == [False, True]
    assert record.difficult.tolist() == [False, False]
    assert (record.name, record.width, record.height, record.annotation) == ("a", 40, 20, str(path))


def test_the_stated_area_is_kept_and_follows_its_box(save):
    entries = [
        annotation([1, 2, 0, 5], area=1),  # without area: left out
        annotation([1, 2, 10, 5], area=31.25),
        annotation([-5, 3, 10, 4], area=0),  # clipped; an outline may be that thin
        annotation([1, 1, 4, 4], 4, area=2),  # unknown class: left out
        annotation([20, 3, 4, 4], area=16),
    ]
    [record] = open_dataset(save(coco(entries))).records
    assert record.boxes_xyxy.tolist() == [[1, 2, 11, 7], [0, 3, 5, 7], [20, 3, 24, 7]]
    assert record.areas.tolist() == [31.25, 0, 16]


def test_a_difficult_object_is_marked_ignore_as_in_cocos_versions_of_voc(save):
    path = save(coco([annotation([1, 2, 10, 5], ignore=1), annotation([20, 3, 4, 4], ignore=0)]))
    [record] = open_dataset(path, strict=True).records
    assert record.difficult.tolist() == [True, False]


def test_without_a_bbox_the_box_is_that_of_the_outline(save):
    polygons = [[5, 4, 9, 4, 9, 8], [20.5, 6, 22, 6, 22, 12.25, 21, 7]]
    mask = {"size": [20, 40], "counts": [20 * 3 + 5, 4, 800 - 69]}  # column 3, rows 5 to 8
    entries = [
        annotation(None, segmentation=polygons),
        annotation([], segmentation=mask, iscrowd=1),
        annotation([1, 2, 10, 5], segmentation=polygons),  # the bbox is what counts
    ]
    dataset = open_dataset(save(coco(entries)), strict=True)
    [record] = dataset.records
    assert record.boxes_xyxy.tolist() == [[5, 4, 22, 12.25], [3, 5, 4, 9], [1, 2, 11, 7]]
    assert record.crowd.tolist() == [False, True, False]
    assert dataset.report.boxes_from_outlines == 2


def test_an_outline_that_cannot_be_read_is_reported_by_its_number(save):
    entries = [annotation([1, 2, 10, 5]), annotation(None, segmentation=[[1, 2, 3]])]
    dataset = open_dataset(save(coco(entries)))
    assert len(dataset.records[0].labels) == 1
    [problem] = dataset.report.problems["broken annotation"]
    assert problem.name == "labels.json annotation 2 (id 11)"
    assert "three or more corners" in problem.message


INVALID_AREAS = [-1, float("nan"), float("inf"), 10**400, "5", None, True, [5]]


@pytest.mark.parametrize("area", INVALID_AREAS, ids=[str(area)[:5] for area in INVALID_AREAS])
def test_without_a_valid_area_it_is_that_of_the_box(save, area):
    entries = [annotation([-5, 3, 10, 4], area=area), annotation([20, 3, 4, 4])]
    [record] = open_dataset(save(coco(entries))).records
    assert record.areas.tolist() == [20, 16]  # the first of them clipped


def test_a_single_file_is_every_split_and_says_so(save, tmp_path):
    path = save(coco([annotation([1, 2, 10, 5])]))
    for split in ("train", "val"):
        [note] = open_dataset(path, split).report.summary()
        assert note == f"{path} is one file, so every split is the whole file"
    for split in ("train", "val"):
        save(coco([annotation([1, 1, 5, 5])]), f"annotations/{split}.json", "images/a.png")
        assert open_dataset(tmp_path, split).report.summary() == []


def test_names_argument_maps_by_name(save):
    dataset = open_dataset(save(coco([annotation([1, 2, 10, 5], 90), annotation([20, 3, 4, 4], 3)])), names=["car"])
    assert dataset.records[0].labels.tolist() == [0]
    assert [problem.name for problem in dataset.report.problems["unknown class"]] == [
        "labels.json annotation 1 (id 11)"
    ]


def test_pictures_without_annotations_are_background(save):
    dataset = open_dataset(save(coco([])), strict=True)
    assert dataset.records[0].boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("labels.json", "a.png"),
        ("labels.json", "images/a.png"),
        ("annotations/labels.json", "images/a.png"),
        ("annotations/instances_train2017.json", "train2017/a.png"),
        ("annotations/instances_train2017.json", "images/train2017/a.png"),
        ("instances_train2017.json", "train2017/a.png"),
        ("annotations/train.json", "train/a.png"),
        ("train/_annotations.coco.json", "train/a.png"),
    ],
)
def test_where_pictures_are_found(save, tmp_path, name, picture):
    [record] = open_dataset(save(coco([annotation([1, 1, 5, 5])]), name, picture), strict=True).records
    assert record.picture.resolve() == (tmp_path / picture).resolve()


def test_a_folder_chooses_the_file_of_the_split(save, tmp_path):
    for name in ("instances_train2017", "instances_val2017", "person_keypoints_val2017", "captions_val2017"):
        save(coco([], categories=[{"id": 1, "name": name}]), f"annotations/{name}.json", "images/a.png")
    assert open_dataset(tmp_path, "train").names == ["instances_train2017"]
    assert open_dataset(tmp_path, "val").names == ["instances_val2017"]
    with pytest.raises(UserError, match=r"annotations: no \.json file for split 'test'; there are captions_val2017"):
        open_dataset(tmp_path, "test")
    save(coco([]), "annotations/instances_val2014.json", "images/a.png")
    with pytest.raises(UserError, match=r"instances_val2014, instances_val2017 all look like split 'val'"):
        open_dataset(tmp_path, "val")
    save(coco([], categories=[{"id": 1, "name": "exact"}]), "annotations/val.json", "images/a.png")
    assert open_dataset(tmp_path, "val").names == ["exact"]


def test_val_is_not_found_inside_another_word(save, tmp_path):
    save(coco([]), "annotations/trainval.json", "images/a.png")
    with pytest.raises(UserError, match=r"no \.json file for split 'val'"):
        open_dataset(tmp_path, "val")


def test_a_data_yaml_may_point_to_coco_files(save, tmp_path):
    save(coco([annotation([1, 1, 5, 5], 90)]), "annotations/instances_train.json", "images/a.png")
    yaml = tmp_path / "data.yaml"
    yaml.write_text("train: annotations/instances_train.json\n")
    assert open_dataset(yaml).names == ["car", "toothbrush"]
    yaml.write_text("train: annotations/instances_train.json\nnames: [toothbrush, car]\n")
    dataset = open_dataset(yaml)
    assert dataset.names == ["toothbrush", "car"]
    assert dataset.records[0].labels.tolist() == [0]
    yaml.write_text("train: [annotations/instances_train.json, images]\n")
    with pytest.raises(UserError, match=r"a COCO \.json must stand alone"):
        open_dataset(yaml)


PARENT = {"id": 0, "name": "cells", "supercategory": "none"}
CHILDREN = [{"id": 1, "name": "red", "supercategory": "cells"}, {"id": 2, "name": "white", "supercategory": "cells"}]
USES_PARENT, USES_CHILD = annotation([1, 2, 10, 5], 0), annotation([1, 2, 10, 5], 2)


@pytest.mark.parametrize(
    ("categories", "number"), [([PARENT, *CHILDREN], 0), ([*CHILDREN, {"id": 9, "name": "cells"}], 9)]
)
def test_a_category_that_is_only_the_parent_of_the_others_is_no_class(save, tmp_path, categories, number):
    for split in ("train", "val"):
        save(coco([USES_CHILD], categories=categories), f"annotations/{split}.json", "images/a.png")
    for split in ("train", "val"):
        dataset = open_dataset(tmp_path, split, strict=True)
        assert dataset.names == ["red", "white"]
        assert dataset.records[0].labels.tolist() == [1]
        [note] = dataset.report.summary()
        assert f"{split}.json: category {number} ('cells') only groups the others" in note


def test_a_parent_may_have_the_name_of_its_only_child(save):
    pair = [{"id": number, "name": "pothole", "supercategory": name} for number, name in enumerate(["none", "pothole"])]
    for categories in (pair, pair[::-1]):
        path = save(coco([annotation([1, 2, 10, 5], 1)], categories=categories))
        assert open_dataset(path).names == ["pothole"]
        assert len(open_dataset(path, names=["pothole"]).report.summary()) == 1  # every split is the whole file
        with pytest.raises(UserError, match=r"category 2: id . or name 'pothole' is there twice"):
            open_dataset(save(coco([annotation([1, 2, 10, 5], 0)], categories=categories)))


@pytest.mark.parametrize(
    "categories",
    [
        [PARENT],  # of nothing
        [PARENT, *CHILDREN, {"id": 3, "name": "dust", "supercategory": "none"}],
        [PARENT, *CHILDREN, {"id": 3, "name": "dust", "supercategory": "red"}],
        [PARENT | {"supercategory": "matter"}, *CHILDREN],
        [{"id": 1, "name": "none", "supercategory": "none"}, {"id": 2, "name": "a", "supercategory": "none"}],
    ],
)
def test_any_other_category_is_a_class_even_without_an_example(save, categories):
    dataset = open_dataset(save(coco([], categories=categories)))
    assert len(dataset.names) == len(categories)
    assert len(dataset.report.summary()) == 1


def test_a_parent_that_any_split_uses_is_a_class_in_all_of_them(save, tmp_path):
    """However the data set is laid out: otherwise the splits would have different classes."""
    categories = [PARENT, *CHILDREN]
    layouts = {"roboflow": "{}/_annotations.coco.json", "coco": "annotations/{}.json", "yaml": "{}.json"}
    for layout, name in layouts.items():
        for split, used in (("train", USES_PARENT), ("val", USES_CHILD)):
            pictures = split if layout == "roboflow" else "images"
            content = coco([used], categories=categories)
            save(content, f"{layout}/{name.format(split)}", f"{layout}/{pictures}/a.png")
    (tmp_path / "yaml" / "data.yaml").write_text("train: train.json\nval: val.json\ntest: gone.json\n")
    for layout in layouts:
        for split in ("train", "val"):
            dataset = open_dataset(tmp_path / layout, split, strict=True)
            assert dataset.names == ["cells", "red", "white"]
            assert dataset.report.summary() == []
    (tmp_path / "coco" / "annotations" / "train.json").write_text("{")  # its own split says so
    assert open_dataset(tmp_path / "coco", "val").names == ["red", "white"]


IMAGE = {"id": 7, "file_name": "a.png", "width": 40, "height": 20}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not valid JSON"),
        ('{"images": [', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"images": [' + "9" * 5000 + "]}", "is not valid JSON"),
        ("[]", "it has no list 'images'"),
        ('{"images": [], "annotations": {}}', "it has no list 'annotations'"),
        ('{"images": [], "annotations": []}', "it has no list 'categories'"),
        (coco([], categories=[{"id": 1}]), "category 1: needs a whole number 'id' and a text 'name'"),
        (coco([], categories=[{"id": "1", "name": "a"}]), "category 1: needs"),
        (coco([], categories=["cat"]), "category 1: needs"),
        (coco([], categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "category 2: id 1 or name 'b' is"),
        (coco([], categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]), "category 2: id 2 or name 'a' is"),
    ],
)
def test_a_file_that_is_no_coco_file(save, content, message):
    with pytest.raises(UserError) as error:
        open_dataset(save(content))
    assert message in str(error.value)
    assert "labels.json" in str(error.value)


def test_binary_garbage(save):
    path = save("")
    path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"labels\.json: is not valid JSON"):
        open_dataset(path)


GOOD = annotation([1, 2, 10, 5])

BROKEN = [
    ("broken annotation", 5, "annotation 2", "is not an object with keys"),
    ("broken annotation", {"id": 11, "category_id": 3, "bbox": [1, 1, 2, 2]}, "annotation 2 (id 11)", "image_id None"),
    ("broken annotation", annotation([1, 1, 2, 2], image_id=8), "annotation 2 (id 11)", "image_id 8 is not among"),
    ("broken annotation", annotation([1, 1, 2, 2], image_id=[7]), "annotation 2 (id 11)", "image_id [7] is not among"),
    ("unknown class", annotation([1, 1, 2, 2], 4), "annotation 2 (id 11)", "category_id 4 is not among"),
    ("unknown class", annotation([1, 1, 2, 2], None), "annotation 2 (id 11)", "category_id None"),
    ("broken annotation", annotation([1, 1, 2]), "annotation 2 (id 11)", "bbox must be four numbers"),
    ("broken annotation", annotation(None), "annotation 2 (id 11)", "bbox must be four numbers"),
    ("broken annotation", annotation([1, 1, 2, "w"]), "annotation 2 (id 11)", "bbox must be four numbers"),
    ("broken annotation", annotation([1, 1, 2, 10**400]), "annotation 2 (id 11)", "bbox must be four numbers"),
    ("non-finite box", annotation([1, 1, float("nan"), 2]), "annotation 2 (id 11)", "not made of finite numbers"),
    ("non-finite box", annotation([1, float("inf"), 2, 2]), "annotation 2 (id 11)", "not made of finite numbers"),
    ("zero-area box", annotation([1, 1, 0, 5]), "annotation 2 (id 11)", "is 0 wide and 5 high"),
    ("zero-area box", annotation([9, 1, -3, 5]), "annotation 2 (id 11)", "is -3 wide and 5 high"),
]


def open_with_one_problem(path, kind, where, detail):
    """The data set, whose only problem is of ``kind`` and says ``where`` and ``detail``; strict raises the same."""
    dataset = open_dataset(path)
    assert dataset.report.counts() == {kind: 1}
    [problem] = dataset.report.problems[kind]
    assert problem.message.startswith(f"{path} {where}: ")
    assert detail in problem.message
    with pytest.raises(UserError) as error:
        open_dataset(path, strict=True)
    assert str(error.value) == problem.message
    return dataset


@pytest.mark.parametrize(("kind", "entry", "where", "detail"), BROKEN, ids=[row[3] for row in BROKEN])
def test_a_broken_annotation_is_skipped_and_the_rest_kept(save, kind, entry, where, detail):
    dataset = open_with_one_problem(save(coco([GOOD, entry])), kind, where, detail)
    assert dataset.records[0].boxes_xyxy.tolist() == [[1, 2, 11, 7]]


@pytest.mark.parametrize(
    ("entry", "kind", "where", "detail"),
    [
        ("b.png", "broken annotation", "image 2", "needs a whole number 'id'"),
        ({"id": 8}, "broken annotation", "image 2", "needs a whole number 'id' and a text 'file_name'"),
        ({"id": None, "file_name": "a.png"}, "broken annotation", "image 2", "needs a whole number 'id'"),
        (IMAGE, "broken annotation", "image 2", "its id 7 is there twice"),
        ({"id": 8, "file_name": "b.png"}, "missing picture", "image 2 (id 8)", "its picture 'b.png' is in none of"),
        ({"id": 8, "file_name": "\0"}, "missing picture", "image 2 (id 8)", "is in none of"),
        ({"id": 8, "file_name": "x" * 5000}, "missing picture", "image 2 (id 8)", "is in none of"),
    ],
)
def test_a_broken_image_is_skipped_and_the_rest_kept(save, entry, kind, where, detail):
    dataset = open_with_one_problem(save(coco([GOOD], images=[IMAGE, entry])), kind, where, detail)
    assert [record.name for record in dataset.records] == ["a"]


def test_labels_equal_those_of_pycocotools(save):
    coco_module = pytest.importorskip("pycocotools.coco")
    rng = np.random.default_rng(5)
    categories = [{"id": int(i), "name": f"class{i}"} for i in rng.permutation([1, 2, 5, 13, 44, 90])]
    images = [{"id": i, "file_name": "a.png", "width": 40, "height": 20} for i in (30, 4, 19)]
    entries = []
    for number in range(60):
        left, top = rng.uniform(0, 30), rng.uniform(0, 15)
        width, height = rng.uniform(1, 10), rng.uniform(1, 5)
        image_id, category = int(rng.choice([30, 4, 19])), int(rng.choice([1, 2, 5, 13, 44, 90]))
        area = width * height * rng.uniform(0.4, 1)
        entry = annotation([left, top, width, height], category, image_id, area=area, iscrowd=0)
        entries.append({**entry, "id": number})
    path = save(coco(entries, images, categories))
    dataset = open_dataset(path)
    oracle = coco_module.COCO(str(path))
    for record, image_id in zip(dataset.records, (30, 4, 19), strict=True):
        expected = oracle.loadAnns(oracle.getAnnIds(imgIds=image_id))
        boxes = np.array([item["bbox"] for item in expected])
        np.testing.assert_allclose(record.boxes_xyxy[:, :2], boxes[:, :2], rtol=1e-6)
        np.testing.assert_allclose(record.boxes_xyxy[:, 2:], boxes[:, :2] + boxes[:, 2:], rtol=1e-6)
        assert record.areas.tolist() == [item["area"] for item in expected]
        names = [oracle.loadCats(item["category_id"])[0]["name"] for item in expected]
        assert [dataset.names[label] for label in record.labels] == names
