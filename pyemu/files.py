"""Writing files whole: to a temporary name beside the target, then renamed."""

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def check_target(path: Path) -> Path:
    """Refuse, before any work, a path that no file can be written to; ValueError says why."""
    parent = path.absolute().parent
    if path.is_dir():
        raise ValueError(f"{path} is a directory; a file name is needed")
    if not parent.is_dir():
        raise ValueError(f"{path}: there is no directory {parent}")
    if not os.access(parent, os.W_OK):
        raise ValueError(f"{path}: no permission to write in {parent}")
    return path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which becomes `path` if the block ends well."""
    check_target(path)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.absolute().parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON, whole or not at all; null for a number that is not finite."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(finite(content), indent=2, allow_nan=False) + "\n")


def finite(content: Any) -> Any:
    """Put None where a number is not finite, which JSON does not know."""
    if isinstance(content, Mapping):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
