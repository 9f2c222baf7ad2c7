"""Reading pictures, resizing, and the letterbox, against the original's numbers and independent oracles."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.hashing import hash01, hash_image
from tests.yolov3.refusals import refusal_of
from yolov3.image import Letterbox, letterbox, load_image, resize_bilinear, sample_bilinear


@pytest.fixture(scope="module")
def functions(golden):
    return json.loads((golden / "functions.json").read_text())


def grey_picture(values, height, width):
    """A flat golden plane as (height, width, 3): the one plane in all three colours."""
    plane = np.array(values, dtype=np.float32).reshape(height, width, 1)
    return np.repeat(plane, 3, axis=2)


def naive_resize(image, width, height):
    """The formula in loops and float64; the last row and column are the source's last."""
    source_height, source_width = image.shape[:2]
    image = image.astype(np.float64)
    out = np.empty((height, width, 3))
    for r in range(height):
        y = source_height - 1 if r == height - 1 else r * (source_height - 1) / (height - 1)
        for c in range(width):
            x = source_width - 1 if c == width - 1 else c * (source_width - 1) / (width - 1)
            i, j = min(int(x), source_width - 2), min(int(y), source_height - 2)
            i, j = max(i, 0), max(j, 0)
            dx, dy = x - i, y - j
            right, below = min(i + 1, source_width - 1), min(j + 1, source_height - 1)
            upper = (1 - dx) * image[j, i] + dx * image[j, right]
            lower = (1 - dx) * image[below, i] + dx * image[below, right]
            out[r, c] = (1 - dy) * upper + dy * lower
    return out


# --- The hash pictures themselves -----------------------------------------------------------------


def test_hash_picture_is_the_one_of_the_golden_numbers():
    assert float(hash01(0, 1)) == 0.6082010914105922
    assert float(hash01(12345, 2)) == 0.1746722748503089
    image = hash_image(640, 480, 101)
    assert image[0, 0].tolist() == [81, 225, 96]
    assert image[-1, -1].tolist() == [104, 91, 212]
    assert image.mean() == pytest.approx(125.7968, abs=5e-5)


# --- Resizing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "width", "height"), [("resize_7w6h", 7, 6), ("resize_3w2h", 3, 2)])
def test_resize_equals_the_original(functions, key, width, height):
    image = grey_picture(functions["resize_in_1x4x5"], 4, 5)
    resized = resize_bilinear(image, width, height)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, grey_picture(functions[key], height, width), rtol=0, atol=2e-7)


@pytest.mark.parametrize("target", [(1, 1), (1, 9), (9, 1), (2, 2), (13, 7), (40, 3)])
@pytest.mark.parametrize("source", [(1, 1), (1, 6), (6, 1), (2, 3), (11, 8)])
def test_resize_equals_naive_loops(source, target):
    image = hash_image(*source, seed=7)
    np.testing.assert_allclose(resize_bilinear(image, *target), naive_resize(image, *target), rtol=0, atol=2e-4)


def test_resize_keeps_the_corners_and_an_unchanged_size():
    image = hash_image(31, 23, 5)
    resized = resize_bilinear(image, 70, 11)
    np.testing.assert_array_equal(resized[[0, 0, -1, -1], [0, -1, 0, -1]], image[[0, 0, -1, -1], [0, -1, 0, -1]])
    np.testing.assert_array_equal(resize_bilinear(image, 31, 23), image)


def test_resize_by_hand():
    image = np.zeros((1, 2, 3), dtype=np.uint8)
    image[0, 1] = 100, 200, 8
    expected = [[0, 0, 0], [25, 50, 2], [50, 100, 4], [75, 150, 6], [100, 200, 8]]
    np.testing.assert_array_equal(resize_bilinear(image, 5, 2), [expected, expected])


def test_sampling_equals_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    image = hash_image(37, 300, 11).astype(np.float32)
    rng = np.random.default_rng(3)
    rows, columns = rng.uniform(0, 299, 211).astype(np.float32), rng.uniform(0, 36, 190).astype(np.float32)
    grid = np.meshgrid(rows.astype(np.float64), columns.astype(np.float64), indexing="ij")
    expected = np.stack([ndimage.map_coordinates(image[..., c], grid, order=1) for c in range(3)], axis=-1)
    np.testing.assert_allclose(sample_bilinear(image, columns, rows), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("size", [(416, 312), (50, 40), (900, 700)])
def test_resize_equals_torch(size):
    torch = pytest.importorskip("torch")
    width, height = size
    image = hash_image(640, 480, 101)
    planes = torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", align_corners=True)
    np.testing.assert_allclose(
        resize_bilinear(image, width, height), expected[0].permute(1, 2, 0).numpy(), rtol=0, atol=0.02
    )


# --- The letterbox --------------------------------------------------------------------------------


def test_letterbox_equals_the_original_on_a_small_picture(functions):
    boxed, frame = letterbox(grey_picture(functions["resize_in_1x4x5"], 4, 5), 8, 8)
    np.testing.assert_allclose(boxed, grey_picture(functions["letterbox_8x8"], 8, 8), rtol=0, atol=2e-7)
    assert (frame.new_width, frame.new_height, frame.left, frame.top) == (8, 6, 0, 1)


@pytest.mark.parametrize(
    ("key", "picture", "net"),
    [
        ("image50x37_seed401_net48x48", (50, 37, 401), (48, 48)),
        ("image37x50_seed402_net64x32", (37, 50, 402), (64, 32)),
    ],
)
def test_letterbox_equals_the_original(golden, key, picture, net):
    with np.load(golden / "letterbox.npz") as arrays:
        expected = arrays[key].transpose(1, 2, 0)
    boxed, frame = letterbox(hash_image(*picture), *net)
    assert boxed.shape == (net[1], net[0], 3)
    # The last row may differ by the original's fault that the next test shows.
    last = frame.top + frame.new_height - 1
    np.testing.assert_allclose(np.delete(boxed, last, 0), np.delete(expected, last, 0), rtol=0, atol=2e-7)
    np.testing.assert_allclose(boxed[last], expected[last], rtol=0, atol=5e-5)


def test_last_row_repeats_the_last_source_row_where_the_original_turns_black(golden):
    with np.load(golden / "letterbox.npz") as arrays:
        original = arrays["image640x480_seed404_net320x320_rows_276_to_281"].transpose(1, 2, 0)  # (6, 320, 3)
    image = hash_image(640, 480, 404)
    ours = letterbox(image, 320, 320)[0][276:282]
    np.testing.assert_allclose(ours[:3], original[:3], rtol=0, atol=2e-7)
    assert original[3].max() < 0.001  # the original's last row, 279, is black ...
    np.testing.assert_allclose(ours[3], resize_bilinear(image[-1:], 320, 1)[0] / 255, rtol=0, atol=2e-7)  # ... not ours
    np.testing.assert_array_equal(ours[4:], np.float32(0.5))
    np.testing.assert_array_equal(original[4:], np.float32(0.5))


def test_letterbox_of_a_float_picture_equals_the_original_bit_for_bit():
    image = (hash_image(640, 480, 101) / 255).astype(np.float32)
    boxed, _ = letterbox(image, 416, 416)
    planes = np.ascontiguousarray(boxed.transpose(2, 0, 1))
    checksum = "a32c1aa31f01c3b036afc30f8ca58396e1c016e05a1a133cdfca618a973c94c6"
    assert hashlib.sha256(planes.tobytes()).hexdigest() == checksum


@pytest.mark.parametrize(("name", "net"), [("yolov3-tiny-416", 416), ("darknet53-256", 256)])
def test_letterbox_equals_the_samples_of_the_golden_inputs(shared, name, net):
    with np.load(shared / "golden" / f"{name}.npz") as arrays:
        index, expected = arrays["input_index"], arrays["input_samples"]
    boxed, frame = letterbox(hash_image(640, 480, 101), net, net)
    samples = boxed.transpose(2, 0, 1).reshape(-1)[index]
    in_last_row = index // net % net == frame.top + frame.new_height - 1
    np.testing.assert_allclose(samples[~in_last_row], expected[~in_last_row], rtol=0, atol=2e-7)
    np.testing.assert_allclose(samples, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    ("picture", "net", "new", "corner"),
    [
        ((640, 480), (416, 416), (416, 312), (0, 52)),
        ((480, 640), (416, 416), (312, 416), (52, 0)),
        ((640, 480), (256, 192), (256, 192), (0, 0)),
        ((500, 375), (320, 256), (320, 240), (0, 8)),
        ((101, 50), (64, 64), (64, 31), (0, 16)),  # 33 border pixels: 16 above, 17 below
        ((1, 1), (416, 416), (416, 416), (0, 0)),
        ((20000, 10), (416, 416), (416, 1), (0, 207)),
        ((10, 20000), (416, 416), (1, 416), (207, 0)),
    ],
)
def test_place_of_the_picture_by_hand(picture, net, new, corner):
    frame = Letterbox.fit(*picture, *net)
    assert (frame.new_width, frame.new_height) == new
    assert (frame.left, frame.top) == corner


def test_letterbox_of_extreme_pictures_has_no_empty_side():
    for width, height in [(20000, 10), (10, 20000), (1, 1)]:
        image = np.full((height, width, 3), 51, dtype=np.uint8)
        boxed, frame = letterbox(image, 64, 32)
        inside = boxed[frame.top : frame.top + frame.new_height, frame.left : frame.left + frame.new_width]
        assert inside.size > 0
        np.testing.assert_allclose(inside, 0.2, rtol=1e-6)
        assert np.isclose(boxed, 0.2).all(axis=2).sum() == frame.new_width * frame.new_height


def test_boxes_to_the_picture_by_hand():
    # 100x50 at 64x64: scaled to 64x32, border 16 above and below.
    frame = Letterbox.fit(100, 50, 64, 64)
    box = np.array([[0.5, 0.5, 0.25, 0.125]], dtype=np.float32)  # centre 32, 32; size 16 x 8 input pixels
    np.testing.assert_allclose(frame.to_picture(box), [[37.5, 18.75, 62.5, 31.25]], atol=1e-4)
    # An odd border of 33 counts as 16.5 on each side: the input's middle is the picture's middle.
    frame = Letterbox.fit(101, 50, 64, 64)
    middle = frame.to_picture(np.array([[0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(middle, [[50.5, 25, 50.5, 25]])


def test_whole_picture_as_a_box_fills_the_frame():
    frame = Letterbox.fit(640, 480, 416, 416)
    box = frame.to_network(np.array([[0, 0, 640, 480]], dtype=np.float32))
    np.testing.assert_allclose(box, [[0.5, 0.5, 1, 312 / 416]], rtol=1e-6)
    assert box.dtype == np.float32


def test_boxes_in_whole_pixels_keep_the_half_pixel_of_an_odd_border():
    frame = Letterbox.fit(101, 50, 64, 64)
    box = frame.to_network(np.array([[0, 0, 101, 50]]))
    np.testing.assert_allclose(box, [[0.5, 0.5, 1, 31 / 64]])


@pytest.mark.parametrize("picture", [(640, 480), (333, 500), (101, 50), (20000, 10), (1, 1)])
def test_boxes_go_there_and_back(picture):
    rng = np.random.default_rng(0)
    frame = Letterbox.fit(*picture, 416, 352)
    corners = np.sort(rng.uniform(-0.2, 1.2, (50, 2, 2)), axis=1) * picture
    boxes_xyxy = corners.reshape(50, 4)
    np.testing.assert_allclose(frame.to_picture(frame.to_network(boxes_xyxy)), boxes_xyxy, rtol=1e-12, atol=1e-9)


def test_boxes_follow_the_pixels():
    # The edges of a bright rectangle and of its mapped box are within one input pixel of each other.
    image = np.zeros((120, 200, 3), dtype=np.uint8)
    image[30:90, 40:140] = 255
    boxed, frame = letterbox(image, 101, 96)  # scaled to 101 x 60, 18 rows of border above
    rows, columns = np.nonzero(boxed[..., 0] > 0.6)
    centre_x, centre_y, width, height = frame.to_network(np.array([[40.0, 30, 140, 90]]))[0]
    left, right = (centre_x - width / 2) * 101, (centre_x + width / 2) * 101
    top, bottom = (centre_y - height / 2) * 96, (centre_y + height / 2) * 96
    assert abs(columns.min() - left) <= 1
    assert abs(columns.max() + 1 - right) <= 1
    assert abs(rows.min() - top) <= 1
    assert abs(rows.max() + 1 - bottom) <= 1


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(10))
def test_exif_orientation(tmp_path, orientation):
    upright = Image.fromarray(hash_image(7, 4, 1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    upright.save(path, exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))  # 0 and 9 change nothing
    loaded = load_image(path)
    np.testing.assert_array_equal(loaded, expected)
    assert loaded.shape == ((7, 4, 3) if 5 <= orientation <= 8 else (4, 7, 3))


def test_orientation_six_by_hand(tmp_path):
    # A phone held upright stores the scene turned; 6 means: turn a quarter clockwise to see it right.
    stored = np.zeros((1, 2, 3), dtype=np.uint8)
    stored[0, 0], stored[0, 1] = (255, 0, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "phone.png"), [[[255, 0, 0]], [[0, 0, 255]]])


def test_damaged_exif_is_ignored(tmp_path):
    image = Image.fromarray(hash_image(16, 8, 1))
    image.save(tmp_path / "odd.jpg", exif=b"Exif\x00\x00II\x99\x99garbage")
    assert load_image(tmp_path / "odd.jpg").shape == (8, 16, 3)


def test_turned_tiff_is_turned_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = hash_image(5, 3, 2)
    Image.fromarray(pixels).save(tmp_path / "turned.tif", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "turned.tif"), np.rot90(pixels, -1))


def test_modes_by_hand(tmp_path):
    def load(image, name):
        image.save(tmp_path / name)
        loaded = load_image(tmp_path / name)
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous
        assert loaded.flags.writeable
        assert loaded.shape == (1, 2, 3)
        return loaded[0].tolist()

    grey = np.array([[3, 200]], dtype=np.uint8)
    assert load(Image.fromarray(grey), "grey.png") == [[3] * 3, [200] * 3]
    assert load(Image.fromarray(grey > 100), "bilevel.png") == [[0] * 3, [255] * 3]
    assert load(Image.fromarray(grey.astype(np.uint16) * 257), "grey16.png") == [[3] * 3, [200] * 3]
    assert load(Image.fromarray(grey.astype(np.int32) * 257), "grey32.tif") == [[3] * 3, [200] * 3]
    fractions = np.array([[0.2, 7]], dtype=np.float32)
    assert load(Image.fromarray(fractions), "float.tif") == [[51] * 3, [255] * 3]

    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], dtype=np.uint8)
    assert load(Image.fromarray(rgba), "rgba.png") == [[10, 20, 30], [255, 255, 255]]
    grey_alpha = Image.fromarray(rgba).convert("LA")
    assert load(grey_alpha, "la.png")[1] == [255, 255, 255]

    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert load(palette, "palette.gif") == [[1, 2, 3], [40, 50, 60]]
    palette.info["transparency"] = 1
    assert load(palette, "palette.png") == [[1, 2, 3], [255, 255, 255]]

    cmyk = Image.new("CMYK", (2, 1), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    assert load(cmyk, "cmyk.tif") == [[255, 0, 0]] * 2


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(load_image(tmp_path / "two.gif"), np.full((4, 4, 3), (255, 0, 0)))


def error_of(path):
    return refusal_of(load_image, path)


def test_bad_files(tmp_path):
    assert "no such file" in error_of(tmp_path / "absent.jpg")
    (tmp_path / "text.jpg").write_text("this is not a picture")
    assert "not a picture" in error_of(tmp_path / "text.jpg")
    (tmp_path / "empty.png").touch()
    assert "not a picture" in error_of(tmp_path / "empty.png")
    error_of(tmp_path)  # a folder

    Image.fromarray(hash_image(64, 64, 1)).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(data[: len(data) // 2])
    assert "truncated" in error_of(tmp_path / "half.jpg")


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif", "webp"])
def test_truncated_files_of_every_kind_name_themselves(tmp_path, suffix):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(hash_image(40, 30, 1)).save(whole)
    data = whole.read_bytes()
    for share in (0.02, 0.3, 0.6):
        cut.write_bytes(data[: int(len(data) * share)])
        error_of(cut)


def test_decompression_bomb(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "10000 pixels" in error_of(tmp_path / "bomb.png")


def test_real_odd_pictures(shared):
    folder = shared / "data" / "bad_inputs"
    assert load_image(folder / "kangaroo_00076_exif0.jpg").shape[2] == 3
    grey = load_image(folder / "raccoon-150_gray.jpg")
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
