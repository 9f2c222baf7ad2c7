"""Damage to valid files: most of what a generator makes from nothing never gets past a parser's first check.

Every function takes a ``random.Random``: one made from a seed, or Hypothesis', which can shrink what it finds.
"""

import json
import re
import struct

HUGE = ("2147483648", "4294967295", "9223372036854775808", "9" * 30, "9" * 400, "9" * 5000)
NUMBERS = (
    *("nan", "NaN", "inf", "-inf", "Infinity", "-1", "0", "-0.0", "1", "0.5", "1e308", "-1e308", "1e-320", "1e999"),
    *(
        *HUGE,
        "-" + "9" * 30,
        "0x" + "f" * 5000,
        "1" + ":59" * 3000,
        "1_000",
        "１２",
        "٣",
        "²",
        "1.5.5",
        "--1",
        "+",
        "1e",
    ),
)
WORDS = (
    *("", " ", "\t", "\0", "\r", "\n", "\v", "\x1b[31m", "\x7f", "\ufeff", "\u2028", "\u202e", "\u0300", "\ud800"),
    *("é", "e\u0301", "ß", "猫", "😀", "A" * 3000, "../" * 30 + "etc/passwd", "/", "/dev/null", "/etc/passwd", "C:\\x"),
    *("true", "null", "~", "{}", "[]", "[[]]", "{a: b}", "[nan]", "%s%n", "{0.__class__}", "$\\frac$", "#", "=", ";"),
    *("&a [*a]", "*a", "<<: *a", "!!python/object/apply:os.mkdir [sprung]", "!!binary x", "!!set {a}", "2024-13-45"),
    *("<!DOCTYPE a>", "&lol;", "&#0;", "<a>", "</a>", "<![CDATA[", "<?xml version='1.0' encoding='utf-7'?>", "<a/>"),
    *("[" * 3000, "{" * 300, '{"a":' * 1500, "<a>" * 3000, "- " * 300, "[" * 900 + "]" * 900, "[" * 98 + "]" * 98),
)
NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
WORD = re.compile(rb"[^\s<>=,:\[\]{}\"']+")
WHOLE = (
    0,
    1,
    2,
    3,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    2**16,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)


def as_bytes(text):
    """The text in UTF-8, also halves of characters, which no strict reader takes."""
    return text.encode("utf-8", "surrogatepass")


def mutated_bytes(content, random):
    """A few changes to bytes that know nothing of the format."""
    content = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 2, 4, 8))):
        place, length = random.randrange(len(content) + 1), random.choice((1, 2, 4, 16, 100, 1000))
        change = random.randrange(9)
        if change <= 1 and place < len(content):
            content[place] ^= 1 << random.randrange(8)
        elif change == 2 and place < len(content):
            content[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x0A))
        elif change == 3:
            del content[place : place + length]
        elif change == 4:
            content[place:place] = content[place : place + length] * random.choice((1, 2, 50))
        elif change == 5:
            content[place:place] = bytes(random.randrange(256) for _ in range(random.randrange(1, 9)))
        elif change == 6 and random.randrange(4) == 0:
            del content[place:]
        elif change == 7:
            number, form = random.choice(WHOLE), random.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
            field = struct.pack(form, number % 256 ** struct.calcsize(form))
            content[place : place + len(field)] = field
        else:
            other = random.randrange(len(content) + 1)
            content[place : place + length], content[other : other + length] = (
                content[other : other + length],
                content[place : place + length],
            )
    return bytes(content)


def mutated_text(content, random):
    """Changes to numbers, words and lines; sometimes to bytes."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        change = random.randrange(9)
        if change <= 2:
            content = _replaced(NUMBER, content, random.choice(NUMBERS), random)
        elif change <= 4:
            content = _replaced(WORD, content, random.choice(random.choice((NUMBERS, WORDS, WORDS))), random)
        elif change == 5:
            words = WORD.findall(content) or [b"x"]
            content = _replaced(WORD, content, random.choice(words).decode("utf-8", "replace"), random)
        elif change <= 7:
            content = _lines_changed(content, random)
        else:
            content = mutated_bytes(content, random)
    return content


def _replaced(pattern, content, text, random):
    matches = list(pattern.finditer(content))
    if not matches:
        return content + as_bytes(text)
    start, end = random.choice(matches).span()
    keep = random.randrange(4)  # mostly in its place, else before or behind it
    start, end = (start, end) if keep > 1 else (start, start) if keep else (end, end)
    return content[:start] + as_bytes(text) + content[end:]


def _lines_changed(content, random):
    lines = content.split(b"\n")
    place, other, change = random.randrange(len(lines)), random.randrange(len(lines)), random.randrange(6)
    if change == 0:
        del lines[place]
    elif change == 1:
        lines[place:place] = [lines[place]] * random.choice((1, 1, 3, 300))
    elif change == 2:
        lines[place], lines[other] = lines[other], lines[place]
    elif change == 3:
        lines[place] = lines[place] + lines[other]
    elif change == 4:
        lines.insert(place, as_bytes(random.choice(WORDS)))
    else:
        lines = lines[:place]
    return b"\n".join(lines)


# What JSON can say instead of a value.  Python's json reads NaN and Infinity, too.
VALUES = (
    *("null", "true", "false", "0", "1", "-1", "0.5", "1e308", "-1e999", "NaN", "Infinity", '""', '"0"', '"\\ud800"'),
    *('"\\u0000"', '"a\\nb"', '"\\u001b[31m"', "[]", "{}", "[[]]", '[{"a": []}]', "[1, 2, 3]", "[0, 0, 1e308, 1e308]"),
    *('"' + "A" * 3000 + '"', '"../../../../etc/passwd"', '"/dev/zero"', "[" * 900 + "]" * 900, "[" * 98 + "]" * 98),
    *(HUGE[3], "-" + HUGE[3], HUGE[4], HUGE[5], "9223372036854775808", "32000000000", '{"a":' * 400 + "1" + "}" * 400),
    "[" + "0," * 2000 + "0]",
)
MARK = "@value@"


def mutated_json(content, random):
    """The JSON text with one or two values replaced, removed or doubled; sometimes as text."""
    if random.randrange(4) == 0:
        return mutated_text(content, random)
    value = json.loads(content)
    texts = []
    for _ in range(random.choice((1, 1, 2))):
        holder, key = random.choice(list(_places(value)) or [(None, None)])
        change = random.randrange(8)
        if holder is None:
            continue
        if change <= 4:
            holder[key] = f"{MARK}{len(texts)}"
            texts.append(random.choice(VALUES))
        elif change == 5:
            del holder[key]
        elif change == 6 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            other_holder, other = random.choice(list(_places(value)))
            holder[key] = json.loads(json.dumps(other_holder[other]))
    text = json.dumps(value)
    for number, new in enumerate(texts):
        text = text.replace(f'"{MARK}{number}"', new)
    return text.encode()


def _places(value):
    """``(list or dict, index or key)`` of every value below this one."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
