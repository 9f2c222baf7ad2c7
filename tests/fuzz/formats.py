"""Damage to formats that notice any: checksums are made right again, so that what lies behind them is reached."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np

from tests.fuzz.mutate import WHOLE, mutated_bytes, mutated_json, mutated_text

PNG_SIGNATURE = 8


def mutated_png(content, random):
    """A PNG with whole checksums: chunks changed, removed, doubled or swapped."""
    if random.randrange(3) == 0:
        return mutated_bytes(content, random)
    chunks, place = [], PNG_SIGNATURE
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append([content[place + 4 : place + 8], content[place + 8 : place + 8 + length]])
        place += length + 12
    index, change = random.randrange(len(chunks)), random.randrange(8)
    if change <= 3 and chunks[index][1]:
        chunks[index][1] = mutated_bytes(chunks[index][1], random)
    elif change == 4:
        side = random.choice(WHOLE) % 2**32
        rest = chunks[0][1][8:]
        chunks[0][1] = struct.pack(">II", *random.choice(((side, 1), (1, side), (side, side)))) + rest
    elif change == 5:
        del chunks[index]
    elif change == 6:
        chunks[index:index] = [chunks[index]] * random.choice((1, 100))
    else:
        chunks.insert(
            index, [random.choice((b"tEXt", b"zTXt", b"eXIf", b"iCCP", b"acTL", b"fdAT")), b"a\0\0" + bytes(40)]
        )
    parts = [content[:PNG_SIGNATURE]]
    for kind, data in chunks:
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    return b"".join(parts)


def mutated_archive(content, random):
    """A zip archive: its bytes, or its members' with whole checksums, packed again."""
    if random.randrange(3) == 0:
        return mutated_bytes(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    index = random.choice((0, random.randrange(len(members))))
    name, data = members[index]
    change = random.randrange(10)
    if change <= 4:
        members[index] = name, _mutated_member(name, data, random)
    elif change == 5:
        del members[index]
    elif change == 6:
        members.append((name, data))
    elif change == 7:
        members[index] = random.choice(("../../x.npy", "/x.npy", "x", "", "settings.json", "A" * 300, "\0")), data
    elif change == 8:
        other = random.randrange(len(members))
        members[index], members[other] = (name, members[other][1]), (members[other][0], data)
    packed = io.BytesIO()
    compression = zipfile.ZIP_DEFLATED if change == 9 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return packed.getvalue()


def _mutated_member(name, data, random):
    """One array: its settings' JSON, its header's text, or its bytes."""
    if name == "settings.json.npy":
        array = np.load(io.BytesIO(data))
        text = mutated_json(array.tobytes(), random)
        return npy(np.frombuffer(text, np.uint8))
    if random.randrange(3) == 0 or not data.startswith(b"\x93NUMPY"):
        return mutated_bytes(data, random)
    (length,) = struct.unpack("<H", data[8:10])
    header = mutated_text(data[10 : 10 + length], random)[:65000]
    return data[:8] + struct.pack("<H", len(header)) + header + data[10 + length :]


def npy(array):
    """An array as the bytes of an ``.npy`` file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def mutated_weights(content, random):
    """A ``.weights`` file: most of all its header and its length."""
    change = random.randrange(4)
    if change == 0:
        return struct.pack("<iii", *(random.choice(WHOLE) % 2**31 for _ in range(3))) + content[12:]
    if change == 1:
        return content[: random.randrange(len(content))]
    if change == 2:
        return content + bytes(random.choice((1, 4, 8, 400)))
    return mutated_bytes(content, random)


def settings_text(settings):
    """Settings of a checkpoint as its archive holds them."""
    return npy(np.frombuffer(json.dumps(settings).encode(), np.uint8))
