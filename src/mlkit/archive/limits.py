"""How much an archive may ask for, whoever made it; with the other limits that a person can change."""

from __future__ import annotations

from dataclasses import dataclass

from mlkit.spec.limits import ListLimits

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits(ListLimits):
    """Bounds on what comes out of an archive or goes into one, and on lists; each can be raised by the caller."""

    entries: int = 1_000_000
    """Headers in one tar, those that only describe the next entry included; files and directories in one walk."""
    path_bytes: int = 4096
    """UTF-8 bytes of one whole name: PATH_MAX of Linux."""
    component_bytes: int = 255
    """UTF-8 bytes between two slashes: NAME_MAX of every common file system."""
    depth: int = 64
    """Components of one name."""
    pax_header: int = 1 * MIB
    """Bytes of one pax extended header, which is held in memory."""
    padding: int = 1 * MIB
    """Zero bytes after the two end blocks: GNU tar fills its last record of, by default, 10 KiB."""
    max_size: int | None = None
    """Bytes that may come out of one archive in all; None leaves it to the free space of the disk."""
    ratio: int = 200
    """How many bytes one compressed byte may become, once more than `ratio_after` bytes have come out."""
    ratio_after: int = 64 * MIB
    window: int = 128 * MIB
    """Memory that a zstd frame may ask for: what `zstd -d` grants without `--long`."""
    scan_members: int = 65_535
    """Members of the archives of one file that a scan looks at: what a ZIP without ZIP64 can hold."""
    scan_bytes: int = 1024 * MIB
    """Bytes that may come out of the archives of one file in a scan; a scan of one file ends after two minutes too."""
    disk_reserve_percent: int = 5
    """Share of the free space that an extraction leaves free."""


DEFAULT_LIMITS = Limits()
