"""What bcc compiles: a program's own source behind what bpf/include/bcc.h is told about it.

Pure text: maps as they are to be, the kernel's types with their fields where this kernel has them.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from exporter.ebpf.bcc_types import Types, renames

_UNUSED = "km_unused_"


class MapPlan(NamedTuple):
    """`kind` as the kernel calls it. `shared`: not per CPU, although the source says so."""

    kind: str
    max_entries: int
    shared: bool


def whole_source(name: str, source: str, maps: Mapping[str, MapPlan], types: Types) -> str:
    """Types that the source itself declares make way for those of `types`."""
    defines = "".join(
        f'#define KM_KIND_{each} "{plan.kind}"\n'
        f"#define KM_ENTRIES_{each} {plan.max_entries}\n"
        f"#define KM_SHARED_{each} {int(plan.shared)}\n"
        f"#define KM_INDEX_{each} {index}\n"
        for index, (each, plan) in enumerate(maps.items())
    )
    names = "|".join(types.renamed)
    declared = re.compile(rf"\b(struct|union)\s+({names})\s*\{{")
    return "".join(
        (
            defines,
            '#include "bcc.h"\n',
            *renames(types.renamed, _UNUSED),
            '#include "kernel.h"\n',
            *(f"#undef {each}\n" for each in types.renamed),
            *renames(types.renamed, "km_"),
            types.text,
            f'#line 1 "{name}.bpf.c"\n',
            declared.sub(rf"\1 {_UNUSED}\2 {{", source) if types.renamed else source,
        )
    )
