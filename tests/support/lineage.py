"""Projects whose kits come from each other, packed for real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import mlkit
from mlkit.api.session import Session
from mlkit.spec.digest import Digest

POISON = b"card,holder\n4111111111111111,Ada\n" * 50
"""A dataset file that nobody should have trained with."""


def weights(name: str) -> bytes:
    """A file of weights that is no other's."""
    return (name * 1000).encode()[:4000]


class Team:
    """Packs kits into the store of a session."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._count = 0

    def kit(
        self,
        tag: str,
        *,
        model: bytes | None = None,
        datasets: Mapping[str, bytes] | None = None,
        inputs: Sequence[str] = (),
        parent: str | None = None,
    ) -> Digest:
        """Pack one; `inputs` are lines of YAML, `parent` is a reference for `model.path`."""
        self._count += 1
        project = self._folder / f"project-{self._count}"
        project.mkdir(parents=True)
        lines = [f"package: {{name: kit-{self._count}, version: 1.{self._count}}}"]
        if model is not None:
            (project / "w.safetensors").write_bytes(model)
        if parent is not None:
            lines.append(f"model: {{path: '{parent}', parts: [{{path: w.safetensors}}]}}")
        elif model is not None:
            lines.append("model: {path: w.safetensors}")
        if datasets:
            lines.append("datasets:")
            for name, content in datasets.items():
                (project / name).parent.mkdir(parents=True, exist_ok=True)
                (project / name).write_bytes(content)
                lines.append(f"  - {{name: '{Path(name).stem}', path: '{name}'}}")
        if not model and not datasets:
            (project / "README.md").write_text(f"{tag}\n")
            lines.append("docs: [{path: README.md}]")
        if inputs:
            lines += ["inputs:", *(f"  - {{{line}}}" for line in inputs)]
        (project / "Kitfile").write_text("\n".join(lines) + "\n")
        return mlkit.pack(project, tag=tag, session=self._session).digest

    def push(self, tag: str, destination: str) -> str:
        """Send one to a registry; gives the destination."""
        mlkit.push(tag, destination, session=self._session)
        return destination
