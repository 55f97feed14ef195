"""What users save: theirs alone, corrected, exported to training, and gone when deleted."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from numpy.typing import NDArray

from vocaffect.corpora.prepare import prepare
from vocaffect.errors import VocaffectError
from vocaffect.server.database import Database, migrate
from vocaffect.server.tables import Base

from .postgres import is_here, postgres

LABELS = ["neutral", "happy", "sad"]
SEGMENTS = [
    {"index": 0, "start_s": 0.5, "end_s": 1.5, "label": "happy", "posterior": [0.1, 0.8, 0.1]},
    {"index": 1, "start_s": 1.6, "end_s": 2.4, "label": "sad", "posterior": [0.1, 0.3, 0.6], "uncertain": True},
]
SAVE = {
    "name": "Monday",
    "recognizer": "toy-frame",
    "labels": LABELS,
    "duration_s": 3.0,
    "segments": SEGMENTS,
}


def wav(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra postgres")
    if not is_here():
        pytest.skip("PostgreSQL is not installed")
    with postgres() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, start_server: Any) -> str:
    """A server that saves in one database or the other."""
    if request.param == "sqlite":
        return str(start_server())
    return str(start_server(database=request.getfixturevalue("postgresql")))


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as browser:
        yield browser


@pytest.fixture
def saved(browser: httpx.Client) -> dict[str, Any]:
    answer = browser.post("/v1/saved", json=SAVE)
    assert answer.status_code == 201, answer.text
    message: dict[str, Any] = answer.json()
    return message


def test_what_is_saved_can_be_had_again(browser: httpx.Client, saved: dict[str, Any]) -> None:
    assert {**saved, "segments": None} == {**saved, **SAVE, "segments": None}
    assert [{**s, "uncertain": s.get("uncertain", False), "corrected": None} for s in SEGMENTS] == saved["segments"]
    assert browser.get(f"/v1/saved/{saved['id']}").json() == saved
    assert browser.get("/v1/saved").json() == {"type": "saved_list", "sessions": [saved], "next": None}


def test_the_newest_come_first_and_page_by_page(browser: httpx.Client) -> None:
    ids = [browser.post("/v1/saved", json={**SAVE, "name": str(n)}).json()["id"] for n in range(5)]
    seen: list[str] = []
    after = ""
    while True:
        page = browser.get(f"/v1/saved?limit=2{after}").json()
        assert len(page["sessions"]) <= 2
        seen += [session["id"] for session in page["sessions"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == ids[::-1]


def test_nobody_else_sees_changes_or_deletes_it(address: str, saved: dict[str, Any]) -> None:
    path = f"/v1/saved/{saved['id']}"
    for cookie in ({}, {"vocaffect_owner": "x" * 43}, {"vocaffect_owner": ""}):
        with httpx.Client(base_url=address, cookies=cookie) as other:
            answers = [
                other.get(path),
                other.delete(path),
                other.get(f"{path}/export"),
                other.get(f"{path}/audio"),
                other.put(f"{path}/segments/0", json={"label": "sad"}),
                other.put(f"{path}/audio?consent=true", content=b"x"),
                other.get(f"/v1/saved?after={saved['id']}"),
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert other.get("/v1/saved").json()["sessions"] == []
            assert other.delete("/v1/saved").json()["count"] == 0
            other.post("/v1/saved", json=SAVE)
            assert [s["id"] for s in other.get("/v1/saved").json()["sessions"]] != [saved["id"]]


def test_the_cookie_is_out_of_reach_of_pages(browser: httpx.Client) -> None:
    cookie = browser.post("/v1/saved", json=SAVE).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert cookie.split(";")[0] == browser.post("/v1/saved", json=SAVE).headers["Set-Cookie"].split(";")[0]


def test_a_segment_is_corrected_and_the_correction_taken_back(browser: httpx.Client, saved: dict[str, Any]) -> None:
    path = f"/v1/saved/{saved['id']}/segments/1"
    for label in ("neutral", "sad", None):
        assert browser.put(path, json={"label": label}).json()["segments"][1]["corrected"] == label
        assert browser.get(f"/v1/saved/{saved['id']}").json()["segments"][1]["corrected"] == label
    assert browser.put(path, json={"label": "bored"}).status_code == 400
    assert browser.put(f"/v1/saved/{saved['id']}/segments/7", json={"label": "sad"}).status_code == 404


def test_sound_is_kept_only_with_consent(
    browser: httpx.Client, saved: dict[str, Any], speech: NDArray[np.float32]
) -> None:
    path = f"/v1/saved/{saved['id']}/audio"
    assert browser.put(path, content=wav(speech)).status_code == 400
    assert browser.get(path).status_code == 404
    assert browser.put(f"{path}?consent=true", content=b"no audio").json()["code"] == "bad_audio"
    assert browser.put(f"{path}?consent=true", content=wav(speech)).json()["has_audio"]
    kept, rate = soundfile.read(io.BytesIO(browser.get(path).content), dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(kept, soundfile.read(io.BytesIO(wav(speech)), dtype="int16")[0])


def test_exports(browser: httpx.Client, saved: dict[str, Any]) -> None:
    path = f"/v1/saved/{saved['id']}"
    browser.put(f"{path}/segments/1", json={"label": "neutral"})
    answer = browser.get(f"{path}/export?format=json")
    assert json.loads(answer.text) == browser.get(path).json()
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(browser.get(f"{path}/export?format=csv").text)))
    assert [row["corrected"] for row in rows] == ["", "neutral"]
    assert float(rows[0]["happy"]) == 0.8
    lines = browser.get(f"{path}/export?format=audacity").text.splitlines()
    assert lines == ["0.500000\t1.500000\thappy", "1.600000\t2.400000\tneutral"]
    assert browser.get(f"{path}/export?format=exe").status_code == 400


def test_corrections_become_a_manifest_that_training_takes(
    browser: httpx.Client, saved: dict[str, Any], speech: NDArray[np.float32], tmp_path: Path
) -> None:
    path = f"/v1/saved/{saved['id']}"
    browser.put(f"{path}/audio?consent=true", content=wav(speech))
    browser.put(f"{path}/segments/0", json={"label": "happy"})
    browser.put(f"{path}/segments/1", json={"label": "neutral"})
    unheard = browser.post("/v1/saved", json=SAVE).json()
    browser.put(f"/v1/saved/{unheard['id']}/segments/0", json={"label": "sad"})
    archive = zipfile.ZipFile(io.BytesIO(browser.get("/v1/saved/export").content))
    archive.extractall(tmp_path)
    manifest = prepare(str(tmp_path / "clips.csv"), tmp_path)
    assert [clip.emotion for clip in manifest] == ["happy", "neutral"]
    assert [clip.duration_s for clip in manifest] == pytest.approx([1.0, 0.8])
    assert len({clip.speaker for clip in manifest}) == 1


def test_deleted_is_gone_from_the_file_too(start_server: Any, tmp_path: Path, speech: NDArray[np.float32]) -> None:
    file = tmp_path / "saved.db"
    with httpx.Client(base_url=start_server(database=f"sqlite:///{file}")) as browser:
        assert browser.get("/v1/saved").json()["sessions"] == []
        assert browser.delete("/v1/saved").json()["count"] == 0
        assert not file.exists()  # nothing is made before the first save
        ids = [browser.post("/v1/saved", json={**SAVE, "name": f"telltale {n}"}).json()["id"] for n in range(3)]
        assert file.stat().st_mode & 0o077 == 0
        browser.put(f"/v1/saved/{ids[0]}/audio?consent=true", content=wav(speech))
        assert browser.delete(f"/v1/saved/{ids[0]}").json()["count"] == 1
        assert browser.get(f"/v1/saved/{ids[0]}").status_code == 404
        assert browser.delete("/v1/saved").json()["count"] == 2
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        for table in Base.metadata.tables.values():
            assert connection.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(table)) == 0
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    assert b"telltale" not in file.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": []},
        {"labels": ["happy\tsad"]},
        {"labels": ["=1+1"]},
        {"duration_s": -1},
        {"name": "x" * 201},
        {"name": "nul \0"},
        {"digest": "none"},
        {"segments": [{**SEGMENTS[0], "label": "bored"}]},
        {"segments": [{**SEGMENTS[0], "end_s": 0.1}]},
        {"segments": [SEGMENTS[0], SEGMENTS[0]]},
        {"more": 1},
    ],
)
def test_what_makes_no_sense_is_refused(browser: httpx.Client, change: dict[str, Any]) -> None:
    answer = browser.post("/v1/saved", json={**SAVE, **change})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")


def test_a_body_may_only_be_so_large(start_server: Any) -> None:
    address = start_server(max_text_bytes=1_000)
    assert httpx.post(f"{address}/v1/saved", content=b"{" * 1_001).status_code == 413


def test_only_so_many_are_kept(start_server: Any) -> None:
    with httpx.Client(base_url=start_server(max_saved=2)) as browser:
        assert [browser.post("/v1/saved", json=SAVE).status_code for _ in range(3)] == [201, 201, 429]


def test_a_server_that_keeps_nothing_says_so(start_server: Any) -> None:
    address = start_server(database="none")
    assert httpx.get(f"{address}/v1/recognizers").json()["server"]["saves"] is False
    assert httpx.post(f"{address}/v1/saved", json=SAVE).status_code == 404


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_make_the_tables_that_the_code_expects(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql")
    database = Database(url)
    with database.engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        migrate(connection)  # once more changes nothing
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "oracle://x", "sqlite:////proc/nowhere/x.db"])
def test_a_database_that_cannot_be_had_is_a_sentence(url: str) -> None:
    with pytest.raises(VocaffectError, match="database"):
        Database(url).engine  # noqa: B018
