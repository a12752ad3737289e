"""A version that passes its checks and fails in production, and the way back that nobody has to take by hand.

    make demo

Everything happens in a temporary folder, with a registry and a service on loopback, and is gone at the end.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
MLKIT = shutil.which("mlkit", path=str(Path(sys.executable).parent)) or "mlkit"

GOOD = {"slope": 2.0, "intercept": 1.0}
BAD = {"slope": 2.0, "bias": 1.0}  # the training code renamed a field, and the service does not know


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mlkit-rollback-") as name, ExitStack() as stack:
        folder = Path(name)
        served = folder / "served"
        served.mkdir()
        host = stack.enter_context(
            started([MLKIT, "registry", "serve", "--dir", str(folder / "registry"), "--port", "0", "--json"])
        )
        url = stack.enter_context(started([sys.executable, str(HERE / "service.py"), str(served)]))
        tell(Team(folder, served), f"{host}/team/line", url)


def tell(team: Team, kit: str, url: str) -> None:
    print("1. Two versions are packed, pushed, checked and signed. The second has a field with another name.")
    team.mlkit("keygen", "-o", "ci")
    for version, model in (("1.0", GOOD), ("1.1", BAD)):
        team.release(kit, version, model)

    print("\n2. The first is promoted. The hook puts it into the service, and the probe holds.")
    watching = ["--watch", f"{url}/health", "--for", "1s", "--every", "200ms", "--failures", "3"]
    gates = ["--require", "checks,signature"]
    team.mlkit("promote", f"{kit}:1.0", "production", *gates, *watching, "-m", "first")
    print(f"   the service says {asked(url)}")

    print("\n3. So is the second. It passed its checks, and the service cannot read it.")
    code = team.mlkit("promote", f"{kit}:1.1", "production", *gates, *watching, "-m", "new training", expect=1)
    print(f"   exit {code}; the service says {asked(url)}")

    print("\n4. The history verifies, and says who, when and why.")
    team.mlkit("history", kit, "production")
    team.mlkit("status", kit)
    records = json.loads(team.output("history", kit, "production", "--json"))[0]["entries"]
    ended = [(entry["release"]["action"], entry["release"]["version"], entry["is_trusted"]) for entry in records]
    if ended != [("rollback", "1.0", True), ("promote", "1.1", True), ("promote", "1.0", True)]:
        raise SystemExit(f"the history is another one: {ended}")
    if asked(url) != {"y": 5.0}:
        raise SystemExit("the service does not predict what the good version did")
    print("\nDone: production is at 1.0 again, and nobody was woken up. Next: docs/how-to/release.md")


class Team:
    """Those who release: a home of their own, with a key, a store, and hooks in their own settings."""

    def __init__(self, folder: Path, served: Path) -> None:
        self._folder = folder
        home = folder / "home"
        settings = home / ".config/mlkit/config.toml"
        settings.parent.mkdir(parents=True)
        hook = json.dumps([sys.executable, str(HERE / "deploy.py"), str(served)])
        settings.write_text(f"on_promote = {hook}\non_rollback = {hook}\n", encoding="utf-8")
        self._environ = os.environ | {
            "HOME": str(home),
            "PATH": f"{Path(MLKIT).parent}{os.pathsep}{os.environ['PATH']}",
            "MLKIT_HOME": str(home / "store"),
            "MLKIT_PLAIN_HTTP_HOSTS": "loopback",
            "MLKIT_KEY_PASSWORD": "for the demo only",
            "MLKIT_SIGNING_KEY": str(folder / "ci.key"),
            "MLKIT_TRUSTED_KEYS": str(folder / "ci.pub"),
            "MLKIT_ACTOR": "ci@example",
        }

    def release(self, kit: str, version: str, model: dict[str, float]) -> None:
        """What a pipeline does: pack, push, check, sign."""
        project = self._folder / f"project-{version}"
        shutil.copytree(HERE, project, ignore=shutil.ignore_patterns("demo.py", "service.py", "deploy.py", "README.md"))
        text = (project / "Kitfile").read_text(encoding="utf-8")
        (project / "Kitfile").write_text(text.replace('version: "1.0"', f'version: "{version}"'), encoding="utf-8")
        (project / "model.json").write_text(json.dumps(model), encoding="utf-8")
        reference = f"{kit}:{version}"
        self.mlkit("pack", str(project), "-t", reference, "--quiet")
        self.mlkit("push", reference, "--quiet")
        self.mlkit("check", reference, "--remote")
        self.mlkit("sign", reference, "--remote")

    def mlkit(self, *arguments: str, expect: int = 0) -> int:
        """Run one command, shown as typed, with what it says."""
        print(f"   $ mlkit {shlex.join(arguments)}", flush=True)
        done = subprocess.run(
            [MLKIT, *arguments],
            env=self._environ,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        print("".join(f"     {line}\n" for line in done.stdout.decode().splitlines()), end="", flush=True)
        if done.returncode != expect:
            raise SystemExit(f"exit {done.returncode}, and not {expect}")
        return done.returncode

    def output(self, *arguments: str) -> str:
        """What one command prints."""
        done = subprocess.run([MLKIT, *arguments], env=self._environ, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()


@contextmanager
def started(command: list[str]) -> Iterator[str]:
    """A server that says its address first; it is ended with the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            yield json.loads(line)["url"].removeprefix("http://") if line.startswith("{") else line.strip()
        finally:
            server.terminate()


def asked(url: str) -> object:
    """What the service predicts for 2, or why it cannot."""
    try:
        with urllib.request.urlopen(f"{url}/predict?x=2", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


if __name__ == "__main__":
    main()
