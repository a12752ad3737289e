"""`mlkit image build` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.base_images import Base, tar, write_base
from tests.support.cli import CommandLine
from tests.support.images import LaidOut


@pytest.fixture
def base(packed: CommandLine) -> str:
    container = {"Cmd": ["sh"], "Env": ["A=1"]}
    images = [Base((tar({"sh": b""}),), architecture=name, container=container) for name in ("amd64", "arm64")]
    return f"oci:{write_base(packed.cwd / 'base', *images)}:1"


def test_flags_reach_the_image(packed: CommandLine, base: str) -> None:
    built = packed.ok(
        *("image", "build", "digits:1.2", "--base", base, "-t", "oci:out:1", "--platform", "linux/aarch64", "--json"),
        *("--entrypoint", "python3 -m 'my server'", "--cmd", "--port 80", "--env", "B=2=3", "--user", "7:8"),
        *("--workdir", "/kit", "--image-label", "team=vision", "--filter", "model", "--filter", "code"),
    ).json

    config = LaidOut(packed.cwd / "out").config["config"]
    assert built["platforms"] == ["linux/arm64"]
    assert config["Entrypoint"] == built["entrypoint"] == ["python3", "-m", "my server"]
    assert (config["Cmd"], config["Env"], config["User"]) == (["--port", "80"], ["A=1", "B=2=3"], "7:8")
    assert (config["WorkingDir"], config["Labels"]["team"]) == ("/kit", "vision")
    assert {"digest", "kit_digest", "base_digest", "layers", "moved_bytes", "notes"} <= built.keys()


def test_it_prints_the_digest_and_says_what_a_person_should_know(packed: CommandLine, base: str) -> None:
    done = packed.ok("image", "build", "digits:1.2", "--base", base, "-t", "oci:out:1")
    every = packed.ok(
        *("image", "build", "digits:1.2", "--base", base, "-t", "oci:out:1", "--platform", "linux/amd64,linux/arm64")
    )

    assert done.stdout.startswith("sha256:")
    assert done.stdout.count("\n") == 1
    assert "for linux/amd64; the base also has linux/arm64 (--platform all takes every one)" in done.stderr
    assert "built oci:out:1 for linux/amd64: moved" in done.stderr
    assert "the tag moved: sha256:" in every.stderr


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--base", "scratch", "-t", "image"], 2),
        (["--base", "python:3", "-t", "oci:out:1"], 2),
        (["--base", "scratch", "-t", "oci:out:1", "--platform", "arm"], 2),
        (["--base", "scratch", "-t", "oci:out:1", "--platform", "all,linux/arm64"], 2),
        (["--base", "scratch", "-t", "oci:out:1", "--env", "A"], 2),
        (["--base", "scratch", "-t", "oci:out:1", "--entrypoint", "'open"], 2),
        (["--base", "scratch", "-t", "oci:out:1", "--filter", "prompts"], 3),
        (["--base", "scratch", "-t", "oci:out:1", "--sign", "none.key"], 3),
        (["--base", "oci:none:1", "-t", "oci:out:1"], 3),
        (["--base", "docker-archive:Kitfile", "-t", "oci:out:1"], 4),
        (["--base", "scratch", "-t", "oci:Kitfile/out:1"], 10),
    ],
)
def test_what_goes_wrong_has_its_exit_code(packed: CommandLine, flags: list[str], code: int) -> None:
    done = packed("image", "build", "digits:1.2", *flags, "--json")

    assert done.code == code, done.stderr
    assert done.error["exit"] == code
    assert not (packed.cwd / "out/index.json").exists()


def test_programs_build_images_too(packed: CommandLine, tmp_path: Path) -> None:
    import mlkit

    with mlkit.session(home=packed.environ["MLKIT_HOME"]) as session:
        built = mlkit.build_image("digits:1.2", f"oci:{tmp_path / 'x'}:1", base="scratch", session=session)

    assert built.platforms == ("linux/amd64",)
