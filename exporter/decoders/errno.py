"""errno: a positive error number as its name; `unknown:<n>` for one that has none.

Also names the numbers that only kernel programs see (include/linux/errno.h).
"""

import errno

from exporter.decoders.uint import parse

_KERNEL_ONLY = {
    512: "ERESTARTSYS",
    513: "ERESTARTNOINTR",
    514: "ERESTARTNOHAND",
    515: "ENOIOCTLCMD",
    516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER",
    518: "EOPENSTALE",
    519: "ENOPARAM",
    521: "EBADHANDLE",
    522: "ENOTSYNC",
    523: "EBADCOOKIE",
    524: "ENOTSUPP",
    525: "ETOOSMALL",
    526: "ESERVERFAULT",
    527: "EBADTYPE",
    528: "EJUKEBOX",
    529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT",
    531: "ENOGRACE",
}
# Python keeps whichever alias its module lists last; these are the names that upstream gives.
_PREFERRED = {errno.EAGAIN: "EAGAIN", errno.EDEADLK: "EDEADLK", errno.ENOTSUP: "ENOTSUP"}
_NAMES = {**errno.errorcode, 133: "EHWPOISON", **_KERNEL_ONLY, **_PREFERRED}


def rewrite(text: str) -> str:
    number = parse("errno", text)
    return _NAMES.get(number) or f"unknown:{number}"
