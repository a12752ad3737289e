"""Names as registers: what every process saw is explained by one order of all that happened."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from pathlib import Path

import pytest
from tests.content.contract import push_manifest
from tests.content.linearizable import Operation, is_linearizable
from tests.content.test_concurrency import at_once
from tests.support.scale import SCALE

from mlkit.content.layout import Layout
from mlkit.errors import NotFoundError

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]


def test_the_judge_knows_good_histories_from_bad_ones() -> None:
    one, two = Operation(0, 10, wrote="a"), Operation(20, 30, wrote="b")

    assert is_linearizable([one, two, Operation(40, 50, saw="b")])
    assert is_linearizable([one, two, Operation(15, 25, saw="a")])
    assert is_linearizable([one, two, Operation(15, 25, saw="b")])
    assert is_linearizable([Operation(0, 100, wrote="a"), Operation(1, 2, saw=""), Operation(3, 4, saw="a")])
    assert not is_linearizable([one, two, Operation(40, 50, saw="a")])
    assert not is_linearizable([one, Operation(11, 12, saw="")])
    assert not is_linearizable([Operation(0, 100, wrote="a"), Operation(1, 2, saw="a"), Operation(3, 4, saw="")])


@pytest.mark.timeout(1200)
def test_the_history_of_every_name_is_linearizable(layout: Layout, tmp_path: Path) -> None:
    """32 processes; few turns here, and a hundred each in `make soak`."""
    manifests = [push_manifest(layout, b"%d" % number).descriptor for number in range(24)]
    turns = 5 if SCALE == 1 else 100
    names = [f"digits:{number}" for number in range(turns * 4)]

    def work(number: int) -> None:
        chosen = random.Random(number)
        mine = Layout.at(layout.root)
        with (tmp_path / f"history-{number}").open("w") as log:
            for turn in range(turns):
                # Few processes meet at each name at a time, so that the search stays small.
                name = names[turn * 4 + number % 4]
                kind = chosen.randrange(4)
                desc = manifests[chosen.randrange(len(manifests))]
                wrote, saw = None, None
                start = time.monotonic_ns()
                if kind < 2:
                    mine.tag(desc, name)
                    wrote = str(desc.digest)
                elif kind == 2:
                    try:
                        mine.untag(name)
                        wrote = ""
                    except NotFoundError:
                        saw = ""
                else:
                    found = mine.index_file.read().named(name)
                    saw = str(found[0].digest) if found else ""
                record = {"name": name, "start": start, "end": time.monotonic_ns(), "wrote": wrote, "saw": saw}
                print(json.dumps(record), file=log)

    at_once(32, work)

    histories: defaultdict[str, list[Operation]] = defaultdict(list)
    for path in tmp_path.glob("history-*"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            histories[record.pop("name")].append(Operation(**record))
    assert sum(map(len, histories.values())) == 32 * turns
    final = {name: str(desc.digest) for name, desc in layout.names().items()}
    for name, history in histories.items():
        end = max(operation.end for operation in history)
        last = Operation(end + 1, end + 2, saw=final.get(name, ""))
        assert is_linearizable([*history, last]), (name, history)
