"""Serving, with a server that does as it is told."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mlkit
from mlkit.api.serve import Served, ServeOptions, Serving, serve, serving
from mlkit.api.session import Session
from mlkit.errors import (
    ConflictError,
    DigestMismatch,
    NotFoundError,
    PolicyError,
    ProgramError,
    UnsafeError,
    UsageError,
)
from mlkit.serving.probe import get
from mlkit.spec.reference import Reference

ROOT = Path(__file__).parents[2]
KIT = Reference.parse("digits:1")
FAKE = f"{shlex.quote(sys.executable)} -m tests.support.fake_server --port {{port}} --model {{model}}"
ENVIRON = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MLKIT_KEY_PASSWORD": "secret"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "Kitfile": "package: {name: digits, version: '1.2'}\nmodel: {path: m/model.gguf}\n"
        "datasets: [{path: data}]\ncode: [{path: src}]\ndocs: [{path: README.md}]\n",
        "m/model.gguf": "GGUF" + "w" * 5000,
        "data/train.csv": "a,b\n",
        "src/run.py": "print()\n",
        "README.md": "# Digits\n",
    }
    for name, text in files.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    return tmp_path / "project"


@pytest.fixture
def packed(session: Session, project: Path) -> Session:
    mlkit.pack(project, tag="digits:1", session=session)
    return session


def options(**changes: object) -> ServeOptions:
    return replace(ServeOptions(command=FAKE, port=0, ready_seconds=30), **changes)  # type: ignore[arg-type]


def facts(one: Serving) -> dict[str, str]:
    answer = get(one.host, one.port, "/facts")
    assert answer is not None
    found: dict[str, str] = json.loads(answer[1])
    return found


def folders(session: Session) -> list[str]:
    root = session.settings.home / ".mlkit/serve"
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


def test_a_server_finds_the_verified_files_without_datasets_and_nothing_is_left(packed: Session) -> None:
    with serving(packed, KIT, options(), environ=ENVIRON) as one:
        found = facts(one)
        directory = one.served.directory
        assert found["model"] == str(directory / "m/model.gguf")
        there = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())
        assert there == ["Kitfile", "README.md", "m/model.gguf", "src/run.py"]
        assert (one.served.runtime, one.served.version, one.served.source) == ("custom", "1.2", "local")
        assert one.served.digest == packed.local(KIT).digest

    assert folders(packed) == []
    assert get(one.host, one.port, "/") is None


def test_a_server_works_in_an_empty_folder_and_does_not_see_our_secrets(packed: Session) -> None:
    with serving(packed, KIT, options(), environ=ENVIRON) as one:
        found = facts(one)
        assert found["cwd"].endswith("/work")
        assert os.listdir(found["cwd"]) == []
        assert not [name for name in found["environ"] if name.startswith("MLKIT_")]


def test_without_a_gpu_wanted_all_of_them_are_hidden(packed: Session) -> None:
    with serving(packed, KIT, options(gpu=False), environ=ENVIRON) as one:
        assert facts(one)["environ"]["CUDA_VISIBLE_DEVICES"] == ""  # type: ignore[index]


def test_a_kit_in_a_registry_streams_into_the_files_and_leaves_nothing_in_the_store(
    packed: Session, other: Session, host: str
) -> None:
    remote = Reference.parse(f"{host}/team/digits:1")
    mlkit.push("digits:1", str(remote), session=packed)

    with serving(other, remote, options(), environ=ENVIRON) as one:
        assert one.served.source == "remote"
        assert (one.served.directory / "m/model.gguf").read_text().startswith("GGUF")

    assert other.layout.manifests() == ()
    assert not any(True for _ in other.layout.blobs.listing())


def test_reuse_links_the_stores_files_and_the_next_run_finds_them(packed: Session) -> None:
    desc = packed.local(KIT)
    for _ in range(2):
        with serving(packed, KIT, options(reuse=True), environ=ENVIRON) as one:
            model = one.served.directory / "m/model.gguf"
            assert model.stat().st_nlink == 2
            assert model.stat().st_mode & 0o222 == 0

    assert one.served.linked_bytes == 0  # the second run linked nothing
    assert folders(packed) == [desc.digest.hex, f"{desc.digest.hex}.lock"]


def test_linked_files_are_not_served_once_they_are_damaged(packed: Session) -> None:
    with serving(packed, KIT, options(reuse=True), environ=ENVIRON) as one:
        model = one.served.directory / "m/model.gguf"
    model.chmod(0o644)
    model.write_text("GGUF" + "x" * 5000)

    with (
        pytest.raises(DigestMismatch, match="a layer is damaged in the local store") as caught,
        serving(packed, KIT, options(reuse=True), environ=ENVIRON),
    ):
        pass

    assert "mlkit fsck --deep --repair" in str(caught.value.hint)


def test_a_kept_folder_that_somebody_changed_is_made_again(packed: Session) -> None:
    with serving(packed, KIT, options(reuse=True), environ=ENVIRON) as one:
        model = one.served.directory / "m/model.gguf"
    model.unlink()
    model.write_text("GGUF" + "x" * 5000)

    with serving(packed, KIT, options(reuse=True), environ=ENVIRON):
        assert model.read_text() == "GGUF" + "w" * 5000


def test_prune_removes_the_kept_folder_of_a_kit_that_has_gone(packed: Session) -> None:
    with serving(packed, KIT, options(reuse=True), environ=ENVIRON):
        pass
    mlkit.remove("digits:1", session=packed)

    mlkit.prune(grace_seconds=0, session=packed)

    assert folders(packed) == []


def test_reuse_of_a_kit_in_a_registry_pulls_it_first(packed: Session, other: Session, host: str) -> None:
    remote = Reference.parse(f"{host}/team/digits:1")
    mlkit.push("digits:1", str(remote), session=packed)

    with serving(other, remote, options(reuse=True), environ=ENVIRON) as one:
        assert (one.served.directory / "m/model.gguf").stat().st_nlink == 2

    assert other.local(remote).digest == packed.local(KIT).digest


def test_a_port_in_use_is_said_before_anything_is_unpacked(packed: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = options(port=taken.getsockname()[1])
        with pytest.raises(ConflictError, match="is in use"), serving(packed, KIT, wanted, environ=ENVIRON):
            pass

    assert folders(packed) == []


@pytest.mark.parametrize(
    ("flag", "message"), [("--never-ready", "was not ready after 1 seconds"), ("--die-after 0", "exit status 3")]
)
def test_a_server_that_dies_or_is_never_ready_leaves_nothing(packed: Session, flag: str, message: str) -> None:
    wanted = options(command=f"{FAKE} {flag}", ready_seconds=1)

    with pytest.raises(ProgramError, match=message), serving(packed, KIT, wanted, environ=ENVIRON):
        pass

    assert folders(packed) == []


def test_a_server_that_dies_later_ends_serve_with_its_last_words(packed: Session) -> None:
    ready: list[Served] = []
    lines: list[str] = []

    with pytest.raises(ProgramError, match="CUDA out of memory"):
        serve(
            packed,
            KIT,
            options(command=f"{FAKE} --die-after 1"),
            environ=ENVIRON,
            on_ready=ready.append,
            on_line=lines.append,
        )

    assert len(ready) == 1
    assert lines[0].startswith("loading ")


def test_a_runtime_that_is_not_installed_is_answered_with_the_line_that_installs_it(packed: Session) -> None:
    with (
        pytest.raises(NotFoundError, match=r"llama.cpp is not installed: there is no llama-server") as caught,
        serving(packed, KIT, ServeOptions(port=0), environ={"PATH": "/nowhere"}),
    ):
        pass

    assert caught.value.hint == "`pip install 'llama-cpp-python[server]>=0.3'` installs it"


def test_a_gpu_that_is_asked_for_and_not_there_is_said_before_anything_is_unpacked(
    packed: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(NotFoundError, match="needs a GPU: this machine has no NVIDIA GPU"),
        serving(packed, KIT, options(gpu=True), environ=ENVIRON),
    ):
        pass

    assert folders(packed) == []


def test_a_pickle_is_served_only_where_its_code_is_allowed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/model.joblib").write_bytes(b"\x80\x04.")
    (tmp_path / "p/Kitfile").write_text("model: {path: model.joblib}\n")
    mlkit.pack(tmp_path / "p", tag="digits:1", session=session)

    with (
        pytest.raises(UnsafeError, match=r"model.joblib: loading scikit-learn pickle .* runs code") as caught,
        serving(session, KIT, ServeOptions(port=0), environ=ENVIRON),
    ):
        pass
    assert "--allow-code" in str(caught.value.hint)

    with (
        pytest.raises(NotFoundError, match="MLServer is not installed"),
        serving(session, KIT, ServeOptions(port=0, allow_code=True), environ={"PATH": "/nowhere"}),
    ):
        pass


def test_a_kit_without_a_model_and_a_partial_kit_are_refused(packed: Session, other: Session, host: str) -> None:
    remote = Reference.parse(f"{host}/team/digits:1")
    mlkit.push("digits:1", str(remote), session=packed)
    mlkit.pull(str(remote), filters=["datasets"], session=other)

    # What is missing of a partial kit streams from where it was pulled.
    with serving(other, remote, options(), environ=ENVIRON) as one:
        assert (one.served.directory / "m/model.gguf").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": None, "runtime": "custom"}, "needs a command"),
        ({"command": "''' unclosed"}, "No closing quotation"),
        ({"command": "  "}, "--command is empty"),
        ({"runtime": "llama.cpp"}, "--command is for the runtime custom"),
        ({"host": "203.0.113.1"}, "is no address of this machine"),
    ],
)
def test_what_cannot_be_meant_is_refused(packed: Session, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message), serving(packed, KIT, options(**changes), environ=ENVIRON):
        pass


def test_a_kit_that_the_policy_refuses_is_not_unpacked_and_nothing_starts(packed: Session, tmp_path: Path) -> None:
    policy = tmp_path / "mlkit-policy.yaml"
    policy.write_text("version: 1\nrules: [{scope: digits, serialization: {allow: [safetensors]}}]\n")
    with (
        mlkit.session(home=packed.settings.home, policy=policy) as strict,
        pytest.raises(PolicyError, match="refused by the policy"),
        serving(strict, KIT, options(), environ=ENVIRON),
    ):
        pass

    assert folders(packed) == []
