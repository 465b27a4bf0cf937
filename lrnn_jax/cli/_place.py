"""Where results go: each place is filled at once, and what others put there is not touched."""

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

LISTING = ".files.json"
"""In a folder of results: its files with their checksums, by which they are known again."""
SIGNATURE = "<!-- lrnn_jax "
"""At the end of a page, before the checksum of what comes before it."""


def check_place(place: Path) -> None:
    """Raise ValueError unless a folder can be made, or is empty, or as this program left it."""
    place = place.resolve()
    parent = next(parent for parent in (*place.parents, place) if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"Cannot write into {place}: choose a folder with --out.")
    if place == Path.cwd():
        raise ValueError(
            f"`--out` is the folder that this command runs in, {place}: choose one inside it."
        )
    if place.exists() and not place.is_dir():
        raise ValueError(f"`--out` is a folder, but {place} is a file: choose a folder.")
    written: Any = {}
    with contextlib.suppress(OSError, ValueError):
        written = json.loads((place / LISTING).read_text(encoding="utf-8"))
    known = written.items() if isinstance(written, dict) else ()
    if foreign := [
        name for name, content in _listing(place).items() if (name, content) not in known
    ]:
        shown = ", ".join(foreign[:3]) + ", …" * (len(foreign) > 3)
        raise ValueError(
            f"{place} holds what this program did not write, or not as it is now ({shown}): choose "
            f"another folder with --out, or move it away."
        )


def fill_place(place: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a new folder, then put that into its place at once.

    Whoever looks, and whenever this is killed, finds the old folder or the new one, whole. (Where a
    system cannot exchange folders, none for a moment: the old one is then beside, hidden.)

    Errors: ValueError as for `check_place`, and when the place cannot be written.
    """
    check_place(place)
    target = place.resolve()
    new = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        new.mkdir(parents=True)
        fill(new)
        (new / LISTING).write_text(json.dumps(_listing(new)), encoding="utf-8")
        check_place(place)
        if not target.exists():
            os.rename(new, target)
        elif not _exchange(new, target):
            old = new.with_suffix(".old")
            os.rename(target, old)
            os.rename(new, target)
            os.rename(old, new)
    except Exception as error:
        cause: Any = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__context__  # of what a half-written figure makes its writer say
        if cause is None:
            raise
        raise ValueError(
            f"Cannot write into {place} ({cause.strerror or cause}): choose a folder with --out, "
            f"or make room there."
        ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)  # what is not in place: half of the new, or the old


def new_folder(place: Path) -> Path:
    """A folder of this name, with a number if there is one."""
    for number in itertools.count(1):
        path = place if number == 1 else place.with_name(f"{place.name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError


def write_page(path: Path, text: str) -> None:
    """Write a page at once, over nothing but a page that this function wrote.

    Errors: ValueError when something else is there, and when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if path.exists():
            there = path.read_text(encoding="utf-8", errors="replace")
            if there != _signed(there.rpartition(SIGNATURE)[0]):
                raise ValueError(
                    f"{path} is no page of this program, or was changed since: choose another file "
                    f"with --out, or move it away."
                )
        temporary.write_text(_signed(text), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(
            f"Cannot write {path} ({error.strerror or error}): choose a file with --out."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _signed(text: str) -> str:
    return f"{text}{SIGNATURE}{zlib.crc32(text.encode()):08x} -->\n"


def _listing(folder: Path) -> dict[str, str]:
    """What is in a folder: files with checksums of their contents, and folders."""
    paths = (path for path in sorted(folder.rglob("*")) if path != folder / LISTING)
    return {str(path.relative_to(folder)): _content(path) for path in paths}


def _content(path: Path) -> str:
    try:
        return "folder" if path.is_dir() else f"{zlib.crc32(path.read_bytes()):08x}"
    except OSError:
        return "unreadable"


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once, where the system can (Linux); whether they did."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2
    return rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0
