"""Inputs spoiled a little: as bytes, as text, as a tree of YAML or JSON, as words of a binary.

The rule: all chance comes from the Random that is given, so hypothesis can make it smaller and
atheris can repeat it. Knows no parser.
"""

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import yaml

Mutate = Callable[[bytes, Random], bytes]

PIECES: tuple[bytes, ...] = (
    *(b"\0", b"\n", b"\r\n", b" ", b"\t", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80"),
    *(b"-1", b"0", b"1", b"00", b"1e999", b"-1e999", b"nan", b"inf", b"1_0", b"0x7f", b"\xd9\xa3"),
    *(b"18446744073709551616", b"9" * 40, b"9" * 5000, b"1e400", b"4294967296", b"-0", b"\xc2\xb2"),
    *(b":", b"=", b"/", b"//", b"[", b"]", b"{", b"}", b'"', b"'", b",", b"\\", b"#", b"%", b"%00"),
    *(
        b"http://[",
        b"..",
        b"../../x",
        b"max",
        b"\xe2\x80\xa8",
        b"\x85",
        b"\x1b[2J",
        b"(",
        b"a" * 70,
    ),
)
NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 65536, 2**31, 2**63, 2**64, 10**40, 0.5, -0.0, 1e308),
    *(
        float("nan"),
        float("inf"),
        float("-inf"),
        "",
        " ",
        "0",
        "-1",
        "1s",
        "1h",
        "9" * 30,
        "~",
        "<<",
    ),
    *(
        "\0",
        "\n",
        "\r",
        "\x1b[31m",
        "\u2028",
        "é",
        "\u0661",
        "a" * 300,
        "http://[",
        "https://a:b@c",
    ),
    *(
        "http://h:99999/",
        "127.0.0.1",
        "::1",
        "fe80::1%eth0",
        "[::1]:80",
        "h:0",
        ":80",
        "(",
        "(a+)+$",
    ),
    *("*", "/", "../..", "/dev/null", "name", "2026-11-22T05:38:00Z", "NaN", "+Inf", "=", "\ud7ff"),
)


def spoil_bytes(data: bytes, chance: Random) -> bytes:
    """One to four places changed; sometimes cut off, or one part twice."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randint(0, len(data))
        match chance.randrange(6):
            case 0:
                data = data[:at] + chance.choice(PIECES) + data[at + chance.randint(0, 8) :]
            case 1:
                data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
            case 2:
                data = data[:at] + data[at + chance.randint(1, 16) :]
            case 3:
                end = at + chance.randint(1, 64)
                data = data[:end] + data[at:end] * chance.choice((1, 1, 9)) + data[end:]
            case 4:
                data = data[:at] if chance.randrange(4) == 0 else data[:at] + b"\0" + data[at + 1 :]
            case _:
                number = chance.choice(NUMBERS)
                word = struct.pack("<Q", number)[: chance.choice((1, 2, 4, 8))]
                data = data[:at] + word + data[at + len(word) :]
    return data


def spoil_text(data: bytes, chance: Random) -> bytes:
    """Words and lines: one left out, twice, another's, or one of those that parsers trip over."""
    if chance.randrange(5) == 0:
        return spoil_bytes(data, chance)
    lines = data.split(b"\n")
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(lines)) if lines else 0
        line = lines[at] if lines else b""
        match chance.randrange(5):
            case 0:
                del lines[at : at + 1]
            case 1:
                lines.insert(at, line)
            case 2:
                lines[at : at + 1] = [chance.choice(lines), line] if lines else [b""]
            case _:
                words = line.split(b" ")
                word = chance.randrange(len(words))
                match chance.randrange(4):
                    case 0:
                        del words[word]
                    case 1:
                        words[word] = chance.choice(words)
                    case 2:
                        words[word] = chance.choice(PIECES)
                    case _:
                        words[word] += chance.choice(PIECES)
                lines[at : at + 1] = [b" ".join(words)]
    return b"\n".join(lines)


def spoil_tree(tree: Any, chance: Random) -> Any:
    """A tree of lists, maps and scalars with one place changed; the tree itself is not kept."""
    places = list(_places(tree, ()))
    path = chance.choice(places)
    if not path:
        return _another(tree, tree, chance)
    holder = tree
    for key in path[:-1]:
        holder = holder[key]
    key, value = path[-1], holder[path[-1]]
    match chance.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, value)
        case 2 if isinstance(holder, dict) and isinstance(key, str):
            del holder[key]
            name = chance.choice((key + "s", key.upper(), "", "é\n", key[:-1], *_names(tree)))
            holder[name] = value
        case 3 if isinstance(holder, dict):
            name = chance.choice(_names(tree))
            holder[name] = value
        case 4:
            holder[key] = _at(tree, chance.choice(places))
        case _:
            holder[key] = _another(value, tree, chance)
    return tree


def _places(node: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    left = [(node, path)]
    while left and len(found) < 2000:
        node, path = left.pop()
        found.append(path)
        if isinstance(node, dict):
            left += [(value, (*path, key)) for key, value in node.items()]
        elif isinstance(node, list):
            left += [(value, (*path, key)) for key, value in enumerate(node)]
    return found


def _names(tree: Any) -> Sequence[str]:
    names = [path[-1] for path in _places(tree, ()) if path and isinstance(path[-1], str)]
    return names or ["name"]


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return json.loads(json.dumps(tree, default=str))  # a copy: no tree is in itself


def _another(value: Any, tree: Any, chance: Random) -> Any:
    match chance.randrange(6):
        case 0:
            return [value]
        case 1:
            return {chance.choice(_names(tree)): value}
        case 2 if isinstance(value, str):
            text = spoil_bytes(value.encode("utf-8", "surrogatepass"), chance)
            return text.decode("utf-8", "replace")
        case 3 if isinstance(value, list):
            return value * chance.choice((0, 2, 50))
        case _:
            return chance.choice(SCALARS)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def spoil_yaml(data: bytes, chance: Random) -> bytes:
    """By its tree where it has one; else, and now and then, as text."""
    if chance.randrange(4) == 0 or len(data) > 1 << 15:
        return spoil_text(data, chance)
    if data.count(b"[") + data.count(b"{") > 500:  # the composer of libyaml recurses
        return spoil_bytes(data, chance)
    try:
        tree = yaml.load(data, Loader=_LOADER)
        return bytes(yaml.dump(spoil_tree(tree, chance), Dumper=_DUMPER, encoding="utf-8"))
    except (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return spoil_text(data, chance)


def spoil_json(data: bytes, chance: Random) -> bytes:
    """By its tree where it has one; else, and now and then, as bytes or very deep."""
    match chance.randrange(12):
        case 0:
            return spoil_bytes(data, chance)
        case 1 if chance.randrange(4) == 0:
            at = chance.randint(0, len(data))
            return data[:at] + chance.choice((b"[", b'{"a":')) * 3000 + data[at:]
    try:
        tree = spoil_tree(json.loads(data), chance)
        ascii_only = chance.random() < 0.5
        return json.dumps(tree, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return spoil_bytes(data, chance)


def spoil_words(data: bytes, chance: Random) -> bytes:
    """A binary: mostly of the same length, for else nothing is where its headers say."""
    if chance.randrange(8) == 0 or len(data) < 16:
        return spoil_bytes(data, chance)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(changed))
        if chance.random() < 0.4:
            changed[at] ^= 1 << chance.randrange(8)
            continue
        width = chance.choice((1, 2, 4, 4, 8))
        at = min(at - at % width, len(changed) - width)
        old = int.from_bytes(changed[at : at + width], "little")
        new = chance.choice((*NUMBERS, old + 1, old - 1, old * 2, chance.randrange(256)))
        changed[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)
