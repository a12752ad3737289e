"""`mlkit serve`: digits really served, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import PROGRAM, CommandLine
from tests.support.report_schemas import check_report

from mlkit.cli.application import declaration_of
from mlkit.cli.catalogue import COMMANDS

ROOT = Path(__file__).parents[2]
FAKE = f"{shlex.quote(sys.executable)} -m tests.support.fake_server --port {{port}}"


def started(mlkit: CommandLine, *arguments: str) -> subprocess.Popen[str]:
    environ = {**mlkit.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [PROGRAM, "serve", *arguments],
        env=environ,
        cwd=mlkit.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def document(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The one JSON document on stdout, while the process goes on."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            break
    assert text, process.stderr and process.stderr.read()
    found: dict[str, Any] = json.loads(text)
    return found


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_server_and_says_how(packed: CommandLine, number: signal.Signals, code: int) -> None:
    process = started(packed, "digits:1.2", "--command", FAKE, "--port", "0", "--json")
    with process:
        served = document(process)
        assert is_running(served["pid"])
        process.send_signal(number)
        _, stderr = process.communicate(timeout=30)

    assert process.returncode == code
    assert json.loads(stderr)["error"]["exit"] == code
    assert not is_running(served["pid"])


def test_two_lines_tell_how_to_call_it_and_the_talk_is_elsewhere(packed: CommandLine) -> None:
    process = started(packed, "digits:1.2", "--command", FAKE, "--port", "0")
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, stderr = process.communicate(timeout=30)

    assert re.fullmatch(r"curl -s http://127\.0\.0\.1:\d+/\n", line)
    assert rest == ""
    assert "| loading None" in stderr
    assert "serving digits:1.2 at http://127.0.0.1:" in stderr
    assert "custom: custom was asked for" in stderr


def test_a_server_that_dies_is_exit_12_with_its_last_words(packed: CommandLine) -> None:
    done = packed.process(
        "serve",
        "digits:1.2",
        "--command",
        f"{FAKE} --die-after 0",
        "--port",
        "0",
        "--json",
        env={"PYTHONPATH": str(ROOT)},
    )

    assert (done.code, done.stdout) == (12, "")
    assert done.error["code"] == "E_PROGRAM"
    assert "CUDA out of memory" in done.error["message"]


def test_a_kit_whose_weights_no_server_reads_is_exit_3(packed: CommandLine) -> None:
    done = packed("serve", "digits:1.2")

    assert done.code == 3
    assert "no model that a server could read is in this kit" in done.stderr


class Digits:
    """The digits example, packed and served."""

    def __init__(self, project: Path, served: dict[str, Any]) -> None:
        self.project = project
        self.served = served

    def post(self, path: str, value: object) -> Any:
        request = urllib.request.Request(
            self.served["url"] + path, json.dumps(value).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.served["url"] + path, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def digits_served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Digits]:
    pytest.importorskip("kserve", reason="mlkit[onnx] is not installed")
    home = tmp_path_factory.mktemp("home")
    mlkit = CommandLine(home, home)
    subprocess.run([PROGRAM, "pack", trained, "-t", "digits:1.2", "-q"], env=mlkit.environ, check=True)
    example = declaration_of(COMMANDS["serve"]).example.replace("8080", "0")  # type: ignore[arg-type]
    process = started(mlkit, *shlex.split(example)[2:], "--json")
    with process:
        yield Digits(trained, document(process))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert os.listdir(home / "store/.mlkit/serve") == []


def test_digits_are_predicted_over_http_as_the_training_script_predicted_them(digits_served: Digits) -> None:
    import numpy
    import pyarrow.parquet
    from safetensors.numpy import load_file

    table = pyarrow.parquet.read_table(digits_served.project / "data/test.parquet")
    labels = table.column("label").to_numpy()
    pixels = numpy.stack([table.column(name).to_numpy() for name in table.column_names if name != "label"], axis=1)

    tensor = {"name": "pixels", "shape": list(pixels.shape), "datatype": "FP32", "data": pixels.ravel().tolist()}
    answer = digits_served.post("/v2/models/digits/infer", {"id": "7", "inputs": [tensor]})

    outputs = {output["name"]: output for output in answer["outputs"]}
    predicted = numpy.array(outputs["label"]["data"])
    metrics = json.loads((digits_served.project / "metrics.json").read_text())
    assert answer["id"] == "7"
    assert round(float((predicted == labels).mean()), 4) == metrics["accuracy"]
    weights = load_file(digits_served.project / "model/digits.safetensors")
    values = pixels
    for number in range(len(weights) // 2):
        values = values @ weights[f"layers.{number}.weight"] + weights[f"layers.{number}.bias"]
        values = numpy.maximum(values, 0) if number < len(weights) // 2 - 1 else values
    assert predicted.tolist() == values.argmax(axis=1).tolist()


def test_the_server_tells_what_its_model_takes(digits_served: Digits) -> None:
    told = digits_served.get("/v2/models/digits")

    assert told["inputs"] == [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]
    assert [output["name"] for output in told["outputs"]] == ["label", "probabilities"]
    assert digits_served.get("/v2/models/digits/ready")["ready"] is True


def test_the_printed_command_gets_an_answer(digits_served: Digits) -> None:
    look, ask = digits_served.served["call"]

    assert look == f"curl -s {digits_served.served['url']}/v2/models/digits"
    words = shlex.split(ask)
    answer = digits_served.post("/v2/models/digits/infer", json.loads(words[words.index("-d") + 1]))
    assert len(answer["outputs"][0]["data"]) == 1


def test_what_is_served_is_told_whole(digits_served: Digits) -> None:
    served = digits_served.served
    check_report("serve", served)

    assert (served["runtime"], served["model"], served["protocol"]) == ("onnx", "model/digits.onnx", "v2")
    assert served["why"] == "onnx: the kit asks for onnx, and it reads model/digits.onnx, ONNX"
    assert served["version"] == "1.2"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", served["digest"])


@pytest.mark.parametrize(
    "inputs",
    [
        [{"name": "nope", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}],
        [{"name": "pixels", "shape": [1, 63], "datatype": "FP32", "data": [0.0] * 63}],
        [{"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": [0.0]}],
        [{"name": "pixels", "shape": [1, 64], "datatype": "INT64", "data": [0] * 64}],
    ],
    ids=["name", "shape", "length", "type"],
)
def test_a_request_that_the_model_cannot_take_is_the_callers_mistake(
    digits_served: Digits, inputs: list[dict[str, Any]]
) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        digits_served.post("/v2/models/digits/infer", {"inputs": inputs})

    assert caught.value.code == 400
    caught.value.close()


def test_the_server_listens_on_loopback_alone(digits_served: Digits) -> None:
    port = int(digits_served.served["url"].rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] if Path("/proc/net/tcp").exists() else []
    listening = [
        line.split()[1] for line in lines if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]

    assert listening in ([f"0100007F:{port:04X}"], [])
