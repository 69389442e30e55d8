"""Kinds of functions that this machine refuses whatever they are for: found out by trying one.

A kernel that is locked down takes no fentry function, one without kprobes none of these: after the
first, the others of all programs need not be tried. Knows no programs; kernel.py tells it.
"""

from exporter.ebpf import features
from exporter.hostfs import HostFs


class Refusals:
    """What has been found out so far, for the programs that are loaded together. Made anew when
    programs are chosen anew, so that what the machine's owner has changed is seen."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def learn(self, section: str, number: int, host: HostFs) -> None:
        """A function of this ELF section was refused with this errno, and the verifier had nothing
        to say against it."""
        reason = features.refusal_of_kind(section, number, host)
        if reason is not None:
            self._reasons.setdefault(features.kind_of(section), reason)

    def reason(self, section: str) -> str | None:
        """Why a function of this section need not be tried; None where it has to be."""
        return self._reasons.get(features.kind_of(section))
