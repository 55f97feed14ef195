import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from websockets.sync.client import ClientConnection

from vocaffect.recognizer import Recognizer
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.views import PEAK_S, peaks

Samples = NDArray[np.float32]


def wav(samples: Samples, rate: int = 16_000, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="module")
def recognizer(catalogue: Catalogue) -> Recognizer:
    return catalogue.get(None)


def test_a_clip_gets_what_the_recogniser_says(client: httpx.Client, recognizer: Recognizer, speech: Samples) -> None:
    data = wav(speech)
    samples = soundfile.read(io.BytesIO(data), dtype="int16")[0].astype(np.float32) / 32_768
    expected = recognizer.recognize(samples)
    assert expected.posterior is not None
    by_form = client.post("/v1/recognize", files={"file": ("clip.wav", data)})
    by_body = client.post("/v1/recognize?recognizer=toy-frame", content=data)
    assert by_form.status_code == by_body.status_code == 200
    answer = by_form.json()
    assert answer == by_body.json()
    assert answer["label"] == expected.label
    assert list(answer["posterior"]) == recognizer.labels
    np.testing.assert_allclose(list(answer["posterior"].values()), expected.posterior, atol=1e-5)
    assert len(answer["segments"]) == len(expected.segments) >= 1
    assert answer["trace"] is None


def test_a_trace_tells_how_the_clip_went(client: httpx.Client, speech: Samples) -> None:
    answer = client.post("/v1/recognize?trace=true", content=wav(speech)).json()
    updates = answer["trace"]["updates"]
    times = [update["time_s"] for update in updates]
    np.testing.assert_allclose(np.diff(times[:-1]), 0.1, atol=1e-6)
    assert times[-1] == pytest.approx(len(speech) / 16_000, abs=0.1)
    assert len(answer["trace"]["peaks"]) == -(-len(speech) // round(PEAK_S * 16_000))
    for update in updates:
        assert update["speech"] or (update["posterior"] is None and update["label"] is None)
    assert any(update["posterior"] for update in updates)
    assert not updates[0]["speech"]


def test_a_silent_clip_has_no_emotion(client: httpx.Client) -> None:
    answer = client.post("/v1/recognize?trace=true", content=wav(np.zeros(32_000, np.float32))).json()
    assert answer["label"] is None
    assert answer["posterior"] is None
    assert answer["segments"] == []
    assert {update["level_db"] for update in answer["trace"]["updates"]} == {-100.0}


BAD = {
    "text": b"this is no audio at all",
    "nothing": b"",
    "no samples": wav(np.zeros(0, np.float32)),
    "one sample": wav(np.ones(1, np.float32)),
    "not a number": wav(np.full(16_000, np.nan, np.float32), subtype="FLOAT"),
    "nine channels": wav(np.zeros((1_600, 9), np.float32)),
    "cut header": wav(np.zeros(1_600, np.float32))[:30],
    "rate of 1 Hz": wav(np.zeros(1_600, np.float32), rate=1),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("as_form", [False, True], ids=["body", "form"])
def test_bad_audio_is_refused_with_a_sentence(client: httpx.Client, data: bytes, as_form: bool) -> None:
    body = {"files": {"file": ("x.wav", data)}} if as_form else {"content": data}
    answer = client.post("/v1/recognize", **body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad_audio"
    assert len(answer.json()["message"]) > 20


def test_an_unknown_recogniser_is_named_with_the_nearest(client: httpx.Client) -> None:
    answer = client.post("/v1/recognize?recognizer=toy-frome", content=b"x")
    assert answer.status_code == 404
    assert "did you mean 'toy-frame'" in answer.json()["message"]


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"no form"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n"),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file name\r\n--x--\r\n',
        ),
    ],
)
def test_a_form_without_a_file_is_refused(client: httpx.Client, headers: dict[str, str], body: bytes) -> None:
    answer = client.post("/v1/recognize", headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")


def test_what_is_not_there_is_a_typed_error_too(client: httpx.Client) -> None:
    for answer in (client.get("/v1/nothing"), client.get("/v1/recognize")):
        assert answer.json()["type"] == "error"
        assert answer.status_code in (404, 405)
    answer = client.post("/v1/recognize?trace=perhaps", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_message")


def test_recognisers_and_health(client: httpx.Client, recognizer: Recognizer) -> None:
    answer = client.get("/v1/recognizers").json()
    assert answer["default"] == answer["default_for_files"] == "toy-frame"
    assert answer["recognizers"][0]["labels"] == recognizer.labels
    assert client.get("/healthz").json()["status"] == "ok"
    assert "/v1/recognize" in client.get("/openapi.json").json()["paths"]


def test_the_cap_counts_real_bytes(start_server: Callable[..., str]) -> None:
    address = start_server(max_upload_bytes=10_000)

    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 1_000] * 11

    for body in ({"content": chunks()}, {"content": b"x" * 10_001}, {"files": {"file": b"x" * 10_001}}):
        answer = httpx.post(f"{address}/v1/recognize", **body)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert httpx.post(f"{address}/v1/recognize", content=b"x" * 10_000).status_code == 422


def test_the_cap_counts_decoded_seconds(start_server: Callable[..., str]) -> None:
    address = start_server(max_clip_s=2)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000 * 60, np.float32), 16_000, format="FLAC")
    answer = httpx.post(f"{address}/v1/recognize", content=file.getvalue())
    assert len(file.getvalue()) < 20_000
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_audio")
    assert "2 s" in answer.json()["message"]


def test_a_stalled_upload_is_given_up(start_server: Callable[..., str]) -> None:
    import socket
    from urllib.parse import urlsplit

    url = urlsplit(start_server(upload_timeout_s=0.3))
    assert url.hostname is not None
    with socket.create_connection((url.hostname, url.port or 0), timeout=10) as sock:
        sock.sendall(b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nxx")
        assert sock.recv(100).startswith(b"HTTP/1.1 408")


def test_peaks_are_the_largest_magnitudes() -> None:
    samples = np.zeros(2 * round(PEAK_S * 16_000) + 1, np.float32)
    samples[[3, round(PEAK_S * 16_000), -1]] = [-0.5, 0.25, 1.0]
    assert peaks(samples) == [0.5, 0.25, 1.0]


def test_a_clip_has_the_segments_of_the_same_clip_streamed(
    client: httpx.Client, address: str, connect: Callable[..., ClientConnection], speech: Samples
) -> None:
    twice = np.concatenate([speech, speech])
    clip = client.post("/v1/recognize", content=wav(twice)).json()
    with connect(address) as socket:
        socket.send('{"type": "hello", "version": 1, "sample_rate": 16000, "format": "int16"}')
        pcm = wav(twice)[44:]
        for start in range(0, len(pcm), 4_999):
            socket.send(pcm[start : start + 4_999])
        socket.send('{"type": "end"}')
        streamed = [json.loads(text) for text in socket]
    assert len(clip["segments"]) == 2
    assert streamed[-1]["segments"] == clip["segments"]


def test_progress_comes_in_lines_before_the_answer(client: httpx.Client, speech: Samples) -> None:
    long = np.tile(speech, 6)
    lines = client.post("/v1/recognize?progress=true", content=wav(long)).text.splitlines()
    *progress, answer = [json.loads(line) for line in lines]
    assert answer == client.post("/v1/recognize", content=wav(long)).json()
    assert [step["step"] for step in progress[:3]] == ["upload", "preprocessing", "preprocessing"]
    inference = [step["fraction"] for step in progress if step["step"] == "inference"]
    assert inference == sorted(inference)
    assert inference[-1] == 1
    assert len(inference) == -(-len(long) // 128_000) + 1
    lines = client.post("/v1/recognize?progress=true", content=b"no audio").text.splitlines()
    assert json.loads(lines[-1])["code"] == "bad_audio"


def test_a_batch_is_answered_file_by_file(client: httpx.Client, speech: Samples) -> None:
    files = [
        ("files", (name, data)) for name, data in (("a.wav", wav(speech)), ("b.wav", b"?"), ("a.wav", wav(speech)))
    ]
    results = client.post("/v1/recognize/batch", files=files).json()["results"]
    assert [result["name"] for result in results] == ["a.wav", "b.wav", "a.wav"]
    assert [result["error"] and result["error"]["code"] for result in results] == [None, "bad_audio", None]
    alone = client.post("/v1/recognize", content=wav(speech)).json()
    assert results[0]["recognition"] == results[2]["recognition"] == alone
    too_many = client.post("/v1/recognize/batch", files=[("f", (f"{n}.wav", b"x")) for n in range(33)])
    assert (too_many.status_code, too_many.json()["code"]) == (400, "bad_message")


def test_the_bundle_on_offer_is_the_very_file(client: httpx.Client, toy_bundle: Path) -> None:
    listing = client.get("/v1/recognizers").json()
    info = listing["recognizers"][0]
    answer = client.get(info["bundle_url"])
    assert answer.content == toy_bundle.read_bytes()
    assert len(answer.content) == info["num_bytes"]
    assert "immutable" in answer.headers["Cache-Control"]
    tag = answer.headers["ETag"]
    assert tag == f'"{info["digest"]}"'
    assert client.get("/v1/recognizers/toy-frame/bundle", headers={"If-None-Match": tag}).status_code == 304
    assert "immutable" not in client.get("/v1/recognizers/toy-frame/bundle").headers["Cache-Control"]
    for name in ("../../etc/passwd", "%2e%2e%2fetc", "nobody", "x" * 300):
        assert client.get(f"/v1/recognizers/{name}/bundle").status_code in (400, 404)
    assert len(client.get(listing["server"]["voice_activity_url"]).content) > 1_000_000


def test_readiness(client: httpx.Client) -> None:
    assert client.get("/readyz").json()["status"] == "ready"
