"""Coverage-guided fuzzing of every target with atheris: `make fuzz`, or this module with `--target tar --seconds 600`.

What it finds interesting is kept in `.cache/fuzz/TARGET`, and smaller inputs take the place of larger ones.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

CORPUS = Path(".cache/fuzz")
_LENGTH = 4096  # bytes of an input; parsers that take larger ones meet them in tests/hostile


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        return _fuzz(arguments.here, arguments.seconds)
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install --group fuzz", file=sys.stderr)
        return 0
    from tests.fuzz.targets import TARGETS

    failed = []
    # Each in a process of its own: atheris ends the one that it runs in.
    for name in arguments.target or TARGETS:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.run", "--here", name, "--seconds", str(arguments.seconds)]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "no target failed")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["mlkit"]):
        from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={_LENGTH}",
        "-rss_limit_mb=1024",
        "-timeout=5",
        "-print_final_stats=0",
    ]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={CORPUS}/{name}-", str(corpus)], target.check)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
