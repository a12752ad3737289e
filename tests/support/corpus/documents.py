"""Section B: manifests, configs and indexes that lie; and stores whose files are not what they should be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.support.corpus.case import NAME, Case, World, descriptor, digest_of, put_blob, put_manifest, write_index
from tests.support.corpus.kits import UNPACK, Change, kit, layer, raw_kit

BROKEN = frozenset({4})
REFUSED = frozenset({3, 4, 5, 10, 11})
STORE = frozenset({2, 3, 4, 9, 10, 11})

DIGESTS: tuple[Any, ...] = (
    "sha256:../../../etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256-" + "a" * 64,
    "SHA256:" + "a" * 64, "md5:" + "a" * 32, "sha1:" + "a" * 40, "", "sha256:" + "a" * 64 + "\n", "sha256:%61" + "a" * 61,
    "sha256:", ":", "sha256:" + "g" * 64, 7, None, ["sha256:" + "a" * 64], "sha384:" + "a" * 96, "sha256:" + "а" * 64,
)  # fmt: skip
MALFORMED_SIZES: tuple[Any, ...] = (-1, 1e3, "12", 2**63, True, None, [], 10**30, 0, 1)
TEXTS = {
    "B07 a name twice": lambda raw: raw.replace(b'"schemaVersion": 2', b'"schemaVersion": 2, "schemaVersion": 2'),
    "B07 layers twice": lambda raw: raw[:-1] + b', "layers": []}',
    "B07 a digest twice": lambda raw: raw.replace(b'"digest"', b'"digest": "sha256:0", "digest"', 1),
    "B08 a byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "B08 UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "B08 UTF-32": lambda raw: raw.decode().encode("utf-32"),
    "B08 no UTF-8": lambda raw: raw.replace(b"model.bin", b"model\xff.b"),
    "B08 NaN": lambda raw: raw[:-1] + b', "x": NaN}',
    "B08 Infinity": lambda raw: raw[:-1] + b', "x": -Infinity}',
    "B08 a number of 5,000 digits": lambda raw: raw[:-1] + b', "x": ' + b"9" * 5000 + b"}",
    "B08 a lone surrogate": lambda raw: raw[:-1] + b', "x": "\\ud800"}',
    "B08 more behind it": lambda raw: raw + b"{}",
    "B08 a comment": lambda raw: raw + b"// done",
    "B08 NUL behind it": lambda raw: raw + b"\0",
    "B08 a trailing comma": lambda raw: raw[:-1] + b",}",
    "B08 single quotes": lambda raw: raw.replace(b'"', b"'"),
    "B08 nothing": lambda raw: b"",
    "B08 a list": lambda raw: b"[" + raw + b"]",
    "B08 a text": lambda raw: b'"manifest"',
    "B09 200,000 levels": lambda raw: raw[:-1] + b', "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "B09 levels without an end": lambda raw: b'{"a":' * 400_000,
    "B09 four megabytes and one": lambda raw: raw[:-1] + b" " * ((4 << 20) + 1 - len(raw)) + b"}",
    "B09 a million annotations": lambda raw: raw[:-1] + b', "annotations": {' + b",".join(b'"%d":""' % n for n in range(300_000)) + b"}}",
}  # fmt: skip


def cases() -> Iterator[Case]:
    """All of them."""
    yield Case("control a good kit", _changed(lambda manifest: None), frozenset({0}), keeps=False)
    for digest in DIGESTS:
        yield Case(f"B01 a layer called {digest!r:.60}", _changed(_set("layers", "digest", digest)), REFUSED)
        yield Case(f"B01 a config called {digest!r:.60}", _changed(_set("config", "digest", digest)), REFUSED)
    for size in MALFORMED_SIZES:
        yield Case(f"B03 a layer of {size!r:.40} bytes", _changed(_set("layers", "size", size)), REFUSED)
        yield Case(f"B03 a config of {size!r:.40} bytes", _changed(_set("config", "size", size)), REFUSED)
    for name, spoil in TEXTS.items():
        yield Case(
            name, _spoiled(spoil), REFUSED | {0} if "annotations" in name else REFUSED, keeps="annotations" not in name
        )
        yield Case(f"{name}, inspected", _inspected(spoil), REFUSED | {0, 2})
    yield from _shapes()
    yield from _contents()
    yield from _stores()


def _changed(change: Change) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        kit(world, [layer(world, b"weights", "raw", "model.bin")], change=change)
        return UNPACK

    return make


def _spoiled(spoil: Callable[[bytes], bytes]) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        one = layer(world, b"weights", "raw", "model.bin")
        kit(world, [one], render=lambda value: spoil(json.dumps(value).encode()))
        return UNPACK

    return make


def _inspected(spoil: Callable[[bytes], bytes]) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        _spoiled(spoil)(world)
        return ("inspect", NAME)

    return make


def _set(section: str, key: str, value: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        target = manifest[section][0] if section == "layers" else manifest[section]
        target[key] = value

    return change


def _shapes() -> Iterator[Case]:
    changes: dict[str, Change] = {
        "B05 manifest and index at once": lambda value: value.update(manifests=[]),
        "B05 an index with a config": lambda value: value.update(mediaType="application/vnd.oci.image.index.v1+json"),
        "B06 another media type": lambda value: value.update(mediaType="text/plain"),
        "B06 a Docker media type": lambda value: value.update(mediaType="application/vnd.docker.distribution.manifest.v1+json"),
        "B10 schema version 1": lambda value: value.update(schemaVersion=1),
        "B10 schema version 3": lambda value: value.update(schemaVersion=3),
        "B10 schema version of text": lambda value: value.update(schemaVersion="2"),
        "B11 one digest, two sizes": lambda value: value["layers"].append({**value["layers"][0], "size": 8}),
        "B11 5,000 layers": lambda value: value.update(layers=value["layers"] * 5000),
        "B12 the config as a layer": lambda value: value["layers"].append({**value["config"], "annotations": value["layers"][0]["annotations"]}),
        "B14 data that is not the layer": lambda value: value["layers"][0].update(data="b3RoZXI="),
        "B14 data that is no base64": lambda value: value["layers"][0].update(data="!!!"),
        "B14 data of the wrong size": lambda value: value["config"].update(data="e30="),
        "B17 a container image": lambda value: value.update(artifactType=None, config={**value["config"], "mediaType": "application/vnd.oci.image.config.v1+json"}),
        "B17 a Helm chart": lambda value: value.update(artifactType="application/vnd.cncf.helm.config.v1+json", config={**value["config"], "mediaType": "application/vnd.cncf.helm.config.v1+json"}),
        "B17 nobody's": lambda value: value.update(artifactType="application/x.y", config={**value["config"], "mediaType": "application/x.y"}),
        "B18 a layer too many": lambda value: value["layers"].append({**value["config"], "mediaType": value["layers"][0]["mediaType"]}),
        "B18 no layers": lambda value: value.update(layers=[]),
        "B18 layers in an object": lambda value: value.update(layers={}),
        "B18 no config": lambda value: value.pop("config"),
        "B18 a config in a list": lambda value: value.update(config=[]),
        "B18 annotations in a list": lambda value: value["layers"][0].update(annotations=[]),
        "B18 an annotation that is a number": lambda value: value["layers"][0].update(annotations={"x": 1}),
        "B18 a media type that is a number": lambda value: value["layers"][0].update(mediaType=1),
        "B18 a media type of 1 MB": lambda value: value["layers"][0].update(mediaType="x" * (1 << 20)),
        "B18 no media type": lambda value: value["layers"][0].pop("mediaType"),
    }  # fmt: skip
    for name, change in changes.items():
        yield Case(name, _changed(change), REFUSED | {2})
    configs: dict[str, Change] = {
        "B18 more diff ids than layers": lambda value: value["modelfs"]["diffIds"].append(digest_of(b"x")),
        "B18 no diff ids": lambda value: value["modelfs"].update(diffIds=[]),
        "B18 diff ids that are paths": lambda value: value["modelfs"].update(diffIds=["../x"]),
        "B18 diff ids in an object": lambda value: value["modelfs"].update(diffIds={}),
    }
    for name, change in configs.items():
        yield Case(name, _configured(change), REFUSED)
    escapes = "\x1b[31mred\x1b[0m \u202e evil [bold]x[/bold] [link=http://x]y[/link]"
    for command in ("inspect", "info", "files"):
        yield Case(f"B19 escapes and markup, {command}", _adorned(command, escapes), frozenset({0, 4, 5}))
    for urls in (["http://169.254.169.254/latest"], ["file:///etc/passwd"], ["http://127.0.0.1:1/x"] * 100):
        yield Case(f"B13 {urls[0]}", _elsewhere(urls), REFUSED)


def _configured(change: Change) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        kit(world, [layer(world, b"weights", "raw", "model.bin")], change_config=change)
        return UNPACK

    return make


def _adorned(command: str, text: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        def change(manifest: dict[str, Any]) -> None:
            names = (
                "org.opencontainers.image.title",
                "org.opencontainers.image.description",
                "org.opencontainers.image.version",
            )
            manifest["annotations"] = dict.fromkeys(names, text) | {text: text, "long": "x" * (1 << 20)}

        kit(world, [layer(world, b"weights", "raw", "model.bin")], change=change)
        return (command, NAME)

    return make


def _elsewhere(urls: list[str]) -> Callable[[World], Sequence[str]]:
    """The layer is not there, and says where else it would be."""

    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        found = {**descriptor(b"not stored", "application/vnd.cncf.model.weight.v1.raw"), "urls": urls}
        found["annotations"] = {"org.cncf.model.filepath": "model.bin"}
        kit(world, [found])
        return UNPACK

    return make


def _contents() -> Iterator[Case]:
    def wrong(content: bytes) -> Callable[[World], Sequence[str]]:
        def make(world: World) -> Sequence[str]:
            found = raw_kit(world)
            (world.store / "blobs/sha256" / found["digest"][7:]).write_bytes(content)
            return UNPACK

        return make

    for name, content in {
        "other bytes": b"WEIGHTS",
        "nothing": b"",
        "one byte less": b"weight",
        "one byte more": b"weightss",
        "much more": b"weights" * 100_000,
    }.items():
        yield Case(f"B04 a layer with {name}", wrong(content), REFUSED, heals=True)

    def other_manifest(world: World) -> Sequence[str]:
        raw_kit(world)
        (blob,) = [path for path in (world.store / "blobs/sha256").iterdir() if b"schemaVersion" in path.read_bytes()]
        blob.write_bytes(blob.read_bytes().replace(b"model.bin", b"other.bin"))
        return UNPACK

    yield Case("B04 a manifest with other bytes", other_manifest, REFUSED, heals=True)

    def nested(depth: int) -> Callable[[World], Sequence[str]]:
        def make(world: World) -> Sequence[str]:
            raw = b'{"schemaVersion":2,"manifests":[]}'
            kind = "application/vnd.oci.image.index.v1+json"
            for _ in range(depth):
                put_blob(world, raw)
                raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [descriptor(raw, kind)]}).encode()
            put_manifest(world, raw, media_type=kind)
            return UNPACK

        return make

    for depth in (5, 100):
        yield Case(f"B16 an index {depth} deep", nested(depth), REFUSED | {2})


def _stores() -> Iterator[Case]:
    indexes = {
        "empty": "",
        "cut": '{"schemaVersion": 2, "manifests": [',
        "a list": "[]",
        "a text": '"x"',
        "manifests in an object": '{"schemaVersion": 2, "manifests": {}}',
        "a manifest that is a text": '{"schemaVersion": 2, "manifests": ["x"]}',
        "a name twice": '{"schemaVersion": 2, "manifests": [], "manifests": []}',
        "deep": "[" * 100_000,
        "NUL": "\0" * 100,
    }
    for name, text in indexes.items():
        for command in (UNPACK, ("list",), ("tag", NAME, "other:1")):
            yield Case(f"B22 an index.json that is {name}, {command[0]}", _indexed(text, command), STORE)
    for name in ("../../x", "a:b:c", "", "x" * 300, "\x1b[31m", "a b", "team/kit", "-rf", "team/kit:1\n"):
        yield Case(f"B20 a name {name!r:.40}", _named(name), frozenset({0, 3, 4, 10}))
    yield Case("B20 two kits of one name", _doubled, frozenset({4, 9, 10}))
    for name, spoil in _SPECIAL.items():
        yield Case(f"B21 a blob that is {name}", _special_blob(spoil), REFUSED, heals=True)
        yield Case(f"B22 an index.json that is {name}", _special_index(spoil), STORE)
    for text in ("", "{}", '{"imageLayoutVersion":"2.0.0"}', "[]", "x" * 5000):
        yield Case(f"B22 an oci-layout that is {text!r:.40}", _layout_file(text), STORE)


def _indexed(text: str, command: Sequence[str]) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        (world.store / "index.json").write_text(text)
        return command

    return make


def _named(name: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        index = json.loads((world.store / "index.json").read_text())
        index["manifests"].append({**index["manifests"][0], "annotations": {"org.opencontainers.image.ref.name": name}})
        write_index(world, index["manifests"])
        return ("list",)

    return make


def _doubled(world: World) -> Sequence[str]:
    raw_kit(world, b"first")
    first = json.loads((world.store / "index.json").read_text())["manifests"]
    raw_kit(world, b"second")
    second = json.loads((world.store / "index.json").read_text())["manifests"]
    write_index(world, [*first, *second])
    return UNPACK


def _special_blob(spoil: Callable[[str], None]) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        found = raw_kit(world)
        blob = world.store / "blobs/sha256" / found["digest"][7:]
        blob.unlink()
        spoil(str(blob))
        return UNPACK

    return make


def _special_index(spoil: Callable[[str], None]) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        (world.store / "index.json").unlink()
        spoil(str(world.store / "index.json"))
        return UNPACK

    return make


def _layout_file(text: str) -> Callable[[World], Sequence[str]]:
    def make(world: World) -> Sequence[str]:
        raw_kit(world)
        (world.store / "oci-layout").write_text(text)
        return UNPACK

    return make


_SPECIAL: dict[str, Callable[[str], None]] = {
    "missing": lambda path: None,
    "a directory": os.mkdir,
    "a pipe": os.mkfifo,
    "a link to a file": lambda path: os.symlink("/etc/passwd", path),
    "a link to nothing": lambda path: os.symlink("/nowhere/x", path),
    "a link to itself": lambda path: os.symlink(os.path.basename(path), path),
    "a device": lambda path: os.symlink("/dev/zero", path),
}
