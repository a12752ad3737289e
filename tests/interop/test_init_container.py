"""The example's image, built as its README says and really run: nobody in particular, a root that cannot be written,
little room, a policy; and exit codes that tell whether another try may help.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.base_images import write_base
from tests.support.containers import need, runc, unpack_image
from tests.support.images import FILES, pack_kit
from tests.support.programs import Ended
from tests.support.python_image import install_mlkit, python_base
from tests.trust.policies import ALICE

import mlkit
from mlkit.api.evidence import attach_statement
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.reference import Reference
from mlkit.spec.statement import COSIGN_SIGN

EXAMPLE = Path(__file__).parents[2] / "examples/serving-image"
TMP = "size=4m,mode=1777"
RETRY, STOP = "retry", "stop"
ASKS_FOR = {7: RETRY, 130: RETRY, 143: RETRY, 2: STOP, 3: STOP, 4: STOP, 5: STOP, 6: STOP, 8: STOP, 10: STOP, 11: STOP}
"""As docs/how-to/images.md has it."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of the example, unpacked for runc."""
    need("umoci", "runc")
    folder = tmp_path_factory.mktemp("init")
    project = Path(shutil.copytree(EXAMPLE, folder / "project"))
    write_base(folder / "base", python_base())
    script = "\n".join(re.findall(r"```bash\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL))
    script, count = re.subn(r"^pip install .*$", "true", script, flags=re.MULTILINE)
    assert count == 1
    install_mlkit(project / "app")
    script = script.replace("docker.io/library/python:3.12-slim", f"oci:{folder / 'base'}:1")
    script = script.replace("registry.example/team/mlkit-unpack:0.1.0", f"oci:{folder / 'image'}:0.1.0")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = os.environ | {"PATH": path, "MLKIT_HOME": str(folder / "store")}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=project, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return unpack_image(folder / "image", "0.1.0", folder / "bundle")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",)) as opened:
        yield opened


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running.host


@pytest.fixture
def kit(session: Session, tmp_path: Path, host: str) -> str:
    """A kit in a registry, by its digest."""
    reference = f"{host}/team/tiny:1.2"
    pack_kit(session, tmp_path / "project", tag=reference)
    return f"{host}/team/tiny@{mlkit.push(reference, session=session).digest}"


class Container:
    """Runs the image's own entry point; the volume is a folder of the test's, or a tmpfs."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.bundle = bundle
        self.volume = folder / "volume"
        self.volume.mkdir()
        os.chown(self.volume, 65532, 65532)
        self._runs = 0

    def __call__(self, *arguments: str, policy: Path | None = None, room: str | None = None) -> Ended:
        self._runs += 1
        environ = {"MLKIT_PLAIN_HTTP_HOSTS": "loopback", "MLKIT_RETRY_BUDGET": "1"}
        binds = {} if room is not None else {"/models": self.volume}
        tmpfs = {"/tmp": TMP} | ({"/models": room} if room is not None else {})
        if policy is not None:
            environ["MLKIT_POLICY"] = "/etc/mlkit/mlkit-policy.yaml"
            binds["/etc/mlkit"] = policy.parent
        return runc(
            self.bundle,
            f"init-{self.volume.parent.name}-{self._runs}",
            arguments=arguments,
            env=environ,
            tmpfs=tmpfs,
            binds=binds,
            is_networked=True,
        )

    @property
    def files(self) -> dict[str, bytes]:
        found = self.volume
        return {str(path.relative_to(found)): path.read_bytes() for path in sorted(found.rglob("*")) if path.is_file()}


@pytest.fixture
def container(bundle: Path, tmp_path: Path) -> Container:
    return Container(bundle, tmp_path)


def test_the_example_unpacks_a_verified_kit_and_does_it_again(container: Container, kit: str) -> None:
    first = container(kit, "-d", "/models", "--filter", "model")
    again = container(kit, "-d", "/models", "--filter", "model")

    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert container.files == {name: raw for name, raw in FILES.items() if name.startswith("model/")}
    assert {path.stat().st_uid for path in container.volume.rglob("*")} == {65532}


def test_the_policy_that_is_mounted_is_enforced(
    container: Container, kit: str, session: Session, tmp_path: Path, host: str
) -> None:
    policy = tmp_path / "policy/mlkit-policy.yaml"
    policy.parent.mkdir()
    (policy.parent / "alice.pub").write_text(ALICE.public.pem)
    rules = f'rules: [{{scope: "{host}/team/**", require: [{{type: signature, keys: [alice]}}]}}]'
    policy.write_text(f"version: 1\nkeys: {{alice: {{file: alice.pub}}}}\n{rules}\n")

    unsigned = container(kit, "-d", "/models", policy=policy)
    attach_statement(session, session.locate(Reference.parse(kit), remote=True), COSIGN_SIGN, {}, signer=ALICE)
    left = container.files
    signed = container(kit, "-d", "/models", policy=policy)

    assert (unsigned.code, left) == (8, {})
    assert signed.code == 0, signed.stderr
    assert container.files["model/config.json"] == FILES["model/config.json"]


def test_fault54_as_nobody_on_little_room_it_ends_whole_or_with_a_code_that_says_whether_to_try_again(
    container: Container, kit: str, tmp_path: Path, host: str
) -> None:
    ends = {
        "no room": container(kit, "-d", "/models", room="size=1m,uid=65532,mode=755"),
        "no registry": container("127.0.0.1:1/team/tiny:1.2", "-d", "/models"),
        "no kit": container(f"{host}/team/none:1.2", "-d", "/models"),
        "no place": container(kit, "-d", "/elsewhere"),
    }
    layer = max((tmp_path / "registry/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes()[:-1] + b"!")
    ends["damaged"] = container(kit, "-d", "/models")

    codes = {what: end.code for what, end in ends.items()}
    assert codes == {"no room": 10, "no registry": 7, "no kit": 3, "no place": 2, "damaged": 4}, ends
    assert [ASKS_FOR[code] for code in codes.values()] == [STOP, RETRY, STOP, STOP, STOP]
    assert all("Traceback" not in end.stderr and end.stderr.count("\n") <= 12 for end in ends.values())
    assert container.files == {}
