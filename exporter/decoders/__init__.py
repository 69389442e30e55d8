"""From key bytes to label text: the table of decoders, and chains of them.

A decoder is either first (bytes to text) or rewrites the text of the one before it, some are
both. To add one: its module, one line in DECODERS, its test. Knows no maps and no metrics.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from exporter.decoders import comm, dname, enum_names, errno, hex, inet_ip, regexp, string, uint
from exporter.decoders.cgroup import Cgroup
from exporter.decoders.context import DecodeContext
from exporter.decoders.enum_names import EnumName
from exporter.decoders.ifname import InterfaceName
from exporter.decoders.kstack import Kstack
from exporter.decoders.ksym import Ksym
from exporter.decoders.majorminor import DiskName
from exporter.decoders.pci import PciClass, PciDevice, PciSubclass, PciVendor
from exporter.decoders.pod import Pod
from exporter.decoders.provisional import Provisional
from exporter.decoders.regexp import Regexp
from exporter.decoders.static_map import StaticMap
from exporter.decoders.syscall import Syscall
from exporter.decoders.usym import SIZES as USYM_SIZES
from exporter.decoders.usym import Usym
from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.errors import DecodeError, SkipRow

__all__ = ["DECODERS", "DecodeContext", "Provisional", "chain", "label_problems", "order_problem"]

Decode = Callable[[bytes], str]
Rewrite = Callable[[str], str]
# What a decoder's text may be: a decimal number; text straight from the kernel, so anything; a
# name, so never a number; the same as went in.
Text = Literal["number", "raw", "name", "same"]


class Decoder(NamedTuple):
    """`decode` makes the first step of a chain, `rewrite` a later one; None: it cannot be that.

    `wants` is what it can rewrite: decimal numbers, the kernel's own bytes as text, or any text.
    `sizes` are the key sizes in bytes that it can be first on; () is any.
    """

    gives: Text
    decode: Callable[[DecoderSpec, DecodeContext], Decode] | None = None
    rewrite: Callable[[DecoderSpec, DecodeContext], Rewrite] | None = None
    wants: Literal["number", "raw", "any"] = "any"
    sizes: Sequence[int] = ()


_INTEGERS = (1, 2, 4, 8)
_ADDRESSES = range(8, 8 * 256, 8)


def _of_number(make: Callable[[DecoderSpec, DecodeContext], Rewrite]) -> Decoder:
    """A decoder of numbers. As the first of a chain it reads the key as `uint` does."""

    def decode(spec: DecoderSpec, context: DecodeContext) -> Decode:
        rewrite = make(spec, context)
        return lambda raw: rewrite(uint.decode(raw))

    return Decoder("name", decode, make, wants="number", sizes=_INTEGERS)


DECODERS: dict[str, Decoder] = {
    "cgroup": _of_number(lambda spec, host: Cgroup(host.cgroups, spec.controller).rewrite),
    "comm": Decoder("name", lambda *_: comm.decode, sizes=(16,)),
    "dname": Decoder("name", lambda *_: dname.decode, lambda *_: dname.rewrite, wants="raw"),
    "enum": _of_number(
        lambda spec, host: EnumName(spec.enum, spec.strip, spec.allow_unknown, host.enums).rewrite
    ),
    "errno": _of_number(lambda *_: errno.rewrite),
    "hex": Decoder("name", lambda *_: hex.decode, lambda *_: hex.rewrite, wants="raw"),
    "ifname": Decoder(
        "name", lambda _, host: InterfaceName(host.fs, host.clock).decode, sizes=(4, 8)
    ),
    "inet_ip": Decoder("name", lambda *_: inet_ip.decode, sizes=(4, 16)),
    "kstack": Decoder("name", lambda _, host: Kstack(host.symbols).decode, sizes=_ADDRESSES),
    "ksym": Decoder("name", lambda _, host: Ksym(host.symbols).decode, sizes=(8,)),
    "majorminor": Decoder(
        "name", lambda _, host: DiskName(host.fs, host.clock).decode, sizes=(4, 8)
    ),
    "pci_class": _of_number(lambda _, host: PciClass(host.pci).rewrite),
    "pci_device": _of_number(lambda _, host: PciDevice(host.pci).rewrite),
    "pci_subclass": _of_number(lambda _, host: PciSubclass(host.pci).rewrite),
    "pci_vendor": _of_number(lambda _, host: PciVendor(host.pci).rewrite),
    "pod": Decoder("name", rewrite=lambda spec, _: Pod(spec.field).rewrite),
    "regexp": Decoder("same", rewrite=lambda spec, _: Regexp(spec.regexps).rewrite),
    "static_map": Decoder(
        "raw", rewrite=lambda spec, _: StaticMap(spec.static_map, spec.allow_unknown).rewrite
    ),
    "string": Decoder("raw", lambda *_: string.decode),
    "syscall": _of_number(lambda *_: Syscall().rewrite),
    "uint": Decoder("number", lambda *_: uint.decode, sizes=_INTEGERS),
    "usym": Decoder("name", lambda _, host: Usym(host.user_symbols).decode, sizes=USYM_SIZES),
}


def chain(label: LabelSpec, context: DecodeContext) -> Decode:
    """One function for all of a label's decoders: the label's `size` key bytes to its text.

    It gives a `Provisional` where the text may read better later. It raises SkipRow where a
    filter leaves the row out, and DecodeError where the bytes make no sense. `chain` itself
    raises DecodeError for a label that `label_problems` finds fault with.
    """
    problems = label_problems(label)
    if problems:
        raise DecodeError(f"label {label.name!r}: " + "; ".join(problems))
    first, *others = label.decoders
    make_first = DECODERS[first.name].decode
    assert make_first is not None  # label_problems said so
    decode = make_first(first, context)
    rewrites = [make(spec, context) for spec in others if (make := DECODERS[spec.name].rewrite)]

    def run(raw: bytes) -> str:
        text = decode(raw)
        provisional = type(text) is Provisional
        for rewrite in rewrites:
            try:
                text = rewrite(text)
            except SkipRow:
                raise SkipRow(provisional) from None
            provisional = provisional or type(text) is Provisional
        if not text.isascii():
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return Provisional(text) if provisional else text

    return run


def label_problems(label: LabelSpec) -> list[str]:
    """Everything that is wrong with a label's decoders, one line each. Pure; [] if nothing is.

    A `size` of 0 is not known yet and so not judged.
    """
    problems = []
    for spec in label.decoders:
        if spec.name not in DECODERS:
            problems.append(f"unknown decoder {spec.name!r}{_meant(spec.name)}")
        elif found := _OPTIONS.get(spec.name, _no_options)(spec):
            problems.append(found)
    if not any(spec.name not in DECODERS for spec in label.decoders):
        found = order_problem([spec.name for spec in label.decoders])
        if found:
            problems.append(found)
        else:
            sizes = DECODERS[label.decoders[0].name].sizes
            if label.size and sizes and label.size not in sizes:
                problems.append(
                    f"{label.decoders[0].name}: got a size of {label.size} bytes, "
                    f"want {_listed(sizes)}"
                )
    return problems


def _no_options(_: DecoderSpec) -> None:
    return None


def _static_map_problem(spec: DecoderSpec) -> str | None:
    return None if spec.static_map else "static_map: got no `static_map`, want a table of raw: text"


# What is wrong with a decoder's own options.
_OPTIONS: dict[str, Callable[[DecoderSpec], str | None]] = {
    "enum": lambda spec: enum_names.problem(spec.enum),
    "regexp": lambda spec: regexp.problem(spec.regexps),
    "static_map": _static_map_problem,
}


def order_problem(names: Sequence[str]) -> str | None:
    """Why known decoders in this order cannot work, in one line; None if they can. Pure."""
    if not names:
        return "got no decoders, want at least one (uint, string, ksym, …)"
    decoder = DECODERS[names[0]]
    if decoder.decode is None:
        return f"{names[0]} cannot be first, it takes text: put `uint` or `string` before it"
    kind, before = decoder.gives, names[0]
    for name in names[1:]:
        decoder = DECODERS[name]
        if decoder.rewrite is None:
            return f"{name} can only be first, as it reads the key's bytes: got it after {before}"
        if decoder.wants == "number" and kind == "name":
            return f"{name} takes a decimal number, which {before} does not give"
        if decoder.wants == "raw" and kind != "raw":
            return f"{name} takes the kernel's bytes, which {before} does not leave as they are"
        kind, before = kind if decoder.gives == "same" else decoder.gives, name
    return None


def _listed(sizes: Sequence[int]) -> str:
    if isinstance(sizes, range):
        return f"a multiple of {sizes.step}"
    return " or ".join(map(str, sizes))


def _meant(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, DECODERS, n=1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(DECODERS)})"
