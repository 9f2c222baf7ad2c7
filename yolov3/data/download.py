"""Fetching the public data sets that the chapters use.

Each set is one archive of a public repository at a fixed commit.  The archive's own bytes may change
(the host packs it anew), so what is checked is every single file in it, against the set's manifest.
Nothing from the network is believed: not its lengths, not its file names, not that it is an archive.
"""

import tempfile
import zipfile
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from yolov3.data.manifest import read_manifest
from yolov3.errors import UserError
from yolov3.fetch import fetch


@dataclass(frozen=True)
class PublicSet:
    """Where a data set comes from, what it is, and the files that belong to it but are not in the archive."""

    url: str
    about: str
    licence: str
    largest_archive: int  # bytes; reading stops there
    extra_files: dict = field(default_factory=dict)  # {path: text}


AERIAL_YAML = """\
# Vehicles in aerial photographs.  Every fourth picture, in the order of their names, is held out.
train: images/train
val: images/val
names: [car, truck, bus, minibus, cyclist]
"""

PUBLIC_SETS = {
    "bccd": PublicSet(
        url="https://github.com/Shenggan/BCCD_Dataset/archive/d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip",
        about="364 photographs of blood cells, Pascal VOC labels",
        licence="MIT, (c) 2017 shenggan, see LICENSE there",
        largest_archive=64 << 20,
    ),
    # The manifest knows these pictures by what they show: the repository's PNG files were not at hand when it
    # was made, only good JPEG copies of them.
    "aerial": PublicSet(
        url="https://github.com/jekhor/aerial-cars-dataset/archive/d2ed927f.zip",
        about="65 aerial photographs of vehicles, YOLO labels",
        licence="CC-BY 3.0, KIT AIS Data Set, see README.md there",
        largest_archive=1 << 30,  # most of the repository is pictures that are not used here
        extra_files={"data.yaml": AERIAL_YAML},
    ),
}


def download(name, folder="datasets", url=None, timeout=30):
    """Put the public data set ``name`` into ``folder/name``, print its licence, and return that path.

    A set that is already there and whole is used as it is, without the network.  Otherwise the archive
    is fetched to a temporary folder, its files are checked, and only a whole set is moved into place.

    - ``url``: fetch the archive from this address instead of the public one;
    - ``timeout``: seconds without any answer after which the server counts as gone.

    UserError, with nothing left behind, when the set is unknown, the server cannot be reached, refuses,
    breaks off or sends something else, a file is missing or is not the published one, or ``folder`` cannot
    be written; also when ``folder/name`` exists with other content, which is never touched.
    """
    if name not in PUBLIC_SETS:
        raise UserError(f"there is no public data set {name!r}: choose one of {', '.join(PUBLIC_SETS)}")
    public_set, files, target = PUBLIC_SETS[name], read_manifest(name), Path(folder) / name
    try:
        if target.is_dir() and any(target.iterdir()):
            _check_existing(public_set, files, target)
        else:
            _fetch_and_unpack(public_set, files, target, url or public_set.url, timeout)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror or error}): choose another folder") from error
    print(f"{target}: {public_set.about}\nlicence: {public_set.licence}")
    return target


def _check_existing(public_set, files, target):
    fits = {file.path: file.fits for file in files}  # {path: function of the content}
    fits |= {path: text.encode("utf-8").__eq__ for path, text in public_set.extra_files.items()}
    for path, content_fits in fits.items():
        if not (target / path).is_file() or not content_fits((target / path).read_bytes()):
            raise UserError(
                f"{target} exists, but {path} in it is missing or not the published file: "
                "move that folder away and download again"
            )


def _fetch_and_unpack(public_set, files, target, url, timeout):
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        archive, unpacked = Path(temporary) / "archive.zip", Path(temporary) / "unpacked"
        fetch(url, archive, public_set.largest_archive, "zip archive", signature=b"PK", timeout=timeout)
        _unpack(archive, files, unpacked, url)
        for path, text in public_set.extra_files.items():
            (unpacked / path).write_bytes(text.encode("utf-8"))
        if target.is_dir():
            target.rmdir()  # it is empty, and not every system renames over an empty folder
        unpacked.rename(target)


def _unpack(archive_path, files, destination, url):
    """Write every file of the manifest to ``destination``; UserError if one is missing or wrong.

    An archive's member is found by the last part of its path, because the folders above differ from
    host to host, and recognised by its content.  It is written where the manifest says: the paths
    inside the archive never reach the disk.
    """
    try:
        archive = zipfile.ZipFile(archive_path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:  # OSError: of a forged place in it
        raise UserError(f"{url}: the archive is damaged or broke off ({error}): try again") from error
    with archive:
        members = defaultdict(list)  # {file name: members that end in it}
        for member in archive.infolist():
            members[PurePosixPath(member.filename).name].append(member)
        for file in files:
            path = destination / file.path
            candidates = members[path.name]
            contents = (_read_member(archive, member, file.largest_size) for member in candidates)
            content = next((content for content in contents if content is not None and file.fits(content)), None)
            if content is None:
                problem = "holds another file than the published one as" if candidates else "lacks the file"
                raise UserError(f"{url}: the archive {problem} {path.name}, so this is not the data set expected")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _read_member(archive, member, largest_size):
    """The content of a member, or None if it is damaged or longer than ``largest_size``."""
    # Only these two can be unpacked piece by piece; the others blow up before a limit can be noticed.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return None
    try:
        with archive.open(member) as stream:
            content = stream.read(largest_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError):
        return None  # RuntimeError: it wants a password; OSError: it claims to begin where no file can
    return content if len(content) <= largest_size else None
