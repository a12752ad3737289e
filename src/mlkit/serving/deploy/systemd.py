"""A unit for systemd: the kit is unpacked before the server starts, on a machine without containers."""

from __future__ import annotations

from mlkit.errors import UsageError
from mlkit.serving.deploy.deployment import Deployment

STATE = "/var/lib/{name}"


def systemd(deployment: Deployment, *, mlkit: str = "/usr/bin/mlkit") -> str:
    """The text of `NAME.service`; the command of the deployment must be one of this machine.

    Exit codes of `mlkit` that no second try mends (usage, integrity, unsafe content, policy, limits) stop the unit.
    Raises: UsageError for a source that is no file on a disk.
    """
    if deployment.source != "init":
        raise UsageError(f"systemd starts no {deployment.source}", hint="--source init unpacks the kit")
    kit, command = deployment.kit, deployment.command
    label = f"{kit.repository}:{kit.tag}" if kit.tag else kit.repository
    lines = [
        "[Unit]",
        f"Description={_text(f'{deployment.served_name} of {label}, served by {deployment.runtime.title}')}",
        "Wants=network-online.target",
        "After=network-online.target",
        "StartLimitIntervalSec=10min",
        "StartLimitBurst=5",
        "",
        "[Service]",
        "Type=exec",
        "DynamicUser=yes",
        f"StateDirectory={deployment.name}",
        f"CacheDirectory={deployment.name}",
        f"Environment=HOME=%S/{deployment.name} MLKIT_HOME=%C/{deployment.name}",
        *(f"Environment={_assignment(f'{key}={value}')}" for key, value in command.environ.items()),
        f"Environment={_assignment(f'MLKIT_KIT={kit.pinned}')}",
        f"ExecStartPre={' '.join(_word(word) for word in _unpack(deployment, mlkit))}",
        f"ExecStart={' '.join(_word(word) for word in (*command.argv, *deployment.own_arguments))}",
        "Restart=on-failure",
        "RestartSec=5s",
        "RestartPreventExitStatus=2 4 5 8 11",
        "TimeoutStartSec=1h",
        "TimeoutStopSec=2min",
        "KillMode=mixed",
        f"MemoryMax={(deployment.resources.memory_limit or deployment.resources.memory).replace('i', '')}",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictSUIDSGID=yes",
        *([] if deployment.needs_gpu else ["PrivateDevices=yes"]),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def state_root(name: str) -> str:
    """Where the unit of a name keeps the files of its kit."""
    return f"{STATE.format(name=name)}/kit"


def _unpack(deployment: Deployment, mlkit: str) -> tuple[str, ...]:
    words = ("unpack", deployment.kit.pinned, "-d", state_root(deployment.name), "--filter", "!datasets", "--overwrite")
    return (mlkit, *words, *(("--plain-http",) if deployment.plain_http else ()))


def _text(text: str) -> str:
    """Free text on one line. systemd.unit(5), "Specifiers": a percent sign is doubled."""
    return " ".join(text.split()).replace("%", "%%")


def _word(word: str) -> str:
    """One word of a command line, as systemd.service(5), "Command lines", reads it back."""
    return _assignment(word).replace("$", "$$")


def _assignment(text: str) -> str:
    """A variable and its value, as systemd.exec(5), `Environment=`, reads them back."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{escaped}"'
