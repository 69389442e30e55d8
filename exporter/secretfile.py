"""A file that holds one token or one password, on a line of its own. Knows not what it is for."""

from pathlib import Path

LONGEST = 64 << 10


def read_secret(path: Path, what: str = "token") -> str:
    """What it holds, less the white space around it; never "". Raises ValueError, whose text says
    neither the path nor anything of the secret."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from error
    secret = data.strip()
    if not secret:
        raise ValueError(f"is empty, want a {what} in it")
    if len(data) > LONGEST or not secret.isascii() or not secret.decode().isprintable():
        raise ValueError(f"holds no {what}: one line of printable ASCII")
    return secret.decode()
