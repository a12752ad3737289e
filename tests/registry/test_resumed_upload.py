"""Uploads that one run begins and another one ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.content.contract import blob, push_manifest, read
from tests.registry.conftest import ADA, Connect
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.registry_http import Answer, Request

from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.content.uploads import Uploads
from mlkit.errors import AuthError, DigestMismatch, NetworkError
from mlkit.registry.memory import Memory
from mlkit.registry.store import RegistryStore
from mlkit.spec.descriptor import Descriptor

MIB = 1 << 20


@pytest.fixture(autouse=True)
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything above 1 MiB goes in chunks of 1 MiB."""
    monkeypatch.setattr("mlkit.registry.upload.MONOLITHIC", MIB)
    monkeypatch.setattr("mlkit.registry.upload.CHUNK", MIB)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


class Run:
    """Makes a client that knows nothing but what lies in the folder."""

    def __init__(self, connect: Connect, folder: Path) -> None:
        self._connect = connect
        self._folder = folder

    def store(self, server: SimulatedRegistry, repository: str = "team/digits", **more: object) -> RegistryStore:
        memory = Memory(uploads=Uploads(self._folder))
        return self._connect(server.host, memory=memory, **more).repository(repository)


@pytest.fixture
def run(connect: Connect, folder: Path) -> Run:
    return Run(connect, folder)


def push(store: RegistryStore, content: bytes) -> Descriptor:
    desc = blob(content)
    store.push(desc, BytesContent(content))
    return desc


def push_and_be_cut_off(run: Run, server: SimulatedRegistry, content: bytes, *, after: int) -> None:
    """A push whose registry is not there any more after so many chunks."""
    server.answer("PATCH .*", lambda _: None if len(server.lines("PATCH .*")) <= after else Answer(503))
    with pytest.raises(NetworkError):
        push(run.store(server), content)
    server.rules.clear()
    server.requests.clear()


def ranges(server: SimulatedRegistry) -> list[str]:
    return [request.headers["content-range"] for request in server.requests if request.method == "PATCH"]


def test_a_push_goes_on_at_the_chunk_that_an_earlier_one_got_to(
    run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    content = os.urandom(4 * MIB)
    push_and_be_cut_off(run, server, content, after=2)

    desc = push(run.store(server), content)

    assert [line.split()[0] for line in server.lines()] == ["HEAD", "GET", "PATCH", "PATCH", "PUT", "HEAD"]
    assert ranges(server) == ["2097152-3145727", "3145728-4194303"]
    assert read(run.store(server), desc) == content
    assert list(folder.iterdir()) == []


def test_a_push_goes_on_inside_a_chunk_where_the_registry_kept_a_part_of_it(
    run: Run, server: SimulatedRegistry
) -> None:
    content = os.urandom(3 * MIB)
    push_and_be_cut_off(run, server, content, after=1)
    (upload,) = server.uploads.values()
    upload += content[MIB : MIB + 1000]

    assert read(run.store(server), push(run.store(server), content)) == content
    assert ranges(server)[0] == "1049576-2098151"


def test_a_registry_that_is_still_writing_after_a_cut_is_given_the_time(
    run: Run, server: SimulatedRegistry, waits: list[float]
) -> None:
    content = os.urandom(3 * MIB)
    late = [content[MIB : MIB + 1000], content[MIB + 1000 : MIB + 5000]]

    def cut(request: Request) -> Answer | None:
        return Answer(0, cut=0) if request.headers["content-range"].startswith("1048576-") else None

    def write_a_little(request: Request) -> None:
        (upload,) = server.uploads.values()
        upload += late.pop(0) if late and len(waits) > 1 else b""

    server.answer("PATCH .*", cut, times=1)
    server.answer("GET .*/uploads/.*", write_a_little)

    assert read(run.store(server), push(run.store(server), content)) == content
    assert ranges(server)[2] == f"{MIB + 5000}-{2 * MIB + 4999}"


def test_a_push_of_which_only_the_end_is_missing_sends_no_chunk(run: Run, server: SimulatedRegistry) -> None:
    content = os.urandom(2 * MIB)
    server.answer("PUT .*", lambda _: Answer(503))
    with pytest.raises(NetworkError):
        push(run.store(server), content)
    server.rules.clear()
    server.requests.clear()

    assert read(run.store(server), push(run.store(server), content)) == content
    assert server.received_bytes() == 0


@pytest.mark.parametrize("status", [404, 416, 400, 500])
def test_an_upload_that_the_registry_does_not_know_any_more_starts_over(
    status: int, run: Run, server: SimulatedRegistry
) -> None:
    content = os.urandom(3 * MIB)
    push_and_be_cut_off(run, server, content, after=2)
    server.uploads.clear()
    if status != 500:
        server.fail_times(status, 1, on="GET .*/uploads/.*")

    assert read(run.store(server), push(run.store(server), content)) == content
    assert len(server.lines("POST .*")) == 1
    assert ranges(server)[0] == "0-1048575"


@pytest.mark.parametrize("told", ["0-99999999", "0-18446744073709551615", "7-9", "all", ""])
def test_a_registry_that_counts_nonsense_is_sent_everything_again(
    told: str, run: Run, server: SimulatedRegistry
) -> None:
    content = os.urandom(3 * MIB)
    push_and_be_cut_off(run, server, content, after=2)
    server.answer("GET .*/uploads/.*", lambda request: Answer(204, headers={"Range": told} if told else {}), times=1)

    assert read(run.store(server), push(run.store(server), content)) == content


def test_an_upload_with_other_bytes_in_it_is_dropped_and_sent_again(run: Run, server: SimulatedRegistry) -> None:
    content = os.urandom(3 * MIB)
    push_and_be_cut_off(run, server, content, after=2)
    (upload,) = server.uploads.values()
    upload[5] ^= 1

    assert read(run.store(server), push(run.store(server), content)) == content
    assert server.uploads == {}
    assert len(server.lines("POST .*")) == 1


@pytest.mark.parametrize(
    "location", ["http://[", "ftp://x/y", "https://user:word@127.0.0.1/v2/", "/v2/team/digits/blobs/uploads/u0"]
)
def test_a_saved_location_that_leads_nowhere_is_left_alone(
    location: str, run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    content = os.urandom(2 * MIB)
    push_and_be_cut_off(run, server, content, after=1)
    (path,) = folder.iterdir()
    text = path.read_text()
    here = text.partition('"location":"')[2].partition('"')[0]
    path.write_text(text.replace(here, location))

    assert read(run.store(server), push(run.store(server), content)) == content


def test_a_saved_location_on_another_host_is_shown_no_credentials(
    run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    content = os.urandom(2 * MIB)
    push_and_be_cut_off(run, server, content, after=1)
    (path,) = folder.iterdir()
    server.auth = "basic"
    with simulated_registry() as other:
        there = f'"location":"http://{other.host}/'
        path.write_text(path.read_text().replace(f'"location":"http://{server.host}/', there))

        assert read(run.store(server, credential=ADA), push(run.store(server, credential=ADA), content)) == content

    assert other.requests
    assert all("authorization" not in request.headers for request in other.requests)


def test_an_upload_to_another_repository_or_registry_is_not_touched(
    run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    content = os.urandom(3 * MIB)
    push_and_be_cut_off(run, server, content, after=2)

    push(run.store(server, "team/other"), content)
    with simulated_registry() as other:
        push(run.store(other), content)

    assert len(server.uploads) == 1
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_upload_that_somebody_stops_is_kept(
    error: type[BaseException], run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    content = os.urandom(3 * MIB)

    class Stopped(BytesContent):
        def open(self, *, offset: int = 0) -> object:  # type: ignore[override]  # never gets that far
            if offset:
                raise error
            return super().open(offset=offset)

    desc = blob(content)
    server.answer(
        "PATCH .*", lambda request: None if request.headers["content-range"].startswith("0-") else Answer(500)
    )
    with pytest.raises(error):
        run.store(server).push(desc, Stopped(content))
    server.rules.clear()
    server.requests.clear()
    assert len(server.uploads) == 1

    push(run.store(server), content)

    assert ranges(server)[0].startswith("1048576-")


def test_an_upload_that_is_not_allowed_any_more_waits_for_another_login(run: Run, server: SimulatedRegistry) -> None:
    content = os.urandom(3 * MIB)
    server.answer(
        "PATCH .*", lambda request: None if request.headers["content-range"].startswith("0-") else Answer(403)
    )
    with pytest.raises(AuthError):
        push(run.store(server), content)
    server.rules.clear()
    server.requests.clear()

    assert read(run.store(server), push(run.store(server), content)) == content
    assert ranges(server)[0].startswith("1048576-")


def test_an_upload_of_wrong_content_is_taken_back_and_forgotten(
    run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    content = bytearray(os.urandom(3 * MIB))
    desc = blob(bytes(content))
    content[-1] ^= 1

    with pytest.raises(DigestMismatch):
        run.store(server).push(desc, BytesContent(bytes(content)))

    assert server.uploads == {}
    assert list(folder.iterdir()) == []


def test_chunks_become_smaller_and_connections_new_where_they_break(
    run: Run, server: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlkit.registry.upload.CHUNK", 8 * MIB)
    monkeypatch.setattr("mlkit.registry.upload._CUT_LEAST", MIB)
    content = os.urandom(9 * MIB)

    def lose_what_is_large(request: Request) -> Answer | None:
        if len(request.body) <= 3 * MIB:
            return None
        server.uploads.clear()  # as docker-registry 2.8 does after a cut
        return Answer(0, cut=0)

    server.answer("PATCH .*", lose_what_is_large)

    assert read(run.store(server), push(run.store(server), content)) == content
    assert ranges(server)[:3] == ["0-8388607", "0-2097151", "2097152-4194303"]
    later = [request for request in server.requests if request.method == "PATCH"][1:]
    assert all(request.headers["connection"] == "close" for request in later)


def test_what_an_earlier_run_sent_is_read_and_not_counted_as_moved(
    run: Run, server: SimulatedRegistry, tmp_path: Path
) -> None:
    layout = Layout.create(tmp_path / "store")
    content = os.urandom(4 * MIB)
    manifest = push_manifest(layout, content)
    push_and_be_cut_off(run, server, content, after=3)

    result = copy(layout, run.store(server), manifest.descriptor)

    assert result.resumed_bytes == 3 * MIB
    assert result.moved_bytes == MIB + len(b"{}") + manifest.descriptor.size


_PUSH = """
import sys
from pathlib import Path
import mlkit.registry.upload as upload
from mlkit.content.copy import copy
from mlkit.content.layout import Layout
from mlkit.content.uploads import Uploads
from mlkit.registry.connection import Connection
from mlkit.registry.memory import Memory
from mlkit.registry.host import Registry

upload.MONOLITHIC = upload.CHUNK = 1 << 20
home, host, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
layout = Layout.at(home)
with Registry(
    Connection(host, plain_http=True), lambda _: None, memory=Memory(uploads=Uploads(home / ".mlkit/uploads"))
) as registry:
    store = registry.repository("team/digits")
    root = layout.resolve(name)
    copy(layout, store, root.bare, concurrency=1)
    store.tag(root, "v1")
"""


def test_fault10_a_push_that_is_killed_is_ended_by_the_same_command_again(
    server: SimulatedRegistry, tmp_path: Path
) -> None:
    layout = Layout.create(tmp_path)
    first, second = os.urandom(MIB // 2), os.urandom(6 * MIB)
    manifest = push_manifest(layout, first, second)
    layout.tag(manifest.descriptor, "kit:v1")
    command = [sys.executable, "-c", _PUSH, str(tmp_path), server.host, "kit:v1"]
    process = subprocess.Popen(command)

    def kill(request: Request) -> Answer | None:
        if request.headers["content-range"].startswith("3145728-"):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        return None

    server.answer("PATCH .*", kill)
    assert process.wait(60) == -signal.SIGKILL
    assert server.repository("team/digits").manifests == {}
    server.rules.clear()
    sent_before = server.received_bytes()
    server.requests.clear()

    subprocess.run(command, check=True, timeout=60)

    assert server.repository("team/digits").tags == {"v1": str(manifest.descriptor.digest)}
    assert set(server.repository("team/digits").blobs.values()) >= {first, second}
    assert [line.split()[0] for line in server.lines("(POST|PATCH) .*")].count("PATCH") <= 3
    assert server.received_bytes(".*/blobs/.*") + sent_before <= sum(map(len, (first, second))) + MIB + 1000
    assert not list((tmp_path / ".mlkit/uploads").iterdir())
    uploads_end = max(number for number, line in enumerate(server.lines()) if "/blobs/uploads/" in line)
    first_manifest = min(
        number for number, line in enumerate(server.lines()) if line.startswith("PUT /v2/team/digits/m")
    )
    assert uploads_end < first_manifest


def test_the_newest_location_is_on_the_disk_before_the_next_chunk_is_sent(
    run: Run, server: SimulatedRegistry, folder: Path
) -> None:
    """A killed process has no time to save anything, and locations may change with each answer."""
    is_kept: list[bool] = []

    def look(request: Request) -> None:
        saved = b"".join(file.read_bytes() for file in folder.iterdir())
        state = quote(request.query["_state"]).encode()  # how much is there, told by this registry in each location
        is_kept.append(re.search(state + rb"\b", saved) is not None)

    server.answer("PATCH .*", look)

    push(run.store(server), os.urandom(4 * MIB))

    assert is_kept == [True] * 4
