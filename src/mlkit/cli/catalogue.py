"""Every command with its line of help, so that `mlkit --help` and completion need not import a single one.

Nothing here imports anything of weight; a test compares each line with the docstring of the command.
"""

from __future__ import annotations


class Entry:
    """A command: the module below `mlkit.cli.commands` and the attribute in it that declares the command."""

    __slots__ = ("attribute", "help", "module")

    def __init__(self, module: str, attribute: str, help: str) -> None:
        self.module = module
        self.attribute = attribute
        self.help = help


class Family:
    """A word that has commands of its own, such as `registry serve`."""

    __slots__ = ("commands", "help")

    def __init__(self, help: str, commands: dict[str, Entry]) -> None:
        self.help = help
        self.commands = commands


SECTIONS: dict[str, dict[str, Entry | Family]] = {
    "Make a kit": {
        "init": Entry("init", "init", "Write a Kitfile from what lies in a directory."),
        "pack": Entry("pack", "pack", "Pack a directory into a kit and print its digest."),
        "index": Family(
            "Gather variants of one kit under labels.",
            {
                "create": Entry("index_create", "create", "Make an index without kits and print its digest."),
                "add": Entry("index_add", "add", "Enter a kit in an index, or change its labels."),
                "list": Entry("index_list", "list_index", "List the kits of an index with their labels."),
                "remove": Entry("index_remove", "remove", "Take a kit out of an index; the kit stays."),
            },
        ),
    },
    "Look at kits": {
        "list": Entry("list", "list_kits", "List local kits, or the tags of a remote repository."),
        "inspect": Entry("inspect", "inspect", "Show manifest, entries, layers and what is local."),
        "info": Entry("info", "info", "Print the Kitfile as it was packed, or a part of it."),
        "files": Entry("files", "files", "List every file with its size, digest and layer."),
        "cat": Entry("cat", "cat", "Write one file of a kit to stdout."),
        "diff": Entry("diff", "diff", "Compare two kits; exit 1 when they differ."),
        "sbom": Entry("sbom", "sbom", "Write the bill of materials of a kit, in CycloneDX."),
    },
    "Know where kits come from": {
        "lineage": Family(
            "Find what came of a dataset, and what a kit came from.",
            {
                "record": Entry("lineage_record", "record", "Record what a training run read and wrote."),
                "index": Entry("lineage_index", "index", "Scan stores, repositories and registries for lineage."),
                "trained-on": Entry(
                    "lineage_trained_on", "trained_on", "List the kits that came of a dataset, model, file or address."
                ),
                "inputs": Entry("lineage_inputs", "inputs", "List everything that a kit came from."),
                "tree": Entry("lineage_tree", "tree", "Draw what a kit came from and what came of it."),
                "deployed": Entry(
                    "lineage_deployed",
                    "deployed",
                    "Say which channels pointed at a kit, or at what came of something.",
                ),
                "unprovenanced": Entry(
                    "lineage_unprovenanced",
                    "unprovenanced",
                    "List the kits with a model whose origin nobody can tell.",
                ),
                "export": Entry(
                    "lineage_export", "export", "Tell other tools what a kit came from and what came of it."
                ),
                "audit": Entry("lineage_audit", "audit", "Write a report that an auditor can keep."),
                "diff": Entry("lineage_diff", "diff", "Compare what two kits came from; exit 1 when it differs."),
            },
        ),
    },
    "Move kits": {
        "unpack": Entry("unpack", "unpack", "Write the files of a kit into a directory."),
        "pull": Entry("pull", "pull", "Fetch a kit from a registry into the local store."),
        "push": Entry("push", "push", "Send a local kit to a registry and print its digest."),
        "copy": Entry("copy", "copy", "Copy from registry to registry and print the digest."),
        "save": Entry("save", "save", "Write kits into one file for a place without a network."),
        "load": Entry("load", "load", "Take the kits of such a file into the local store."),
    },
    "Run kits": {
        "serve": Entry("serve", "serve", "Serve a kit with a runtime that is installed here."),
        "profile": Entry("profile", "profile", "Serve a kit, ask it under load, and tell what that takes."),
        "deploy": Family(
            "Deploy kits.",
            {"render": Entry("deploy_render", "render", "Print what a cluster needs to run a kit, pinned by digest.")},
        ),
        "image": Family(
            "Make container images of kits.",
            {"build": Entry("image_build", "build", "Put a kit on a base image and print the digest.")},
        ),
    },
    "Trust": {
        "keygen": Entry("keygen", "keygen", "Make a pair of keys to sign with."),
        "sign": Entry("sign", "sign", "Sign a kit, and print the digest of the signature."),
        "attest": Entry("attest", "attest", "Attach a signed statement about a kit, and print its digest."),
        "scan": Entry("scan", "scan", "Look for what loading files would do, and exit 1 when that is harm."),
        "verify": Entry("verify", "verify", "Check who stands for a kit; exit 8 unless one of your keys does."),
        "policy": Family(
            "Look at the policy that kits must meet.",
            {
                "explain": Entry("policy_explain", "explain", "Say which rule is for a kit, and what came of it."),
                "schema": Entry("policy_schema", "schema", "Print the JSON Schema of policies, for editors."),
            },
        ),
    },
    "Release kits": {
        "check": Entry("check", "check", "Run the checks of a kit's Kitfile; exit 1 where one fails."),
        "promote": Entry("promote", "promote", "Let a channel point at a kit and print its digest."),
        "rollback": Entry("rollback", "rollback", "Let a channel point at its last good version again."),
        "status": Entry("status", "status", "Show what is in which channel, since when and by whom."),
        "history": Entry("history", "history", "Show who moved channels, when, why and on what evidence."),
        "mark": Entry("mark", "mark", "Write down that a kit is good or bad, and print its digest."),
    },
    "Keep the store": {
        "tag": Entry("tag", "tag", "Give a kit further names."),
        "remove": Entry("remove", "remove", "Take a name away from a kit."),
        "prune": Entry("prune", "prune", "Delete local content that no name reaches."),
        "fsck": Entry("fsck", "fsck", "Check the local store, and repair it."),
    },
    "Registries": {
        "login": Entry("login", "login", "Check and save the credentials of a registry."),
        "logout": Entry("logout", "logout", "Forget the credentials of a registry."),
        "registry": Family(
            "Run a registry of your own.",
            {"serve": Entry("registry_serve", "serve", "Serve the local store, or a folder, as an OCI registry.")},
        ),
    },
    "This installation": {
        "config": Family(
            "Look at the settings.",
            {"show": Entry("config_show", "show", "Print each setting with where its value came from.")},
        ),
        "doctor": Entry("doctor", "doctor", "Check home, disk, registries, credentials and clock."),
        "version": Entry("version", "version", "Print the version."),
    },
}

COMMANDS: dict[str, Entry | Family] = {
    name: command for section in SECTIONS.values() for name, command in section.items()
}
