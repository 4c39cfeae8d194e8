"""A catalog name -> its text in the cache folder: downloaded or copied, verified, unpacked.

What is there is complete: everything happens in a folder beside it and is renamed when it is done.
A broken download stays as ``.part`` and is taken up again where it ended.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lmbench.corpus import catalog, places, reading
from lmbench.corpus.catalog import Download, Entry
from lmbench.errors import CorpusError, UsageError, unknown_name

Progress = Callable[[int, "int | None", str], None]
"""Called with the bytes so far, the bytes in all (None where the server does not tell), and the file's name."""
CHUNK = 1 << 18
ATTEMPTS = 4
WAIT_SECONDS = 1.0
TIMEOUT_SECONDS = 30.0
RECORD = "source.json"
"""File beside the text: where it came from, and the checksums it had."""


def get(name: str, source: Path | None = None, progress: Progress | None = None, *, again: bool = False) -> Path:
    """The folder that holds the corpus ``name`` in the cache; obtained now where it is not there.

    ``source``: a local file, archive or folder to take instead of downloading. ``again``: obtain it anew, and hold
    it against the recorded checksums. Raises UsageError for an unknown name, CorpusError where it cannot be
    obtained or is not what it should be.
    """
    entry = catalog.find(name)
    if entry is None:
        raise unknown_name("corpus", name, catalog.CATALOG)
    if entry.made:
        raise UsageError(f"The corpus {entry.name} is made on this machine when it is first used: nothing to get.")
    target = places.corpora_folder() / entry.name
    if target.is_dir() and not again and source is None:
        return target
    if source is None and not entry.downloads:
        raise CorpusError(
            f"There is no public address for {entry.name} ({entry.title}). {entry.obtain} "
            f"Then run: lmbench corpus get {entry.name} --from PATH"
        )
    try:
        with _staging(target) as folder:
            record = _take(entry, source, folder) if source is not None else _fetch_all(entry, folder, progress)
            reading.text_files(folder)  # raises where there is none
            _check_record(entry, target, record)
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CorpusError(
            f"{entry.name} cannot be written to {target}: {error.strerror or error}. Free space or rights are "
            "needed there, or set LMBENCH_CACHE to another folder."
        ) from None
    return target


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of ``target`` at the end, and vanishes where that is not reached."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
        folder.chmod(0o755)
        if target.exists():
            old = folder.with_name(folder.name + "-old")
            target.rename(old)
            folder.rename(target)
            shutil.rmtree(old)
        else:
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fetch_all(entry: Entry, folder: Path, progress: Progress | None) -> dict[str, str]:
    record = {}
    for item in entry.downloads:
        archive = places.cache_folder() / "downloads" / entry.name / item.filename
        fetch(item, archive, progress)
        record[item.url] = _sha256(archive)
        unpack(archive, folder)
        archive.unlink()
    return record


def fetch(item: Download, target: Path, progress: Progress | None = None) -> Path:
    """Download ``item`` to ``target``, going on from ``target.part`` where an earlier attempt broke off.

    Tries four times, waiting twice as long each time. Raises CorpusError where the server cannot be reached, does
    not have the file, or sends a file with another SHA-256.
    """
    if target.is_file() and item.sha256 in (None, _sha256(target)):
        return target
    part = target.with_name(target.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            _receive(item.url, part, progress)
            break
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 or attempt == ATTEMPTS - 1:
                raise _unreachable(item, f"the server answers {error.code} {error.reason}", part) from None
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            if attempt == ATTEMPTS - 1:
                raise _unreachable(item, str(getattr(error, "reason", error)), part) from None
        time.sleep(WAIT_SECONDS * 2**attempt)
    found = _sha256(part)
    if item.sha256 is not None and found != item.sha256:
        part.unlink()
        raise CorpusError(
            f"{item.url} is not the file it should be: its SHA-256 is {found}, and {item.sha256} was published. It was "
            "deleted. Try again; if it differs again, the file at that address has been changed."
        )
    part.rename(target)
    return target


def _unreachable(item: Download, reason: str, part: Path) -> CorpusError:
    kept = f" {part.stat().st_size:,} bytes are kept and will be gone on from." if part.exists() else ""
    return CorpusError(
        f"{item.url} cannot be downloaded: {reason}.{kept} Check the network and try again, or fetch the file "
        "elsewhere and give it with --from PATH."
    )


def _receive(url: str, part: Path, progress: Progress | None) -> None:
    """Append what is missing of ``url`` to ``part``. Raises what urllib raises, IncompleteRead for a short answer."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "lmbench", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # "range not satisfiable": nothing is missing, or the file has shrunk
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            error.close()
            return
        part.unlink()
        raise http.client.IncompleteRead(b"") from None
    with answer:
        resumed = answer.status == 206
        have = have if resumed else 0  # a server without Range sends everything again
        length = answer.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total, part.name.removesuffix(".part"))
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar file into ``folder``, or copy any other file there (gz is read as it is).

    Raises CorpusError where it is damaged, or holds a name that would land outside ``folder``.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for name in packed.namelist():
                    _refuse_outside(archive, name, folder)
                packed.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as packed_tar:
                for member in packed_tar:
                    _refuse_outside(archive, member.name, folder)
                    _take_member(packed_tar, member, folder / member.name)
        elif archive.suffix == ".zip":
            raise zipfile.BadZipFile("it is no zip file")
        else:
            shutil.copy(archive, folder / archive.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, RuntimeError) as error:
        raise CorpusError(f"{archive} is damaged and cannot be unpacked: {error}. Get it again.") from None


def _take_member(packed: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Write a plain file of ``packed``; links and devices, which no corpus needs, are passed over."""
    content = packed.extractfile(member) if member.isfile() else None
    if content is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)


def _refuse_outside(archive: Path, name: str, folder: Path) -> None:
    if not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise CorpusError(
            f"{archive} is refused: it holds '{name}', which would land outside {folder}. Unpack it yourself and give "
            "the folder."
        )


def _take(entry: Entry, source: Path, folder: Path) -> dict[str, str]:
    """Copy or unpack a local ``source`` into ``folder``, and verify what is known of it."""
    source = source.expanduser()
    if not source.exists():
        raise reading.missing(source)
    record = {}
    if source.is_dir():
        for path in reading.text_files(source):
            place = folder / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    else:
        if source.suffix == ".zip" or tarfile.is_tarfile(source):
            record[str(source)] = _sha256(source)
        unpack(source, folder)
    for path in (path for path in sorted(folder.rglob("*")) if path.is_file()):
        found, expected = _sha256(path), entry.files.get(path.name)
        record[str(path.relative_to(folder))] = found
        if expected is not None and found != expected:
            raise CorpusError(
                f"{path.name} from {source} is not the {path.name} of {entry.name}: its SHA-256 is {found}, and "
                f"{expected} was published. To use it all the same, give its path where you would give the name."
            )
    return record


def _check_record(entry: Entry, target: Path, record: Mapping[str, str]) -> None:
    """Trust on first use: a download without a published checksum must be what it was the first time."""
    try:
        before = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return
    for key, found in record.items():
        if before.get(key, found) != found:
            raise CorpusError(
                f"{key} has changed since {entry.name} was first obtained: its SHA-256 was {before[key]} and is now "
                f"{found}. The text you have is kept. To accept the new one, delete {target} and get it again."
            )
