"""Which class a file most likely belongs to, by its name and its first bytes. Nothing here does I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlkit.archive.glob import matches_stars
from mlkit.packing.file_names import (
    ARCHIVE_SUFFIXES,
    BESIDE_MEDIA,
    BESIDE_WEIGHTS,
    CODE_NAMES,
    CODE_SUFFIXES,
    CONFIG_SUFFIXES,
    DATA_SUFFIXES,
    DEPLOYMENT_NAMES,
    DOC_NAMES,
    DOC_SUFFIXES,
    INDEX_NAMES,
    LICENCE_NAMES,
    MEDIA_SUFFIXES,
    MODEL_CONFIG_NAMES,
    PARAMETER_NAMES,
    PROMPT_NAMES,
    RESULT_NAMES,
    RUNTIMES,
    TOKENIZER_NAMES,
    TRAINING_STATE_NAMES,
)
from mlkit.packing.surroundings import Surroundings, above, directory_hint
from mlkit.spec.media_types import Class
from mlkit.spec.weight_formats import RUNS_CODE, WEIGHT_FORMATS

HEAD_SIZE = 4096
"""Bytes at the beginning of a file that `recognise` can make use of."""

_NOWHERE = Surroundings()
_POINTER = b"version https://git-lfs.github.com/spec/"
_ZIP = b"PK\x03\x04"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # protocols 2 to 5
# The first members that torch.save and torch.jit.save write, each in a directory named after the file.
_TORCH = re.compile(
    rb"PK\x03\x04.{26}[^/\x00]{1,255}/(?:data\.pkl|\.data/|byteorder|version|constants\.pkl|code/|data/\d+FB)",
    re.DOTALL,
)
_DATA_MAGICS = (b"PAR1", b"ARROW1", b"Obj\x01", b"ORC", b"\x93NUMPY")
# ModelProto: ir_version, then producer_name, which every exporter writes, then another of its first fields.
_ONNX = re.compile(rb"\x08[\x01-\x1f]\x12(?P<length>[\x01-\x40])(?P<rest>.{2,65})", re.DOTALL)
_KUBERNETES = re.compile(rb"^apiVersion:.*^kind:|^kind:.*^apiVersion:", re.MULTILINE | re.DOTALL)
_COMPOSE = re.compile(rb"^services:[ \t]*$.*^[ \t]+(?:image|build):", re.MULTILINE | re.DOTALL)
_TF_CHECKPOINT = re.compile(r".+\.(?:index|meta|data-\d{5}-of-\d{5})")
_OTHER_WEIGHTS = re.compile(r".+\.onnx[._-]?data|.+\.onnx\.data|.+\.pdiparams|.+\.pdmodel")


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file seems to be."""

    cls: Class
    doubt: str | None = None
    """Why a person should look, None where the name or the content leaves no doubt."""
    format: str | None = None
    """Of weights."""
    is_licence: bool = False
    type: str | None = None
    """Of a part of the model: `tokenizer`, `config`, `index`, `external-data`, `projector`, `training-state`."""
    whole: str | None = None
    """The directory that is the model, where no file is it by itself."""
    runtime: str | None = None
    """What a deployment file is for."""


def needs_head(path: str, size: int) -> bool:
    """Whether `recognise` wants the first HEAD_SIZE bytes: not of pictures and tables, unless they may be pointers."""
    return size <= HEAD_SIZE or _suffix(_name(path)) not in (*DATA_SUFFIXES, *MEDIA_SUFFIXES)


def recognise(path: str, head: bytes, *, around: Surroundings = _NOWHERE) -> Guess:
    """The class of a file in a tree with these surroundings."""
    if around.in_skill(path):
        return Guess(Class.PROMPTS)
    whole = around.whole_model(path)
    if whole is not None:
        return Guess(Class.MODEL, format=whole[1], whole=whole[0])
    guess = _recognised(path, head, around)
    if head.startswith(_POINTER):
        return Guess(guess.cls, doubt="is a pointer of Git LFS, not the file: run `git lfs pull`", type=guess.type)
    return guess


def _recognised(path: str, head: bytes, around: Surroundings) -> Guess:
    name, suffix, hint = _name(path), _suffix(_name(path)), directory_hint(path)
    if path.endswith(".mcpb"):  # in small letters, as KitOps asks for
        return Guess(Class.MCPSERVERS)
    found = _by_name(name, suffix, hint) or _part_of_model(path, name, around)
    if found is not None:
        return found
    content = content_format(head)
    if suffix in WEIGHT_FORMATS:
        return _weights(name, suffix, hint, content, is_zip=head.startswith(_ZIP))
    if _OTHER_WEIGHTS.fullmatch(name):
        return Guess(Class.MODEL, type="external-data" if "onnx" in name else None)
    if suffix in DATA_SUFFIXES or head.startswith(_DATA_MAGICS):
        return Guess(Class.DATASETS)
    # Anything can begin with two bytes: an unknown file is taken for a pickle where it has no name of its own.
    if content is not None and (content != "pickle" or not suffix):
        return Guess(Class.MODEL, format=content)
    return _by_place(path, name, suffix, hint, head, around)


def _by_place(path: str, name: str, suffix: str, hint: Class | None, head: bytes, around: Surroundings) -> Guess:
    directory = path.rpartition("/")[0]
    if suffix in ("yaml", "yml") and (_KUBERNETES.search(head) or _COMPOSE.search(head)):
        return Guess(Class.DEPLOYMENT, runtime="kserve" if b"serving.kserve.io/" in head else None)
    if directory in around.weights and hint in (None, Class.MODEL):
        if _TF_CHECKPOINT.fullmatch(name):
            return Guess(Class.MODEL, format="checkpoint")
        if suffix in BESIDE_WEIGHTS:
            return Guess(Class.MODEL, doubt=None if hint else "lies beside the weights; taken for a part of the model")
    if directory in around.media and suffix in (MEDIA_SUFFIXES | BESIDE_MEDIA) and hint is not Class.DOCS:
        is_sure = hint is Class.DATASETS
        return Guess(Class.DATASETS, doubt=None if is_sure else "is one of many pictures or recordings; taken for data")
    if hint is not None:
        return Guess(hint)
    return _without_hint(suffix)


def content_format(head: bytes) -> str | None:
    """The format of weights that first bytes tell; None for what has no magic number, a plain ZIP among it."""
    if head.startswith(b"GGUF"):
        return "gguf"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    # The length of the JSON header in eight bytes, little endian, then the header (safetensors, README, "Format").
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000:
        return "safetensors"
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.startswith(b"tree\nversion="):
        return "lightgbm"
    if _TORCH.match(head):
        return "pytorch"
    onnx = _ONNX.match(head)
    if onnx is not None:
        length = onnx["length"][0]
        # domain, model_version, doc_string, graph, opset_import, and the producer's version
        if onnx["rest"][:length].isalnum() and onnx["rest"][length : length + 1] in b"\x1a\x22\x28\x32\x3a\x42":
            return "onnx"
    return "pickle" if head.startswith(_PICKLES) else None


def _by_name(name: str, suffix: str, hint: Class | None) -> Guess | None:
    if _matches(name, LICENCE_NAMES) and suffix not in CODE_SUFFIXES:
        return Guess(Class.DOCS, is_licence=True)
    if _matches(name, PROMPT_NAMES) or (hint is Class.PROMPTS and suffix in ("md", "txt", "yaml", "yml", "json")):
        return Guess(Class.PROMPTS)
    if _matches(name, DOC_NAMES):
        return Guess(Class.DOCS)
    if _matches(name, CODE_NAMES):
        return Guess(Class.CODE)
    if _matches(name, PARAMETER_NAMES) and (suffix in CONFIG_SUFFIXES or name == "training_args.bin"):
        return Guess(Class.PARAMETERS)
    if _matches(name, DEPLOYMENT_NAMES) and suffix not in CODE_SUFFIXES:
        return Guess(Class.DEPLOYMENT, runtime=RUNTIMES.get(name))
    if suffix in CODE_SUFFIXES:
        return Guess(Class.CODE)
    if suffix in DOC_SUFFIXES:
        return Guess(Class.DOCS)
    return None


def _part_of_model(path: str, name: str, around: Surroundings) -> Guess | None:
    """Small files that models need under names of their own, where there is a model in, above or beside their place."""
    if not around.weights or directory_hint(path) not in (None, Class.MODEL):
        return None
    if _matches(name, INDEX_NAMES):
        return Guess(Class.MODEL, type="index")
    if not any(directory in around.near_weights for directory in above(path)):
        return None
    if _matches(name, TOKENIZER_NAMES):
        return Guess(Class.MODEL, type="tokenizer")
    if _matches(name, MODEL_CONFIG_NAMES):
        return Guess(Class.MODEL, type="config")
    if _matches(name, TRAINING_STATE_NAMES):
        return Guess(
            Class.MODEL, doubt="is state that a training goes on from; leave it out to serve", type="training-state"
        )
    return Guess(Class.DOCS) if _matches(name, RESULT_NAMES) else None


def _weights(name: str, suffix: str, hint: Class | None, content: str | None, *, is_zip: bool) -> Guess:
    if suffix in ("bin", "pkl", "pickle", "joblib", "h5", "hdf5", "msgpack", "pb") and hint is Class.DATASETS:
        return Guess(Class.DATASETS, doubt="could be weights; it lies among the data")
    form = WEIGHT_FORMATS[suffix]
    doubt = None
    if form == "bin":
        if content in ("pickle", "pytorch") or is_zip:
            form = "pytorch"
        elif content is not None:
            form = content
        else:
            doubt = "could be anything; taken for weights"
    elif content is not None and content != form and not (content in ("pickle", "pytorch") and form in RUNS_CODE):
        doubt = f"is {form} by its name and {content} by its content; taken for {content}"
        form = content
    elif is_zip and form == "safetensors":
        doubt, form = "is safetensors by its name and a ZIP by its content; taken for pytorch", "pytorch"
    kind = "projector" if name.startswith("mmproj") else None
    return Guess(Class.MODEL, doubt=doubt, format=form, type=kind)


def recognise_directory(path: str) -> Guess:
    """The class of a directory that is not looked into."""
    hint = directory_hint(f"{path}/")
    known = "by its name" if hint else "for want of a better guess"
    return Guess(hint or Class.CODE, doubt=f"is deeper than was looked; taken for {hint or Class.CODE} {known}")


def _without_hint(suffix: str) -> Guess:
    if suffix in ARCHIVE_SUFFIXES:
        return Guess(Class.DATASETS, doubt="is an archive; taken for a dataset")
    if suffix in MEDIA_SUFFIXES:
        return Guess(Class.DOCS, doubt="is a picture or a recording; taken for documentation")
    if suffix in ("yaml", "yml", "toml"):
        return Guess(Class.PARAMETERS, doubt="is a configuration file; taken for parameters of the training")
    return Guess(Class.CODE, doubt="is of no known kind; taken for code")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(matches_stars(pattern, name) for pattern in patterns)


def _name(path: str) -> str:
    return path.rpartition("/")[2].lower()


def _suffix(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""
