"""Datasets that are elsewhere: other kits, pinned when a kit is packed, and objects in S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.kits import kitops_kit
from tests.support.registry import SimulatedRegistry, simulated_registry
from tests.support.s3_server import CREDENTIALS, s3_server

import mlkit
from mlkit.api.remotes import proxies_of
from mlkit.api.session import Session
from mlkit.errors import ConflictError, IntegrityError, LimitError, NotFoundError, UsageError
from mlkit.packing.kit import load_kit
from mlkit.spec.media_types import ORIGIN
from mlkit.spec.reference import Reference


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


def write(folder: Path, kitfile: str, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Kitfile").write_text(kitfile)
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_csv", ".csv").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def data_kit(session: Session, tmp_path: Path, reference: str, text: str = "1,2\n") -> mlkit.Digest:
    kitfile = "datasets: [{name: rows, path: rows.csv, version: '3'}]\ncode: [{path: make.py}]\n"
    project = write(tmp_path / "data", kitfile, rows_csv=text, make_py="pass\n")
    return mlkit.pack(project, tag=reference, session=session).digest


def trained_kit(session: Session, tmp_path: Path, reference: str, data: str) -> mlkit.Digest:
    kitfile = (
        "model: {path: model.bin}\n"
        f"datasets: [{{name: train, path: data/train, remotePath: '{data}'}}, {{name: test, path: test.csv}}]\n"
    )
    project = write(tmp_path / "trained", kitfile, **{"model.bin": "w", "test_csv": "3,4\n"})
    return mlkit.pack(project, tag=reference, session=session).digest


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "Kitfile"
    }


OWN = {"model.bin": "w", "test.csv": "3,4\n"}


def test_a_kit_that_is_a_dataset_is_pinned_and_comes_when_it_is_asked_for(session: Session, tmp_path: Path) -> None:
    data = data_kit(session, tmp_path, "team/data:1")
    trained_kit(session, tmp_path, "team/net:1", "team/data:1")
    mlkit.tag("team/data:1", "team/data:kept", session=session)
    data_kit(session, tmp_path, "team/data:1", text="moved,on\n")

    left = mlkit.unpack("team/net:1", tmp_path / "without", session=session)
    whole = mlkit.unpack("team/net:1", tmp_path / "with", include_remote=True, session=session)

    kit = load_kit(session.layout, session.local(Reference.parse("team/net:1")))
    assert kit.document is not None
    assert [(record.role, record.ref, record.digest) for record in kit.document.inputs] == [
        ("dataset", f"team/data:1@{data}", data)
    ]
    assert tree(tmp_path / "without") == OWN
    assert left.left == (f"team/data:1@{data}",)
    assert tree(tmp_path / "with") == {**OWN, "data/train/rows.csv": "1,2\n"}, "its datasets, and not its code"
    assert whole.left == ()


def test_a_pull_brings_it_under_no_name_and_its_tags_stay_apart(
    host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    data = data_kit(session, tmp_path, f"{host}/team/data:1")
    mlkit.push(f"{host}/team/data:1", session=session)
    trained_kit(session, tmp_path, f"{host}/team/net:1", f"{host}/team/data:1")
    mlkit.push(f"{host}/team/net:1", session=session)

    without = mlkit.pull(f"{host}/team/net:1", session=other)
    rehearsed = mlkit.pull(f"{host}/team/net:1", include_remote=True, dry_run=True, session=other)
    pulled = mlkit.pull(f"{host}/team/net:1", include_remote=True, session=other)

    assert list(other.layout.names()) == [f"{host}/team/net:1"]
    assert rehearsed.moved_bytes == pulled.moved_bytes > 0
    assert pulled.digest == without.digest
    found = other.find_local(Reference.parse(f"{host}/team/data@{data}"))
    assert found is not None
    assert found.annotations[ORIGIN] == f"{host}/team/data"


def test_what_was_pulled_is_unpacked_without_a_network(
    server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    data_kit(session, tmp_path, f"{server.host}/team/data:1")
    mlkit.push(f"{server.host}/team/data:1", session=session)
    trained_kit(session, tmp_path, f"{server.host}/team/net:1", f"{server.host}/team/data:1")
    mlkit.push(f"{server.host}/team/net:1", session=session)
    mlkit.pull(f"{server.host}/team/net:1", include_remote=True, session=other)
    asked = len(server.requests)

    mlkit.unpack(f"{server.host}/team/net:1", tmp_path / "out", include_remote=True, session=other)

    assert len(server.requests) == asked
    assert tree(tmp_path / "out") == {**OWN, "data/train/rows.csv": "1,2\n"}


def test_nothing_is_asked_of_where_datasets_are_unless_they_are_wanted(
    server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    data_kit(session, tmp_path, f"{server.host}/team/data:1")
    mlkit.push(f"{server.host}/team/data:1", session=session)
    trained_kit(session, tmp_path, f"{server.host}/team/net:1", f"{server.host}/team/data:1")
    mlkit.push(f"{server.host}/team/net:1", session=session)
    asked = len(server.requests)

    mlkit.unpack(f"{server.host}/team/net:1", tmp_path / "out", session=other)
    mlkit.unpack(f"{server.host}/team/net:1", tmp_path / "model", filters=["model"], include_remote=True, session=other)

    assert not [request.path for request in server.requests[asked:] if "team/data" in request.path]
    assert tree(tmp_path / "model") == {"model.bin": "w"}


def test_a_pull_into_a_directory_keeps_no_second_copy(
    host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    data = data_kit(session, tmp_path, f"{host}/team/data:1")
    mlkit.push(f"{host}/team/data:1", session=session)
    trained_kit(session, tmp_path, f"{host}/team/net:1", f"{host}/team/data:1")
    mlkit.push(f"{host}/team/net:1", session=session)

    mlkit.pull(f"{host}/team/net:1", include_remote=True, unpack_to=tmp_path / "out", session=other)

    assert tree(tmp_path / "out") == {**OWN, "data/train/rows.csv": "1,2\n"}
    kit = load_kit(other.layout, session.local(Reference.parse(f"{host}/team/data@{data}")))
    assert not any(other.layout.exists(layer.desc) for layer in kit.layers)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["datasets:train"], {"data/train/rows.csv": "1,2\n"}),
        (["datasets"], {"data/train/rows.csv": "1,2\n", "test.csv": "3,4\n"}),
        (["datasets", "!datasets:train"], {"test.csv": "3,4\n"}),
    ],
    ids=" ".join,
)
def test_filters_name_datasets_that_are_elsewhere(
    session: Session, tmp_path: Path, filters: list[str], expected: dict[str, str]
) -> None:
    data_kit(session, tmp_path, "team/data:1")
    trained_kit(session, tmp_path, "team/net:1", "team/data:1")

    mlkit.unpack("team/net:1", tmp_path / "out", filters=filters, include_remote=True, session=session)

    assert tree(tmp_path / "out") == expected


def test_a_filter_that_matches_nothing_here_or_there_is_told(session: Session, tmp_path: Path) -> None:
    data_kit(session, tmp_path, "team/data:1")
    trained_kit(session, tmp_path, "team/net:1", "team/data:1")

    with pytest.raises(NotFoundError, match="matches nothing"):
        mlkit.unpack("team/net:1", tmp_path / "out", filters=["datasets:typo"], include_remote=True, session=session)


def chain(session: Session, tmp_path: Path, length: int) -> str:
    data_kit(session, tmp_path, "chain:0")
    for number in range(1, length + 1):
        kitfile = f"datasets: [{{path: d{number}, remotePath: 'chain:{number - 1}'}}, {{path: own{number}.csv}}]\n"
        project = write(tmp_path / f"kit-{number}", kitfile, **{f"own{number}_csv": "x"})
        mlkit.pack(project, tag=f"chain:{number}", session=session)
    return f"chain:{length}"


def test_a_chain_of_datasets_is_followed_and_nested(session: Session, tmp_path: Path) -> None:
    reference = chain(session, tmp_path, 2)

    mlkit.unpack(reference, tmp_path / "out", include_remote=True, session=session)

    assert tree(tmp_path / "out") == {"own2.csv": "x", "d2/own1.csv": "x", "d2/d1/rows.csv": "1,2\n"}


def test_a_chain_of_ten_is_packed_and_no_longer_one(session: Session, tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="more than 10 kit references in a chain: chain:10 -> "):
        chain(session, tmp_path, 11)

    assert "chain:10" in session.layout.names()
    assert "chain:11" not in session.layout.names()


def test_two_kits_that_put_other_bytes_in_one_place_are_a_conflict(session: Session, tmp_path: Path) -> None:
    data_kit(session, tmp_path, "team/data:1")
    kitfile = "datasets: [{path: ., remotePath: 'team/data:1'}]\ndocs: [{path: rows.csv}]\n"
    mlkit.pack(write(tmp_path / "clash", kitfile, rows_csv="other\n"), tag="team/clash:1", session=session)

    with pytest.raises(ConflictError, match="in the kit that a dataset of it is"):
        mlkit.unpack("team/clash:1", tmp_path / "out", include_remote=True, session=session)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["1,2\n", "other\n"], ids=["the same bytes", "other bytes"])
def test_one_name_in_two_folders_is_two_files(session: Session, tmp_path: Path, text: str) -> None:
    data_kit(session, tmp_path, "team/data:1")
    kitfile = "datasets: [{path: data, remotePath: 'team/data:1'}]\ndocs: [{path: rows.csv}]\n"
    project = write(tmp_path / "both", kitfile, rows_csv=text)
    mlkit.pack(project, tag="team/both:1", layers="raw", session=session)

    mlkit.unpack("team/both:1", tmp_path / "out", include_remote=True, session=session)

    assert tree(tmp_path / "out") == {"rows.csv": text, "data/rows.csv": "1,2\n"}


def test_a_kit_that_is_not_there_is_not_pinned(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="team/none:1"):
        trained_kit(session, tmp_path, "team/net:1", "team/none:1")


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with s3_server() as url:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        client = pytest.importorskip("boto3").client("s3", endpoint_url=url)
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="v1/train.csv", Body=b"9,9\n" * 1000)
        yield client


def s3_kit(session: Session, tmp_path: Path, pin: str, path: str = "path: big/train.csv, ") -> None:
    kitfile = (
        f"datasets: [{{name: big, {path}remotePath: 's3://data/v1/train.csv', remoteHash: '{pin}'}}]\n"
        "docs: [{path: README.csv}]\n"
    )
    mlkit.pack(write(tmp_path / "s3", kitfile, **{"README_csv": "read"}), tag="team/s3:1", session=session)


def test_an_object_comes_when_it_is_asked_for(storage: Any, session: Session, tmp_path: Path) -> None:
    s3_kit(session, tmp_path, str(mlkit.Digest.of(b"9,9\n" * 1000)))

    without = mlkit.unpack("team/s3:1", tmp_path / "without", session=session)
    mlkit.unpack("team/s3:1", tmp_path / "with", include_remote=True, session=session)

    assert (tree(tmp_path / "without"), without.left) == ({"README.csv": "read"}, ("s3://data/v1/train.csv",))
    assert tree(tmp_path / "with") == {"README.csv": "read", "big/train.csv": "9,9\n" * 1000}


def test_an_object_without_a_path_has_its_own_name(storage: Any, session: Session, tmp_path: Path) -> None:
    s3_kit(session, tmp_path, storage.head_object(Bucket="data", Key="v1/train.csv")["ETag"].strip('"'), path="")

    mlkit.unpack("team/s3:1", tmp_path / "out", filters=["datasets:big"], include_remote=True, session=session)

    assert tree(tmp_path / "out") == {"train.csv": "9,9\n" * 1000}


@pytest.mark.parametrize("pin", ["sha256:" + "0" * 64, "0123"], ids=["digest", "etag"])
def test_an_object_that_is_another_one_leaves_nothing_behind(
    storage: Any, session: Session, tmp_path: Path, pin: str
) -> None:
    s3_kit(session, tmp_path, pin)

    with pytest.raises(IntegrityError, match=r"s3://data/v1/train\.csv"):
        mlkit.unpack("team/s3:1", tmp_path / "out", include_remote=True, session=session)

    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))] == []


def test_what_was_pinned_is_unpacked_whatever_the_tag_is_now(session: Session, tmp_path: Path) -> None:
    data_kit(session, tmp_path, "loop:a")
    mlkit.tag("loop:a", "loop:kept", session=session)
    kitfile = "datasets: [{path: d, remotePath: 'loop:a'}]\ncode: [{path: own.py}]\n"
    project = write(tmp_path / "loop", kitfile, own_py="x")
    mlkit.pack(project, tag=["loop:b", "loop:a"], session=session)

    mlkit.unpack("loop:a", tmp_path / "out", include_remote=True, session=session)

    assert tree(tmp_path / "out") == {"own.py": "x", "d/rows.csv": "1,2\n"}


@pytest.mark.parametrize(
    ("settings", "environ", "expected"),
    [
        ({"proxy": "http://proxy.example:3128"}, {}, {"https": "http://proxy.example:3128"}),
        ({}, {"HTTPS_PROXY": "http://proxy.example:3128"}, {}),
    ],
    ids=["a setting", "the environment"],
)
def test_storage_is_reached_as_the_settings_say(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    environ: dict[str, str],
    expected: dict[str, str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with mlkit.session(home=tmp_path / "store", **settings) as session:
        found = proxies_of(session)

    assert {scheme: url for scheme, url in found.items() if scheme == "https"} == expected


def test_kits_that_refer_to_each_other_in_a_circle_are_refused(session: Session, tmp_path: Path) -> None:
    """Digests cannot come back to themselves, but the tags of a tool that pins none can."""
    for tag, other in {"a": "b", "b": "a"}.items():
        value = {"manifestVersion": "1.0.0", "datasets": [{"path": f"d{tag}", "remotePath": f"loop:{other}"}]}
        session.layout.tag(kitops_kit(session.layout, value, []), f"loop:{tag}")

    with pytest.raises(UsageError, match="loop:a -> loop:b -> loop:a"):
        trained_kit(session, tmp_path, "team/net:1", "loop:a")
    with pytest.raises(UsageError, match="in a circle"):
        mlkit.unpack("loop:a", tmp_path / "out", include_remote=True, session=session)
