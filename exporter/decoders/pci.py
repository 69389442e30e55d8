"""pci_vendor, pci_device, pci_class, pci_subclass: PCI numbers (decimal text) as names.

A device is vendor << 16 | device, a subclass is class << 8 | subclass. What pci.ids does not
have is upstream's "unknown pci …" text; without pci.ids it is the number in hexadecimal.
"""

from exporter.decoders.pci_names import PciNames
from exporter.decoders.uint import parse


class PciVendor:
    def __init__(self, names: PciNames) -> None:
        self._names = names

    def rewrite(self, text: str) -> str:
        vendor = f"{parse('pci_vendor', text):04x}"
        name = self._names.vendor(vendor)
        return name or _unknown(self._names, "vendor", f"0x{vendor}")


class PciDevice:
    def __init__(self, names: PciNames) -> None:
        self._names = names

    def rewrite(self, text: str) -> str:
        device = f"{parse('pci_device', text):08x}"
        name = self._names.device(device[:-4], device[-4:])
        return name or _unknown(self._names, "device", f"0x{device}")


class PciClass:
    def __init__(self, names: PciNames) -> None:
        self._names = names

    def rewrite(self, text: str) -> str:
        class_id = f"{parse('pci_class', text):02x}"
        name = self._names.device_class(class_id)
        return name or _unknown(self._names, "class", f"0x{class_id}")


class PciSubclass:
    def __init__(self, names: PciNames) -> None:
        self._names = names

    def rewrite(self, text: str) -> str:
        both = f"{parse('pci_subclass', text):04x}"
        class_id, subclass = both[:-2], both[-2:]
        name = self._names.subclass(class_id, subclass)
        if name:
            return name
        if self._names.present() and not self._names.device_class(class_id):
            return f"unknown pci class: 0x{class_id}"
        if self._names.present():
            return f"unknown pci subclass: 0x{subclass} (class 0x{class_id})"
        return f"0x{both}"


def _unknown(names: PciNames, what: str, shown: str) -> str:
    return f"unknown pci {what}: {shown}" if names.present() else shown
