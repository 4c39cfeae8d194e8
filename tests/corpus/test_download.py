"""A catalog name -> the cache: over a server of our own, with every way in which that can go wrong."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lmbench.corpus import catalog, download, places
from lmbench.corpus.catalog import Download, Entry
from lmbench.corpus.download import fetch, get, unpack
from lmbench.corpus.loading import load_corpus
from lmbench.errors import CorpusError, UsageError
from tests.corpus.conftest import numbered

BODY = bytes(range(256)) * 4000


class Server:
    """Serves ``files``; ``ranges``: understands Range; ``breaks``: answers that end early; ``fails``: answers 503."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/big.bin": BODY}
        self.ranges, self.breaks, self.fails = True, 0, 0
        self.asked: list[str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/{name}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        body = self.files.get(request.path)
        if body is None or self.fails:
            self.fails = max(0, self.fails - 1)
            request.send_error(404 if body is None else 503)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(body)}")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        part = body[start:]
        if self.breaks:
            self.breaks -= 1
            part = part[: len(part) // 2]
        request.wfile.write(part)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(download, "ATTEMPTS", 2)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_progress_is_told_in_bytes(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None, str]] = []
    path = fetch(Download(server.url("big.bin"), sha(BODY)), tmp_path / "big.bin", lambda *step: told.append(step))
    assert path.read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY), "big.bin")
    assert [step[0] for step in told] == sorted(step[0] for step in told)
    assert not (tmp_path / "big.bin.part").exists()


def test_a_broken_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin.part").write_bytes(BODY[:1000])
    server.breaks = 1  # the first answer ends in the middle too
    fetch(Download(server.url("big.bin"), sha(BODY)), tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY
    half = 1000 + (len(BODY) - 1000) // 2
    assert server.asked == ["bytes=1000-", f"bytes={half}-"]


def test_a_complete_part_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin.part").write_bytes(BODY)
    fetch(Download(server.url("big.bin"), sha(BODY)), tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "big.bin.part").write_bytes(b"stale")
    fetch(Download(server.url("big.bin"), sha(BODY)), tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin.part").write_bytes(BODY + b"more")
    fetch(Download(server.url("big.bin"), sha(BODY)), tmp_path / "big.bin")
    assert (tmp_path / "big.bin").read_bytes() == BODY


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.fails = 1
    assert fetch(Download(server.url("big.bin")), tmp_path / "big.bin").read_bytes() == BODY


def test_what_was_received_is_kept_when_the_attempts_are_used_up(server: Server, tmp_path: Path) -> None:
    server.breaks = 9
    with pytest.raises(CorpusError, match=r"cannot be downloaded: .* bytes are kept and will be gone on from"):
        fetch(Download(server.url("big.bin")), tmp_path / "big.bin")
    # two attempts: a half, then half of the other half
    assert (tmp_path / "big.bin.part").stat().st_size == len(BODY) * 3 // 4


def test_a_wrong_checksum_is_refused_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"its SHA-256 is {sha(BODY)}, and {'0' * 64} was published"):
        fetch(Download(server.url("big.bin"), "0" * 64), tmp_path / "big.bin")
    assert list(tmp_path.glob("big*")) == []


def test_missing_files_and_servers_are_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"nothing\.zip cannot be downloaded: the server answers 404"):
        fetch(Download(server.url("nothing.zip")), tmp_path / "nothing.zip")
    assert len(server.asked) == 1  # a 404 is not asked for again
    with pytest.raises(CorpusError, match=r"cannot be downloaded: .*refused.* --from PATH"):
        fetch(Download("http://127.0.0.1:9/x.zip"), tmp_path / "x.zip")


def archive(files: dict[str, str]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return memory.getvalue()


def enter(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    monkeypatch.setattr(catalog, "ENTRIES", (entry,))
    monkeypatch.setattr(catalog, "CATALOG", {entry.name: entry})


@pytest.fixture
def toy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Entry:
    names = {f"toy/wiki.{split}.tokens": numbered(5) for split in ("train", "valid", "test")}
    server.files["/toy.zip"] = archive(names)
    entry = Entry("toy", "A toy", "en", "here", "none", "published", downloads=(Download(server.url("toy.zip")),))
    enter(monkeypatch, entry)
    return entry


def test_a_corpus_is_got_once_and_then_there(toy: Entry, server: Server) -> None:
    folder = get("toy")
    assert folder == places.cache_folder() / "corpora" / "toy"
    assert sorted(path.name for path in folder.iterdir()) == ["source.json", "toy"]
    assert json.loads((folder / "source.json").read_text()) == {toy.downloads[0].url: sha(server.files["/toy.zip"])}
    assert get("toy") == folder
    assert len(server.asked) == 1
    assert [len(split.units) for split in load_corpus("toy")] == [5, 5, 5]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["toy"]


def test_the_first_download_is_trusted_and_later_ones_held_against_it(toy: Entry, server: Server) -> None:
    folder = get("toy")
    before = load_corpus("toy").sha256
    get("toy", again=True)
    server.files["/toy.zip"] = archive({"train.txt": "other"})
    with pytest.raises(CorpusError, match=r"has changed since toy was first obtained.*The text you have is kept"):
        get("toy", again=True)
    assert load_corpus("toy").sha256 == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["toy"]


def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    for name in ("../evil.txt", "/evil.txt", "a/../../evil.txt"):
        (tmp_path / "evil.zip").write_bytes(archive({"good.txt": "good", name: "evil"}))
        with pytest.raises(CorpusError, match="would land outside"):
            unpack(tmp_path / "evil.zip", tmp_path / "in" / "here")
        with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as packed:
            packed.addfile(tarfile.TarInfo(name.lstrip("/") if name.startswith("/") else name))
        (tmp_path / "in" / "tar").mkdir(parents=True, exist_ok=True)
        if not name.startswith("/"):
            with pytest.raises(CorpusError, match="would land outside"):
                unpack(tmp_path / "evil.tar.gz", tmp_path / "in" / "tar")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    content = archive({"a.txt": numbered(100)})
    (tmp_path / "bad.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorpusError, match=r"bad\.zip is damaged and cannot be unpacked"):
        unpack(tmp_path / "bad.zip", tmp_path)


def test_a_local_file_folder_or_archive_can_be_taken(toy: Entry, bare_machine: Path, server: Server) -> None:
    (bare_machine / "plain").mkdir()
    (bare_machine / "plain" / "train.txt").write_text(numbered(20))
    (bare_machine / "one.txt").write_text(numbered(30))
    (bare_machine / "packed.zip").write_bytes(server.files["/toy.zip"])
    with tarfile.open(bare_machine / "packed.tar.gz", "w:gz") as packed:
        packed.add(bare_machine / "plain", "plain")
    for name, count in (("plain", 20), ("one.txt", 30), ("packed.zip", 15), ("packed.tar.gz", 20)):
        get("toy", bare_machine / name)
        assert sum(len(split.units) for split in load_corpus("toy")) == count
        get_again = places.corpora_folder() / "toy" / "source.json"
        get_again.unlink()  # another source is another text: forget the first
    assert server.asked == []
    with pytest.raises(CorpusError, match=r"no file or folder .*nowhere"):
        get("toy", Path("nowhere"))


def test_a_taken_file_is_verified_where_its_checksum_is_known(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("toy", "A toy", "en", "here", "none", "published", obtain="Write it.", files={"train.txt": "0" * 64})
    enter(monkeypatch, entry)
    with pytest.raises(CorpusError, match=r"no public address for toy .*Write it\. Then run: lmbench corpus get toy"):
        get("toy")
    (bare_machine / "train.txt").write_text(numbered(20))
    with pytest.raises(CorpusError, match=r"train\.txt from .* is not the train\.txt of toy"):
        get("toy", bare_machine / "train.txt")
    assert not (places.corpora_folder() / "toy").exists()


def test_names_that_cannot_be_got_say_why() -> None:
    with pytest.raises(UsageError, match="Did you mean 'text8'"):
        get("txt8")
    with pytest.raises(UsageError, match="nothing to get"):
        get("english")


def test_a_cache_that_cannot_be_written_is_told(toy: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(CorpusError, match=r"toy cannot be written to .*LMBENCH_CACHE"):
        get("toy")
