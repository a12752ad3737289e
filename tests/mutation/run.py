"""A mutation run: mutmut changes the code in one place at a time, and some test must fail each time. `make mutate`.

    make mutate                                   # all of it, from the beginning: the figures
    make mutate ARGS=--again                      # those that no test noticed, and what was changed since
    make mutate ARGS="'mlkit.registry.auth.*'"    # a slice, by the names of `mutmut results`

Ends with a line for each file, and with 1 where one of them is below the floor. Which files, and which tests:
`[tool.mutmut]` in pyproject.toml.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

FLOOR = 0.85
"""Of the mutants of each file, how many some test must notice."""
_WORK = Path("mutants")  # where mutmut keeps its copy of the code, and what became of each mutant
_MEMORY = Path("/dev/shm")
_LEAST_MEMORY = 1 << 30  # bytes; a run needs some fifty megabytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="patterns of mutants; without one, all")
    parser.add_argument("--again", action="store_true", help="only those that are not killed yet")
    arguments = parser.parse_args()
    if arguments.again:
        _forget_survivors()
    elif not arguments.names:
        shutil.rmtree(_WORK, ignore_errors=True)
    os.nice(5)
    # Tests of a store wait for fsync: on a disk, that would be most of the time.
    is_roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _LEAST_MEMORY
    with tempfile.TemporaryDirectory(prefix="mlkit-mutation-", dir=_MEMORY if is_roomy else None) as folder:
        # One process: the next one's tests clear the folder of the last.
        program = str(Path(sys.executable).with_name("mutmut"))
        command = [program, "run", "--max-children", "1", *arguments.names]
        environment = {**os.environ, "PYTEST_ADDOPTS": f"--basetemp={folder}/tests"}
        if subprocess.run(command, env=environment, check=False).returncode != 0:
            print("mutmut failed; its output above says why", file=sys.stderr)
            return 1
    return _tell()


def _forget_survivors() -> None:
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    for path in walk_mutatable_files():
        known = SourceFileMutationData(path=path)
        known.load()
        if known.exit_code_by_key:
            known.exit_code_by_key = {
                name: code if status_by_exit_code[code] == "killed" else None
                for name, code in known.exit_code_by_key.items()
            }
            known.save()


def _tell() -> int:
    """One line for each file. A timeout is not counted as noticed: it may have been the machine."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.stats import status_by_exit_code
    from mutmut.utils.file_utils import walk_mutatable_files

    is_enough = True
    print(f"\n{'file':<36}{'mutants':>9}{'killed':>9}{'survived':>9}{'timeouts':>9}{'ratio':>8}")
    for path in sorted(walk_mutatable_files()):
        known = SourceFileMutationData(path=path)
        known.load()
        found = Counter(status_by_exit_code[code] for code in known.exit_code_by_key.values())
        mutants = found.total() - found["not checked"]
        if not mutants:
            continue
        ratio = found["killed"] / mutants
        is_enough = is_enough and ratio >= FLOOR
        survived = mutants - found["killed"] - found["timeout"]
        skipped = f"  ({found['not checked']} were not run)" if found["not checked"] else ""
        print(
            f"{path.relative_to('src/mlkit')!s:<36}{mutants:>9}{found['killed']:>9}{survived:>9}"
            f"{found['timeout']:>9}{ratio:>8.1%}{skipped}"
        )
    print("\n`.venv/bin/mutmut results` names those that survived, `.venv/bin/mutmut show NAME` shows one")
    if not is_enough:
        print(f"below {FLOOR:.0%} in some file", file=sys.stderr)
    return 0 if is_enough else 1


if __name__ == "__main__":
    raise SystemExit(main())
