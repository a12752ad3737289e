"""Programs of kits, run and ended: with what they print, leave behind and hide."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlkit.release.checks import OUTPUT_LIMIT, Check, CheckResult, environment_of, predicate_of, run_check
from mlkit.spec.bounds import Bound
from mlkit.spec.test_result import is_passed

PYTHON = sys.executable


def run(folder: Path, script: str, **options: Any) -> CheckResult:
    return run_check(Check("it", (PYTHON, "-c", script), **options), folder, {"PATH": os.environ["PATH"]})


def test_a_check_passes_by_its_exit_code(tmp_path: Path) -> None:
    assert run(tmp_path, "pass").passed
    assert run(tmp_path, "raise SystemExit(3)", exit_code=3).passed

    failed = run(tmp_path, "print('so much for that'); raise SystemExit(1)")

    assert not failed.passed
    assert failed.reason == "it exited with 1 (expected 0)"
    assert failed.output == "so much for that\n"


def test_a_program_that_is_not_there_fails_its_check(tmp_path: Path) -> None:
    found = run_check(Check("it", ("no-such-program",)), tmp_path, {"PATH": "/nowhere"})

    assert not found.passed
    assert "no-such-program: No such file" in str(found.reason)


def test_a_program_that_is_killed_fails_its_check(tmp_path: Path) -> None:
    assert run(tmp_path, "import os; os.kill(os.getpid(), 9)").reason == "it was ended by signal 9"


def test_metrics_are_read_from_the_file_that_the_check_writes(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"accuracy": 1.0}')
    write = "open('metrics.json', 'w').write('{\"accuracy\": 0.9, \"n\": 5}')"

    below = run(tmp_path, write, metrics="metrics.json", bounds=(Bound.parse("accuracy >= 0.95"),))
    above = run(tmp_path, write, metrics="metrics.json", bounds=(Bound.parse("accuracy >= 0.9"),))
    not_written = run(tmp_path, "pass", metrics="metrics.json", bounds=(Bound.parse("accuracy >= 0.9"),))

    assert (below.passed, below.reason) == (False, "accuracy >= 0.95 does not hold: it is 0.9")
    assert above.passed
    assert above.metrics == {"accuracy": 0.9, "n": 5}
    assert not not_written.passed
    assert "wrote no metrics" in str(not_written.reason)


def test_metrics_are_read_from_the_last_line_of_json_that_it_prints(tmp_path: Path) -> None:
    script = "print('{\"a\": 1}'); print('{\"a\": 2}'); print('done')"

    found = run(tmp_path, script, metrics="-", bounds=(Bound.parse("a == 2"), Bound.parse("b > 0")))

    assert found.reason == "b > 0 does not hold: there is no such number"
    assert [(one.bound, one.value, one.holds) for one in found.bounds] == [
        ("a == 2", 2.0, True),
        ("b > 0", None, False),
    ]


@pytest.mark.parametrize(
    "script",
    [
        "import os; os.symlink('/etc/hostname', 'm.json')",
        "import os; os.mkfifo('m.json')",
        "import os; os.mkdir('m.json')",
        "open('m.json', 'w').write('{\"a\": NaN}')",
        "open('m.json', 'w').write('[1]')",
        "open('m.json', 'w').write('{\"a\": 1' + ' ' * 2**21 + '}')",
    ],
    ids=["link", "pipe", "folder", "nan", "list", "large"],
)
def test_metrics_that_are_none_fail_the_check(tmp_path: Path, script: str) -> None:
    assert not run(tmp_path, script, metrics="m.json").passed


def test_a_check_that_hangs_is_killed_with_all_that_it_forked_however_it_hid(tmp_path: Path) -> None:
    marker = f"mlkit-test-{os.getpid()}"
    script = f"""
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execvp("sleep", ["{marker}", "300"])
time.sleep(0.3)
print("forked", flush=True)
time.sleep(300)
"""
    started = time.monotonic()

    found = run(tmp_path, script, timeout=2.0)

    assert not found.passed
    assert found.reason == "it took more than 2 s, and was killed"
    assert "forked" in found.output
    assert time.monotonic() - started < 60
    assert _alive(marker) == []


def test_what_a_check_leaves_running_ends_with_it(tmp_path: Path) -> None:
    marker = f"mlkit-left-{os.getpid()}"
    script = f"""
import os
if os.fork() == 0:
    os.setsid()
    os.execvp("sleep", ["{marker}", "300"])
"""
    found = run(tmp_path, script)

    assert found.passed
    assert _alive(marker) == []


def _alive(marker: str) -> list[str]:
    if not Path("/proc").is_dir():
        pytest.skip("processes are listed by /proc here")
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(marker.encode()):
                found.append(entry.name)
    return found


def test_what_is_printed_without_end_is_kept_to_its_last_part(tmp_path: Path) -> None:
    found = run(tmp_path, f"print('x' * {3 * OUTPUT_LIMIT}); print('the end')")

    assert len(found.output) <= OUTPUT_LIMIT
    assert found.output.endswith("the end\n")
    assert found.output_bytes > 3 * OUTPUT_LIMIT


def test_a_check_is_given_no_secrets_of_whoever_runs_it(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "MLKIT_REGISTRY_PASSWORD": "s3cret",
        "CUDA_VISIBLE_DEVICES": "0",
        "MINE": "1",
    }

    given = environment_of(environ, ["MINE"])
    found = run_check(
        Check("it", (PYTHON, "-c", "import json, os; print(json.dumps(dict(os.environ)))"), environment={"SEED": "7"}),
        tmp_path,
        given,
    )

    seen = json.loads(found.output)
    assert "MLKIT_REGISTRY_PASSWORD" not in seen
    assert (seen["SEED"], seen["MINE"], seen["CUDA_VISIBLE_DEVICES"]) == ("7", "1", "0")


def test_a_check_that_kills_who_watches_over_it_has_failed(tmp_path: Path) -> None:
    found = run(tmp_path, "import os; os.kill(os.getppid(), 9)", timeout=20.0)

    assert not found.passed


def test_results_are_stated_as_in_toto_does(tmp_path: Path) -> None:
    good, bad = run(tmp_path, "print('fine')"), run(tmp_path, "raise SystemExit(2)")
    checks = [Check("it", (PYTHON,))]

    passed = predicate_of([good], checks, at="2026-03-03T00:00:00Z", by="ada")
    failed = predicate_of([good, bad], checks, at="2026-03-03T00:00:00Z", by="ada")

    assert (passed["result"], passed["passedTests"], passed["failedTests"]) == ("PASSED", ["it"], [])
    assert is_passed(passed)
    assert (failed["result"], failed["failedTests"]) == ("FAILED", ["it"])
    assert not is_passed(failed)
    assert not is_passed(predicate_of([], [], at="2026-03-03T00:00:00Z", by="ada")), "nothing was shown"
    assert passed["mlkit"]["checks"][0]["output"] == "fine\n"


def test_the_supervisor_ends_with_whoever_started_it(tmp_path: Path) -> None:
    marker = f"mlkit-orphan-{os.getpid()}"
    script = (
        "import sys; from pathlib import Path; from mlkit.release.checks import Check, run_check;"
        f"run_check(Check('it', ('bash', '-c', 'exec -a {marker} sleep 300')), Path('.'), dict(PATH='/usr/bin:/bin'))"
    )
    starter = subprocess.Popen([PYTHON, "-c", script], cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not _alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _alive(marker)

    starter.kill()
    starter.wait()

    while _alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _alive(marker) == []
