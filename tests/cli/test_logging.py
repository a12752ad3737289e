"""Stderr as lines of JSON, and figures of a run for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import CommandLine, Completed

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry


def lines(done: Completed) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.stderr.splitlines()]
    for line in found:
        assert {"time", "level", "message", "command", "mlkit"} <= set(line)
        assert line["time"].endswith("Z")
    return found


def test_a_summary_is_a_line_with_the_kit_it_is_about(packed: CommandLine, tmp_path: Path) -> None:
    done = packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out", "--log-format", "json")

    (line,) = lines(done)
    assert (line["level"], line["command"], line["version"]) == ("info", "mlkit unpack", "1.2")
    assert line["reference"] == "digits:1.2"
    assert line["digest"].startswith("sha256:")
    assert line["message"].startswith("unpacked digits:1.2 into ")


def test_results_stay_on_stdout_as_they_are(packed: CommandLine, tmp_path: Path) -> None:
    done = packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out", "--json", env={"MLKIT_LOG_FORMAT": "json"})

    assert done.json["version"] == "1.2"
    assert [line["level"] for line in lines(done)] == ["info"]


@pytest.mark.parametrize("flag", [["--log-format", "json"], ["--log-format=json"]], ids=["two words", "one word"])
def test_an_error_is_a_line_too_before_and_after_the_parser(packed: CommandLine, flag: list[str]) -> None:
    (missing,) = lines(packed("info", "nope:1", *flag))
    (unknown,) = lines(packed(*flag, "info", "--nope"))

    assert (missing["level"], missing["error"]["code"], missing["error"]["exit"]) == ("error", "E_NOTFOUND", 3)
    assert missing["message"] == missing["error"]["message"]
    assert (unknown["error"]["code"], unknown["command"]) == (
        "E_USAGE",
        "mlkit info",
    )


def test_a_format_that_is_none_is_refused(packed: CommandLine) -> None:
    assert packed("info", "digits:1.2", "--log-format", "xml").code == 2
    assert packed("info", "digits:1.2", env={"MLKIT_LOG_FORMAT": "xml"}).code == 2


def test_requests_and_progress_are_lines_of_their_levels_and_quiet_leaves_warnings(
    packed: CommandLine, tmp_path: Path
) -> None:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        target = f"{running.host}/team/digits:1.2"
        told = lines(packed.ok("push", "digits:1.2", target, "--plain-http", "-vv", "--log-format", "json"))
        quiet = packed.ok("pull", target, "--plain-http", "--quiet", "--log-format", "json")

    assert {"debug", "info"} == {line["level"] for line in told}
    assert all(line["command"] == "mlkit push" for line in told)
    assert quiet.stderr == ""


def test_nothing_hostile_reaches_the_terminal(packed: CommandLine) -> None:
    done = packed("info", "a\x1b[31m\u202eb", "--log-format", "json")

    assert done.stderr.isascii()
    assert "\x1b" not in done.stderr


def test_figures_of_the_last_run_are_in_a_file_for_prometheus(packed: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "mlkit.prom"

    packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out", "--metrics-file", file, "-q")

    figures = samples(file)
    assert figures["mlkit_last_run_success"] == figures["mlkit_last_run_info"] == 1
    assert figures["mlkit_last_run_files"] == 6
    assert figures["mlkit_last_run_duration_seconds"] > 0
    assert figures["mlkit_last_run_timestamp_seconds"] > 1_700_000_000
    assert 'version="1.2"' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["mlkit.prom"]


def test_a_run_that_fails_is_told_too(packed: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "mlkit.prom"

    done = packed("unpack", 'nope"\\:1', "-d", tmp_path / "out", env={"MLKIT_METRICS_FILE": str(file)})
    assert (done.code, file.exists()) == (2, False)  # not a reference: nothing ran
    done = packed("unpack", "nope:1", "-d", tmp_path / "out", env={"MLKIT_METRICS_FILE": str(file)})

    assert done.code == 3
    figures = samples(file)
    assert (figures["mlkit_last_run_success"], figures["mlkit_last_run_exit_code"]) == (0, 3)
    assert "mlkit_last_run_files" not in figures


def test_a_pull_tells_what_moved_and_what_was_there(packed: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "mlkit.prom"
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        target = f"{running.host}/team/digits:1.2"
        packed.ok("push", "digits:1.2", target, "--plain-http", "-q")
        packed.ok("pull", target, "--plain-http", "-q", "--metrics-file", file)

    figures = samples(file)
    assert figures["mlkit_last_run_moved_bytes"] == 0
    assert figures["mlkit_last_run_present_bytes"] > 2000
    assert f'reference="{target}"' in file.read_text()


def test_figures_that_cannot_be_written_are_warned_of_and_stop_nothing(packed: CommandLine, tmp_path: Path) -> None:
    done = packed("unpack", "digits:1.2", "-d", tmp_path / "out", "--metrics-file", tmp_path / "no/such.prom")

    assert done.code == 0
    assert "warning:" in done.stderr
    assert "cannot be written: No such file or directory" in done.stderr


def samples(file: Path) -> dict[str, float]:
    parser = pytest.importorskip("prometheus_client.parser")
    return {
        sample.name: sample.value
        for family in parser.text_string_to_metric_families(file.read_text())
        for sample in family.samples
    }
