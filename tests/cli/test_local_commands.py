"""The commands that need no registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.cli import CommandLine

DIGEST = r"sha256:[0-9a-f]{64}"


def test_pack_prints_the_digest_alone_and_the_summary_beside_it(mlkit: CommandLine) -> None:
    done = mlkit.ok("pack", ".", "-t", "digits:1.2")

    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("sha256:")
    assert done.stderr.startswith("packed digits:1.2: 5 files in ")


def test_pack_gives_every_name_that_was_asked_for(mlkit: CommandLine) -> None:
    done = mlkit.ok("pack", ".", "-t", "digits:1.2,stable", "-t", "other:x", "--json")

    assert done.json["references"] == ["digits:1.2", "digits:stable", "other:x"]
    assert done.stderr == ""
    assert [kit["reference"] for kit in mlkit.ok("list", "--json").json] == ["digits:1.2", "digits:stable", "other:x"]


def test_pack_without_a_name_keeps_the_kit_under_its_digest(mlkit: CommandLine) -> None:
    digest = mlkit.ok("pack", ".").stdout.strip()

    assert mlkit.ok("list", "--json").json == []
    assert mlkit.ok("inspect", f"digits@{digest}", "--json").json["digest"] == digest


def test_pack_twice_gives_the_same_digest(mlkit: CommandLine) -> None:
    assert mlkit.ok("pack", ".", "-t", "a:1").stdout == mlkit.ok("pack", ".", "-t", "b:1").stdout


def test_a_dry_run_of_pack_shows_the_plan_and_writes_nothing(mlkit: CommandLine) -> None:
    text = mlkit.ok("pack", ".", "-t", "digits:1.2", "--dry-run").stdout
    plan = mlkit.ok("pack", ".", "-t", "digits:1.2", "--dry-run", "--json").json

    assert text.splitlines()[0].split() == ["ENTRY", "KIND", "FILES", "SIZE", "PATH"]
    assert text.splitlines()[-1].startswith("5 files in ")
    assert plan["dry_run"] is True
    assert plan["files"] == 5
    assert "model/weights.safetensors" in {file["path"] for layer in plan["layers"] for file in layer["files"]}
    assert mlkit.ok("list", "--json").json == []


def test_pack_reads_a_kitfile_from_stdin(mlkit: CommandLine) -> None:
    kitfile = 'manifestVersion: "1.0.0"\ndocs:\n  - path: README.md\n'

    mlkit.ok("pack", ".", "-f", "-", "-t", "docs:1", input=kitfile)

    assert [file["path"] for file in mlkit.ok("files", "docs:1", "--json").json] == ["README.md"]


def test_pack_without_a_kitfile_makes_one_and_says_so(mlkit: CommandLine) -> None:
    (mlkit.cwd / "Kitfile").unlink()

    told = mlkit.ok("pack", ".", "-t", "digits:1")
    asked = mlkit.ok("pack", ".", "-t", "digits:1", "--json")

    assert "no Kitfile here" in told.stderr
    assert asked.json["generated"].startswith("# yaml-language-server")
    assert all("warning" in json.loads(line) for line in asked.stderr.splitlines())


def test_pack_without_a_kitfile_says_what_it_was_unsure_of_and_left_out(mlkit: CommandLine) -> None:
    (mlkit.cwd / "Kitfile").unlink()
    (mlkit.cwd / "id_rsa").write_text("a key")
    (mlkit.cwd / "model/weights.safetensors").write_text("no header")

    told = mlkit.ok("pack", ".", "-t", "digits:1").stderr
    planned = mlkit.ok("pack", ".", "--dry-run", "--json")

    assert "id_rsa: left out, looks like a credential" in told
    unsure, left_out = planned.json["notes"]
    assert unsure.startswith("model/weights.safetensors: its header as safetensors is not read")
    assert left_out == "id_rsa: left out, looks like a credential"
    assert "id_rsa" in planned.stderr


def test_a_pack_without_a_kitfile_takes_no_token_no_password_and_no_half_file_along(mlkit: CommandLine) -> None:
    (mlkit.cwd / "Kitfile").unlink()
    (mlkit.cwd / "conf").mkdir()
    (mlkit.cwd / "conf/secrets.yaml").write_text(f"github: ghp_{'aB3dE9' * 6}\n")
    (mlkit.cwd / "prod.env").write_text("DB_PASSWORD=hunter2\n")
    (mlkit.cwd / "model/weights.safetensors.tmp").write_bytes(bytes(9))

    told = mlkit.ok("pack", ".", "-t", "digits:1").stderr
    mlkit.ok("unpack", "digits:1", "-d", "out")

    assert (mlkit.cwd / "out/model").is_dir()
    for path in ("conf/secrets.yaml", "prod.env", "model/weights.safetensors.tmp"):
        assert not (mlkit.cwd / "out" / path).exists()
    assert "conf/secrets.yaml: left out, holds what looks like an access token" in told
    assert "prod.env: left out" in told


def test_a_pack_without_a_kitfile_that_would_take_a_secret_along_is_refused(mlkit: CommandLine) -> None:
    (mlkit.cwd / "Kitfile").unlink()
    (mlkit.cwd / "many").mkdir()
    for number in range(1100):
        (mlkit.cwd / f"many/{number}.py").touch()
    (mlkit.cwd / "many/secret.py").write_text(f"login('ghp_{'aB3dE9' * 6}')\n")

    refused = mlkit("pack", ".", "-t", "digits:1")

    assert refused.code == 2
    assert "many/secret.py" in refused.stderr


def test_the_store_is_not_packed_into_itself(mlkit: CommandLine) -> None:
    inside = {"MLKIT_HOME": str(mlkit.cwd / "src/store")}
    mlkit.ok("pack", ".", "-t", "digits:1", env=inside)

    done = mlkit("pack", ".", "-t", "digits:2", "--json", env=inside)
    (mlkit.cwd / ".kitignore").write_text("src/store\n")

    assert done.error["exit"] == 2
    assert "belongs to the store of mlkit" in done.error["message"]
    mlkit.ok("pack", ".", "-t", "digits:2", env=inside)


def test_a_kitfile_that_is_a_directory_is_a_usage_error(mlkit: CommandLine) -> None:
    assert mlkit("pack", ".", "-f", "src", "--json").error["exit"] == 2


def test_quiet_leaves_the_product_alone(mlkit: CommandLine) -> None:
    done = mlkit.ok("pack", ".", "-t", "digits:1.2", "--quiet")

    assert done.stdout.startswith("sha256:")
    assert done.stderr == ""


def test_annotations_reach_the_manifest(mlkit: CommandLine) -> None:
    mlkit.ok("pack", ".", "-t", "digits:1.2", "--annotation", "team=vision", "--annotation", "note=a=b")

    annotations = mlkit.ok("inspect", "digits:1.2", "--json").json["annotations"]
    assert (annotations["team"], annotations["note"]) == ("vision", "a=b")


def test_list_of_an_empty_store_is_its_headings(mlkit: CommandLine) -> None:
    assert mlkit.ok("list").stdout == "REFERENCE  VERSION  SIZE  DIGEST  CREATED\n"
    assert mlkit.ok("list", "--json").json == []


def test_list_shows_a_table_that_fits_80_columns(packed: CommandLine) -> None:
    lines = packed.ok("list").stdout.splitlines()

    assert lines[0].split() == ["REFERENCE", "VERSION", "SIZE", "DIGEST", "CREATED"]
    assert lines[1].startswith("digits:1.2")
    assert max(map(len, lines)) <= 80


def test_list_filters_and_sorts(packed: CommandLine) -> None:
    packed.ok("tag", "digits:1.2", "digits:9", "letters:1")
    (packed.cwd / "data/test.csv").write_text("a,b\n" * 1000)
    packed.ok("pack", ".", "-t", "digits:big")

    def names(*flags: str) -> list[str]:
        return [kit["reference"] for kit in packed.ok("list", *flags, "--json").json]

    assert names() == ["digits:1.2", "digits:9", "digits:big", "letters:1"]
    assert names("digits") == ["digits:1.2", "digits:9", "digits:big"]
    assert names("--filter", "*:[0-9]*") == ["digits:1.2", "digits:9", "letters:1"]
    assert names("--sort", "size")[0] == "digits:big"
    assert set(names("--sort", "created")) == set(names("--sort", "version")) == set(names())


def test_a_pattern_of_names_goes_across_components_and_one_that_cannot_be_read_is_exit_2(packed: CommandLine) -> None:
    packed.ok("tag", "digits:1.2", "team/vision/digits:1.2")

    def shown(pattern: str) -> list[str]:
        return [kit["reference"] for kit in packed.ok("list", "--filter", pattern, "--json").json]

    assert shown("team/*:1.[0-9]") == ["team/vision/digits:1.2"]
    assert shown("*digits:1.?") == ["digits:1.2", "team/vision/digits:1.2"]
    done = packed("list", "--filter", "digits:[1")
    assert (done.code, "--filter 'digits:[1': a [ without its ]" in done.stderr) == (2, True)


def test_list_puts_version_9_before_version_10(mlkit: CommandLine) -> None:
    kitfile = (mlkit.cwd / "Kitfile").read_text()
    for version in ("1.10", "1.9", "2.0", "2.0-rc1"):
        (mlkit.cwd / "Kitfile").write_text(kitfile.replace('version: "1.2"', f'version: "{version}"'))
        mlkit.ok("pack", ".", "-t", f"digits:{version}", "--quiet")

    listed = mlkit.ok("list", "--sort", "version", "--json").json

    assert [kit["version"] for kit in listed] == ["1.9", "1.10", "2.0", "2.0-rc1"]


def test_list_takes_one_tag(packed: CommandLine) -> None:
    packed.ok("tag", "digits:1.2", "digits:9")

    assert [kit["reference"] for kit in packed.ok("list", "digits:9", "--json").json] == ["digits:9"]


@pytest.mark.parametrize("name", ["letters", "digits:8", "localhost:5000"])
def test_list_of_what_is_not_there_is_exit_3(packed: CommandLine, name: str) -> None:
    done = packed("list", name, "--json")

    assert (done.code, done.stdout) == (3, "")
    assert name in done.error["message"]


@pytest.mark.parametrize("damage", [Path.unlink, lambda blob: blob.write_bytes(b"{}")], ids=["gone", "damaged"])
def test_list_shows_the_other_kits_beside_one_that_cannot_be_read(
    packed: CommandLine, damage: Callable[[Path], object]
) -> None:
    (packed.cwd / "README.md").write_text("# More digits\n")
    digest = packed.ok("pack", ".", "-t", "digits:1.3").stdout.strip()
    blob = packed.home / "store/blobs" / digest.replace(":", "/")
    blob.chmod(0o600)
    damage(blob)

    text = packed.ok("list")
    listed = {kit["reference"]: kit for kit in packed.ok("list", "--json").json}

    assert text.stdout.splitlines()[2].split()[:3] == ["digits:1.3", "-", "unreadable"]
    assert text.stderr.startswith("warning: digits:1.3: cannot be read: ")
    assert listed["digits:1.2"]["problem"] is None
    assert (listed["digits:1.3"]["digest"], listed["digits:1.3"]["size"]) == (digest, None)
    assert listed["digits:1.3"]["problem"]


def test_inspect_shows_entries_layers_and_what_is_local(packed: CommandLine) -> None:
    text = packed.ok("inspect", "digits:1.2").stdout
    found = packed.ok("inspect", "digits:1.2", "--json").json

    assert max(map(len, text.splitlines())) <= 82  # the whole digest stands on a line of its own
    assert "ENTRY" in text
    assert "model/weights.safetensors" in text
    assert found["is_kit"] is True
    assert found["source"] == "local"
    assert found["is_partial"] is False
    assert all(layer["is_local"] for layer in found["layers"])
    assert {entry["id"]: entry["version"] for entry in found["entries"]}["datasets[1]"] == "2"
    assert found["manifest"]["schemaVersion"] == 2


def test_info_prints_the_kitfile_as_packed_and_stays_a_kitfile(packed: CommandLine) -> None:
    kitfile = (packed.cwd / "Kitfile").read_text()

    text = packed.ok("info", "digits:1.2").stdout

    assert text.startswith(kitfile.rstrip())
    (packed.cwd / "Kitfile").write_text(text)
    packed.ok("pack", ".", "-t", "digits:again")


@pytest.mark.parametrize(
    ("address", "text", "value"),
    [
        ("datasets[0].path", "data/train.csv\n", "data/train.csv"),
        ("package.version", "1.2\n", "1.2"),
        ("docs", '[\n  {\n    "path": "README.md"\n  }\n]\n', [{"path": "README.md"}]),
    ],
)
def test_info_prints_a_part(packed: CommandLine, address: str, text: str, value: object) -> None:
    assert packed.ok("info", "digits:1.2", "--filter", address).stdout == text
    assert packed.ok("info", "digits:1.2", "--filter", address, "--json").json == value


def test_info_of_a_part_that_is_not_there_is_exit_3(packed: CommandLine) -> None:
    assert packed("info", "digits:1.2", "--filter", "datasets[7].path", "--json").error["exit"] == 3


def test_files_lists_sizes_digests_and_paths(packed: CommandLine) -> None:
    listed = packed.ok("files", "digits:1.2", "--json").json
    text = packed.ok("files", "digits:1.2")

    assert {file["path"]: file["size"] for file in listed}["model/weights.safetensors"] == 2000
    assert text.stdout.splitlines()[0].split() == ["SIZE", "DIGEST", "LAYER", "PATH"]
    assert text.stderr.startswith("5 files, ")


def test_files_takes_filters(packed: CommandLine) -> None:
    listed = packed.ok("files", "digits:1.2", "--filter", "datasets:train", "--json").json

    assert [file["path"] for file in listed] == ["data/train.csv"]


def test_a_filter_that_matches_nothing_is_exit_3(packed: CommandLine) -> None:
    assert packed("files", "digits:1.2", "--filter", "datasets:nothing", "--json").error["exit"] == 3


def test_cat_writes_the_bytes_of_one_file(packed: CommandLine) -> None:
    assert packed.ok("cat", "digits:1.2", "data/test.csv").stdout == "a,b\n3,4\n"


def test_cat_of_a_file_that_is_not_there_is_exit_3_and_nothing_on_stdout(packed: CommandLine) -> None:
    done = packed("cat", "digits:1.2", "data/other.csv")

    assert (done.code, done.stdout) == (3, "")


def test_unpack_gives_the_files_back(packed: CommandLine, tmp_path: Path) -> None:
    done = packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out")

    assert "data/train.csv" in done.stdout.splitlines()
    assert done.stderr.startswith("unpacked digits:1.2 into ")
    for path in ("Kitfile", "data/train.csv", "model/weights.safetensors", "src/train.py"):
        assert (tmp_path / "out" / path).read_bytes() == (packed.cwd / path).read_bytes()


def test_unpack_of_many_files_tells_them_by_entry_and_all_of_them_when_asked(
    packed: CommandLine, tmp_path: Path
) -> None:
    for number in range(18):
        (packed.cwd / f"src/{number:02}.py").write_text("a,b\n")
    with (packed.cwd / "Kitfile").open("a") as kitfile:
        kitfile.write("prompts: [{path: src/07.py}]\n")
    packed.ok("pack", ".", "-t", "digits:many")

    done = packed.ok("unpack", "digits:many", "-d", "many")
    far = packed.ok("unpack", "digits:many", "-d", "f" * 200)
    whole = packed.ok("unpack", "digits:many", "-d", "whole", "-v")
    document = packed.ok("unpack", "digits:many", "-d", "again", "--json").json

    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["ENTRY", "PATH", "FILES", "SIZE"]
    assert ["code[0]", "src", "18", "83", "B"] in rows
    assert ["prompts[0]", "src/07.py", "1", "4", "B"] in rows
    assert rows[-1][:3] == ["all", "many", "24"]
    assert rows[-2][:3] == ["-", ".", "1"], "the Kitfile"
    assert max(map(len, far.stdout.splitlines())) <= 80
    assert len(whole.stdout.splitlines()) == len(document["files"]) == 24
    assert sum(entry["files"] for entry in document["entries"]) == 24
    assert sum(entry["size"] for entry in document["entries"]) == document["size"]


def test_unpack_of_a_part_writes_that_part(packed: CommandLine, tmp_path: Path) -> None:
    done = packed.ok("unpack", "digits:1.2", "-d", tmp_path / "out", "--filter", "datasets", "--json")

    assert sorted(done.json["files"]) == ["data/test.csv", "data/train.csv"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data"}


def test_unpack_over_existing_files_is_a_conflict_unless_told_otherwise(packed: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed.ok("unpack", "digits:1.2", "-d", out)
    (out / "README.md").write_text("mine")

    refused = packed("unpack", "digits:1.2", "-d", out, "--json")
    assert refused.error["exit"] == 9
    packed.ok("unpack", "digits:1.2", "-d", out, "--ignore-existing")
    assert (out / "README.md").read_text() == "mine"
    packed.ok("unpack", "digits:1.2", "-d", out, "--overwrite")
    assert (out / "README.md").read_text() == "# Digits\n"


def test_tag_and_remove_change_names_only(packed: CommandLine) -> None:
    tagged = packed.ok("tag", "digits:1.2", "digits:stable,latest")
    assert tagged.stdout == "digits:stable\ndigits:latest\n"

    removed = packed.ok("remove", "digits:1.2")
    assert removed.stdout.startswith("sha256:")
    assert [kit["reference"] for kit in packed.ok("list", "--json").json] == ["digits:latest", "digits:stable"]


def test_removing_what_is_not_there_is_exit_3(mlkit: CommandLine) -> None:
    assert mlkit("remove", "digits:1.2", "--json").error["code"] == "E_NOTFOUND"


def test_prune_frees_what_no_name_reaches(packed: CommandLine) -> None:
    packed.ok("remove", "digits:1.2")

    rehearsed = packed.ok("prune", "--grace", "0", "--dry-run", "--json").json
    freed = packed.ok("prune", "--grace", "0", "--json").json
    again = packed.ok("prune", "--grace", "0", "--json").json

    assert rehearsed["dry_run"] is True
    assert freed["freed_bytes"] == rehearsed["freed_bytes"] > 2000
    assert freed["removed"] == rehearsed["removed"]
    assert again == {"removed": [], "partials": [], "freed_bytes": 0, "young_bytes": 0, "dry_run": False}


def test_diff_is_exit_1_and_says_what_differs(packed: CommandLine) -> None:
    kitfile = packed.cwd / "Kitfile"
    kitfile.write_text(kitfile.read_text().replace('version: "6"', 'version: "7"'))
    (packed.cwd / "data/test.csv").write_text("a,b\n3,4\n5,6\n")
    packed.ok("pack", ".", "-t", "digits:1.3")

    told = packed("diff", "digits:1.2", "local://digits:1.3")
    asked = packed("diff", "digits:1.2", "digits:1.3", "--json")

    assert told.code == asked.code == 1
    assert told.stderr == asked.stderr == ""
    assert "~ data/test.csv (+4 B)" in told.stdout
    assert asked.json["is_same"] is False
    assert asked.json["changed"] == [{"path": "data/test.csv", "before": 8, "after": 12, "delta": 4}]
    assert [(entry["before"], entry["after"]) for entry in asked.json["entries"]] == [("6", "7")]


def test_diff_of_a_kit_with_itself_is_exit_0(packed: CommandLine) -> None:
    assert packed.ok("diff", "digits:1.2", "digits:1.2").stdout == "the kits are the same\n"
    assert packed.ok("diff", "digits:1.2", "digits:1.2", "--json").json["is_same"] is True


@pytest.mark.parametrize("command", ["inspect", "info", "files", "unpack", "remove"])
def test_a_reference_that_is_not_there_is_exit_3_with_what_is_near(packed: CommandLine, command: str) -> None:
    done = packed(command, "digits:2", "--json")

    assert done.code == done.error["exit"] == 3
    assert "1.2" in done.error["message"]


@pytest.mark.parametrize("flags", [["--json", "list"], ["list", "--json"], ["--json", "list", "--json"]], ids=" ".join)
def test_general_flags_stand_before_or_after_the_command(packed: CommandLine, flags: list[str]) -> None:
    assert [kit["reference"] for kit in packed.ok(*flags).json] == ["digits:1.2"]


def test_the_quiet_flag_before_the_command_counts(mlkit: CommandLine) -> None:
    assert mlkit.ok("-q", "pack", ".", "-t", "digits:1.2").stderr == ""


def test_no_colour_and_no_bars_reach_a_file(mlkit: CommandLine) -> None:
    done = mlkit.ok("pack", ".", "-t", "digits:1.2", "-v", "--progress", "plain")

    assert "\x1b" not in done.stdout + done.stderr
