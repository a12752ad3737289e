"""Small kits in a repository, and keys, for tests of what runs where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mlkit
from mlkit.api.session import Session
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference
from mlkit.trust.keys import PrivateKey, generate, render_private_key

KITFILE = """\
manifestVersion: "1.0.0"
package: {{name: digits, version: "{version}"}}
model: {{name: net, path: model.bin, version: "{model}"}}
datasets: [{{name: train, path: train.csv, version: "2"}}]
{more}
"""


@dataclass(frozen=True)
class Project:
    """A directory that is packed again and again, and the repository that its kits go to."""

    folder: Path
    session: Session
    repository: str

    def release(self, version: str, *, model: str | None = None, size: int = 100, more: str = "") -> Digest:
        """Pack a version, push it where the repository has a host, and give its digest."""
        self.folder.mkdir(exist_ok=True)
        content = (f"weights of {version}\n".encode() * (size // 8 + 1))[:size]
        (self.folder / "model.bin").write_bytes(content)
        (self.folder / "train.csv").write_text("1,2\n")
        text = KITFILE.format(version=version, model=model or version, more=more)
        (self.folder / "Kitfile").write_text(text)
        reference = f"{self.repository}:{version}"
        digest = mlkit.pack(self.folder, tag=reference, session=self.session).digest
        if Reference.parse(reference).host is not None:
            mlkit.push(reference, session=self.session)
        return digest

    def at(self, tag: str | None = None) -> Reference:
        """A reference into the repository."""
        return Reference.parse(self.repository if tag is None else f"{self.repository}:{tag}")


def write_keys(folder: Path, name: str) -> PrivateKey:
    """A key pair without a password in `folder`: `NAME.key` and `NAME.pub`."""
    folder.mkdir(exist_ok=True)
    key = generate()
    private = folder / f"{name}.key"
    private.touch(mode=0o600)
    private.write_text(render_private_key(key, None))
    (folder / f"{name}.pub").write_text(key.public.pem)
    return key
