"""Downloads against a server on this machine that misbehaves in every way a server can."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from vocaffect.cli import data
from vocaffect.corpora import Archive, Corpus, CorpusError, Entry, find_clips, get_corpus
from vocaffect.corpora.download import ATTEMPTS, DownloadError, download, fetch, partial_bytes


@dataclass
class Behaviour:
    """What the server does; ``requests`` is what it was asked, as (range header, bytes sent)."""

    content: bytes
    cut_after: int | None = None
    cuts: int = 0
    ranges: bool = True
    content_type: str | None = "application/zip"
    status: int = 200
    failures: int = 0
    length: int | None = -1
    range_shift: int = 0
    stall_s: float = 0.0
    redirect: str | None = None
    requests: list[str | None] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    behaviour: Behaviour
    released: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/archive.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        now = self.server.behaviour
        now.requests.append(self.headers.get("Range"))
        if now.failures:
            now.failures -= 1
            self.send_error(now.status)
            return
        body, start = now.content, 0
        if now.ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-")) + now.range_shift
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if now.content_type:
            self.send_header("Content-Type", now.content_type)
        if now.length is not None:
            self.send_header("Content-Length", str(now.length if now.length >= 0 else len(body) - start))
        self.end_headers()
        piece = body[start:]
        if now.cuts and now.cut_after is not None:
            now.cuts -= 1
            piece = piece[: now.cut_after]
        self.wfile.write(piece)
        if now.stall_s:
            self.wfile.flush()
            self.server.released.wait(now.stall_s)
        self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(-9000, 9000, 4000).astype(np.int16)
    soundfile.write(buffer, noise, 16_000, format="WAV")
    return buffer.getvalue()


CLIPS = {f"happy/{n}.wav": wav(n) for n in range(4)}
GOOD = zip_of(CLIPS)


class Tiny(Corpus):
    name = "tiny"
    num_clips = len(CLIPS)

    def collect_files(self, root: Path) -> list[Entry]:
        return [Entry(path, "happy") for path in find_clips(root)]


def archive_of(content: bytes, url: str, max_unpacked_bytes: int = 1 << 20) -> Archive:
    md5 = hashlib.md5(content).hexdigest()
    return Archive(url, "archive.zip", len(content), md5, max_unpacked_bytes)


def offered(server: Server, content: bytes = GOOD, max_unpacked_bytes: int = 1 << 20) -> Corpus:
    """A corpus whose official archive is ``content``, which the server offers well-behaved for now."""
    server.behaviour = Behaviour(content)
    corpus = Tiny()
    corpus.archive = archive_of(content, server.url, max_unpacked_bytes)  # type: ignore[misc]
    return corpus


def quick_fetch(corpus: Corpus, folder: Path, timeout_s: float = 5.0) -> Path:
    assert corpus.archive is not None
    return fetch(corpus.archive, folder, timeout_s=timeout_s, pause=lambda _: None)


def test_a_whole_corpus_appears_at_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    corpus = offered(server)
    folder = download(corpus, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.wav")} == CLIPS
    assert seen[-1] == (len(GOOD), len(GOOD))
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]
    assert download(corpus, tmp_path) == folder
    assert len(server.behaviour.requests) == 1


def test_the_archive_is_kept_when_asked(server: Server, tmp_path: Path) -> None:
    download(offered(server), tmp_path, keep_archive=True)
    assert (tmp_path / "archive.zip").read_bytes() == GOOD


@pytest.mark.parametrize("length", [-1, None], ids=["with a length", "without a length"])
def test_a_cut_download_is_resumed_where_it_stopped(server: Server, tmp_path: Path, length: int | None) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, cut_after=1000, cuts=3, length=length)
    assert quick_fetch(corpus, tmp_path).read_bytes() == GOOD
    assert server.behaviour.requests == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_a_part_of_an_earlier_try_is_used(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    (tmp_path / "archive.zip.part").write_bytes(GOOD[:777])
    assert quick_fetch(corpus, tmp_path).read_bytes() == GOOD
    assert server.behaviour.requests == ["bytes=777-"]


def test_a_server_that_cannot_resume_starts_over(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, cut_after=1000, cuts=2, ranges=False)
    assert quick_fetch(corpus, tmp_path).read_bytes() == GOOD
    assert server.behaviour.requests == [None, "bytes=1000-", "bytes=1000-"]


def test_a_server_that_resumes_elsewhere_is_not_believed(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, cut_after=1000, cuts=1, range_shift=-10)
    assert quick_fetch(corpus, tmp_path).read_bytes() == GOOD
    assert server.behaviour.requests == [None, "bytes=1000-", None]


def test_endless_cuts_end_in_a_sentence_and_keep_the_part(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, cut_after=500, cuts=10**6, ranges=False)
    with pytest.raises(DownloadError, match=r"the connection was cut after 500 of .* run the same command again"):
        quick_fetch(corpus, tmp_path)
    assert len(server.behaviour.requests) == ATTEMPTS + 1
    assert partial_bytes(archive_of(GOOD, ""), tmp_path) == 500


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, status=503, failures=2)
    assert quick_fetch(corpus, tmp_path).read_bytes() == GOOD


def test_a_missing_page_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, status=404, failures=9)
    with pytest.raises(DownloadError, match="404"):
        quick_fetch(corpus, tmp_path)
    assert len(server.behaviour.requests) == 1


def test_a_server_that_falls_silent_is_left(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD, cut_after=100, cuts=10**6, stall_s=30.0, ranges=False)
    with pytest.raises(DownloadError, match="the server fell silent"):
        quick_fetch(corpus, tmp_path, timeout_s=0.05)


def test_no_server_at_all(tmp_path: Path) -> None:
    archive = archive_of(GOOD, "http://127.0.0.1:9/archive.zip")
    with pytest.raises(DownloadError, match="the server cannot be reached"):
        fetch(archive, tmp_path, pause=lambda _: None)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/zip", None])
def test_a_web_page_in_place_of_the_zip_is_refused(server: Server, tmp_path: Path, content_type: str | None) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(b"<!doctype html>sign in".ljust(len(GOOD)), content_type=content_type)
    with pytest.raises(DownloadError, match=r"web page|no zip"):
        quick_fetch(corpus, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_does_not_cost_what_came_before(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    (tmp_path / "archive.zip.part").write_bytes(GOOD[:777])
    server.behaviour = Behaviour(b"<html>", content_type="text/html", ranges=False)
    with pytest.raises(DownloadError, match="web page"):
        quick_fetch(corpus, tmp_path)
    assert partial_bytes(archive_of(GOOD, ""), tmp_path) == 777


@pytest.mark.parametrize("length", [-1, None], ids=["said", "unsaid"])
@pytest.mark.parametrize("extra", [b"more", None], ids=["longer", "shorter"])
def test_another_size_is_refused(server: Server, tmp_path: Path, length: int | None, extra: bytes | None) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD + extra if extra else GOOD[:-4], length=length)
    with pytest.raises(DownloadError, match=r"not the official archive|cut after|416"):
        quick_fetch(corpus, tmp_path)
    assert not (tmp_path / "archive.zip").exists()


def test_a_flipped_bit_is_found_and_the_file_removed(server: Server, tmp_path: Path) -> None:
    corpus = offered(server)
    server.behaviour = Behaviour(GOOD[:500] + bytes([GOOD[500] ^ 1]) + GOOD[501:])
    with pytest.raises(DownloadError, match="MD5"):
        download(corpus, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    (tmp_path / "local.zip").write_bytes(GOOD)
    archive = archive_of(GOOD, (tmp_path / "local.zip").as_uri())
    with pytest.raises(DownloadError, match="no web address"):
        fetch(archive, tmp_path)


def test_a_corpus_that_is_there_in_part_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny" / "happy").mkdir(parents=True)
    (tmp_path / "tiny" / "happy" / "1.wav").write_bytes(wav(1))
    with pytest.raises(CorpusError, match="holds 1 clips where tiny has 4"):
        download(offered(server), tmp_path)
    assert server.behaviour.requests == []


def test_an_archive_of_too_few_clips_leaves_no_folder(server: Server, tmp_path: Path) -> None:
    corpus = offered(server, zip_of(dict(list(CLIPS.items())[:3])))
    with pytest.raises(CorpusError, match="holds 3 clips where tiny has 4"):
        download(corpus, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["archive.zip"]


def test_a_hostile_archive_leaves_no_folder(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="leads out"):
        download(offered(server, zip_of({**CLIPS, "../evil.wav": b"x"})), tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["archive.zip"]
    assert not (tmp_path / "evil.wav").exists()


def test_the_command_line_fetches_from_a_mirror(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = type(offered(server))
    archive = archive_of(GOOD, "https://nowhere.invalid/archive.zip")
    monkeypatch.setattr(corpus, "archive", archive)
    monkeypatch.setattr("vocaffect.corpora.base._CORPORA", {"tiny": corpus})
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, ["data", "download", "tiny", "-d", str(tmp_path), "--url", server.url])
    assert result.exit_code == 0, result.output
    assert f"4 clips lie in {tmp_path}/tiny" in result.output
    assert server.url in result.output


def test_ravdess_points_at_its_published_archive() -> None:
    archive = get_corpus("ravdess").archive
    assert archive is not None
    assert archive.url.startswith("https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip")
    assert (archive.num_bytes, archive.md5) == (208_468_073, "bc696df654c87fed845eb13823edef8a")
    assert get_corpus("ravdess").num_clips == 1440


def test_a_corpus_without_a_download_says_so(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="folder has no download"):
        download(get_corpus("folder"), tmp_path)
