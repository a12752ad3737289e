"""mlkit packs model weights, datasets, parameters and deployment config into one versioned OCI artifact, a kit.

    >>> import mlkit
    >>> mlkit.pack("digits", tag="team/digits:1.2")             # doctest: +SKIP
    >>> mlkit.push("team/digits:1.2", "localhost:5000/team/digits:1.2")  # doctest: +SKIP
    >>> mlkit.pull("localhost:5000/team/digits:1.2", filters=["datasets"])  # doctest: +SKIP

Importing this module costs next to nothing: what a function needs is imported when it is first called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlkit.api.public import add_to_index as add_to_index
    from mlkit.api.public import cat as cat
    from mlkit.api.public import copy as copy
    from mlkit.api.public import create_index as create_index
    from mlkit.api.public import diff as diff
    from mlkit.api.public import files as files
    from mlkit.api.public import info as info
    from mlkit.api.public import init as init
    from mlkit.api.public import inspect as inspect
    from mlkit.api.public import list_index as list_index
    from mlkit.api.public import list_kits as list_kits
    from mlkit.api.public import load as load
    from mlkit.api.public import open as open
    from mlkit.api.public import pack as pack
    from mlkit.api.public import prune as prune
    from mlkit.api.public import pull as pull
    from mlkit.api.public import push as push
    from mlkit.api.public import remove as remove
    from mlkit.api.public import remove_from_index as remove_from_index
    from mlkit.api.public import resolve as resolve
    from mlkit.api.public import save as save
    from mlkit.api.public import session as session
    from mlkit.api.public import tag as tag
    from mlkit.api.public import unpack as unpack
    from mlkit.api.public_fsck import fsck as fsck
    from mlkit.api.public_images import build_image as build_image
    from mlkit.api.public_lineage import audit as audit
    from mlkit.api.public_lineage import deployed as deployed
    from mlkit.api.public_lineage import index_lineage as index_lineage
    from mlkit.api.public_lineage import inputs as inputs
    from mlkit.api.public_lineage import trained_on as trained_on
    from mlkit.api.public_policy import compare as compare
    from mlkit.api.public_policy import explain_policy as explain_policy
    from mlkit.api.public_policy import sbom as sbom
    from mlkit.api.public_releases import check as check
    from mlkit.api.public_releases import history as history
    from mlkit.api.public_releases import mark as mark
    from mlkit.api.public_releases import promote as promote
    from mlkit.api.public_releases import rollback as rollback
    from mlkit.api.public_releases import status as status
    from mlkit.api.public_scan import scan as scan
    from mlkit.api.public_serving import profile as profile
    from mlkit.api.public_serving import serve as serve
    from mlkit.api.public_trust import attest as attest
    from mlkit.api.public_trust import keygen as keygen
    from mlkit.api.public_trust import sign as sign
    from mlkit.api.public_trust import verify as verify
    from mlkit.errors import MlkitError as MlkitError
    from mlkit.progress import NoProgress as NoProgress
    from mlkit.progress import Progress as Progress
    from mlkit.spec.digest import Digest as Digest
    from mlkit.spec.reference import Reference as Reference

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("check", "history", "mark", "promote", "rollback", "status"), "mlkit.api.public_releases"),
    **dict.fromkeys(("audit", "deployed", "index_lineage", "inputs", "trained_on"), "mlkit.api.public_lineage"),
    **dict.fromkeys(("profile", "serve"), "mlkit.api.public_serving"),
    **dict.fromkeys(("attest", "keygen", "sign", "verify"), "mlkit.api.public_trust"),
    **dict.fromkeys(("compare", "explain_policy", "sbom"), "mlkit.api.public_policy"),
    "MlkitError": "mlkit.errors",
    "NoProgress": "mlkit.progress",
    "Progress": "mlkit.progress",
    "Digest": "mlkit.spec.digest",
    "Reference": "mlkit.spec.reference",
    "build_image": "mlkit.api.public_images",
    "fsck": "mlkit.api.public_fsck",
    "scan": "mlkit.api.public_scan",
}

__all__ = [
    "Digest",
    "MlkitError",
    "NoProgress",
    "Progress",
    "Reference",
    "__version__",
    "add_to_index",
    "attest",
    "audit",
    "build_image",
    "cat",
    "check",
    "compare",
    "copy",
    "create_index",
    "deployed",
    "diff",
    "explain_policy",
    "files",
    "fsck",
    "history",
    "index_lineage",
    "info",
    "init",
    "inputs",
    "inspect",
    "keygen",
    "list_index",
    "list_kits",
    "load",
    "mark",
    "open",
    "pack",
    "profile",
    "promote",
    "prune",
    "pull",
    "push",
    "remove",
    "remove_from_index",
    "resolve",
    "rollback",
    "save",
    "sbom",
    "scan",
    "serve",
    "session",
    "sign",
    "status",
    "tag",
    "trained_on",
    "unpack",
    "verify",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "lineage":
        return import_module("mlkit.lineage")
    if name not in __all__:
        raise AttributeError(f"module 'mlkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "mlkit.api.public")), name)
