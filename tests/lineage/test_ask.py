"""What came of a thing, and what it came from: standings, circles, long chains, and what cannot be said."""

from __future__ import annotations

from tests.support.facts import KEY, Filled, base, dataset, digest, kit, subject

from mlkit.lineage.facts import ReleaseFacts, StatementFacts, edges_of_inputs
from mlkit.lineage.graph import Evidence, NodeKind, node_of
from mlkit.spec.kit_document import InputRecord
from mlkit.spec.statement import SLSA_PROVENANCE


def test_what_a_trusted_key_signed_is_proved_and_nothing_else_is(filled: Filled) -> None:
    filled.add(
        kit("signed", holds={"data": "datasets", "w1": "model"}, signed_by=[KEY]),
        kit("by-another", holds={"data": "datasets", "w2": "model"}, signed_by=["another"]),
        kit("unsigned", holds={"data": "datasets", "w3": "model"}),
    )

    assert filled.found("data", KEY) == {"signed": "proved", "by-another": "stated", "unsigned": "stated"}
    assert set(filled.found("data").values()) == {"stated"}, "without keys nothing can be proved"


def test_a_way_is_worth_as_much_as_its_weakest_step(filled: Filled) -> None:
    filled.add(
        kit("first", holds={"data": "datasets"}, signed_by=[KEY]),
        kit("second", holds={"w": "model"}, inputs=[dataset("first")]),
        kit("third", holds={"v": "model"}, inputs=[base("second")], signed_by=[KEY]),
    )

    assert filled.found("data", KEY) == {"first": "proved", "second": "stated", "third": "stated"}


def test_of_two_ways_the_better_founded_is_told_even_if_it_is_longer(filled: Filled) -> None:
    filled.add(
        kit("a", holds={"data": "datasets"}, signed_by=[KEY]),
        kit("b", inputs=[dataset("a")], signed_by=[KEY]),
        kit("shortcut", holds={"data": "datasets"}),
        kit("end", holds={"w": "model"}, inputs=[dataset("shortcut"), dataset("b")], signed_by=[KEY]),
    )

    answer = filled.questions(KEY).trained_on(subject("data"))

    (end,) = [hit for hit in answer.hits if hit.thing.title == "end"]
    assert end.standing == "proved"
    assert [step.thing.title for step in end.steps[1:]] == ["a", "b", "end"]
    assert all(step.evidence and step.evidence.signed_by == (KEY,) for step in end.steps[1:])


def test_provenance_counts_as_far_as_its_signer_is_trusted(filled: Filled) -> None:
    def provenance(name: str, *keys: str) -> StatementFacts:
        name = "forged-on-a-signed-kit" if name == "it" else name
        evidence = Evidence(SLSA_PROVENANCE, digest(f"provenance of {name}"), keys)
        edges = edges_of_inputs(
            node_of(digest(name), NodeKind.KIT), [InputRecord("dataset", digest=digest("x"))], evidence
        )
        return StatementFacts(digest(f"provenance of {name}"), SLSA_PROVENANCE, keys, tuple(edges))

    filled.add(
        kit("proved", holds={"w1": "model"}, statements=[provenance("proved", KEY)]),
        kit("forged", holds={"w2": "model"}, statements=[provenance("forged")]),
        kit("forged-on-a-signed-kit", holds={"w3": "model"}, signed_by=[KEY], statements=[provenance("it", "another")]),
    )

    answer = filled.questions(KEY).trained_on(subject("x"))

    assert {hit.thing.title: str(hit.standing) for hit in answer.hits} == {
        "proved": "proved",
        "forged": "stated",
        "forged-on-a-signed-kit": "stated",
    }
    assert {hit.steps[1].evidence.where for hit in answer.hits if hit.steps[1].evidence} == {SLSA_PROVENANCE}


def test_one_who_scanned_a_kit_does_not_stand_for_what_it_states(filled: Filled) -> None:
    scan = StatementFacts(digest("scan"), "https://mlkit.dev/scan/v1", (KEY,))
    filled.add(kit("scanned", holds={"data": "datasets", "w": "model"}, statements=[scan]))

    assert filled.found("data", KEY) == {"scanned": "stated"}


def test_circles_and_kits_that_are_their_own_inputs_end(filled: Filled) -> None:
    filled.add(
        kit("a", holds={"data": "datasets", "w": "model"}, inputs=[dataset("c"), base("a")]),
        kit("b", holds={"v": "model"}, inputs=[dataset("a"), base("b")]),
        kit("c", holds={"u": "model"}, inputs=[dataset("b")]),
    )

    assert filled.found("data") == dict.fromkeys("abc", "stated")
    inputs = filled.questions().inputs(subject("a"))
    assert {hit.thing.title for hit in inputs.hits if hit.thing.title} == {"b", "c"}
    tree = filled.questions().tree(subject("a"), depth=10, width=10)
    assert tree.origins
    assert tree.results


def test_a_chain_of_ten_thousand_is_followed_to_its_end_and_told_in_short(in_sqlite: Filled) -> None:
    filled = in_sqlite
    filled.add(kit("0", holds={"data": "datasets"}))
    filled.add(
        *(
            kit(str(number), holds={f"w{number}": "model"}, inputs=[base(str(number - 1))])
            for number in range(1, 10_001)
        )
    )

    answer = filled.questions().trained_on(subject("data"), limit=20_000)

    assert len(answer.hits) == 10_001
    last = max(answer.hits, key=lambda hit: hit.depth)
    assert (last.thing.title, last.depth) == ("10000", 10_001)
    assert len(last.steps) + last.left_out == 10_002
    assert len(last.steps) == 20


def test_what_is_left_out_is_said(filled: Filled) -> None:
    filled.add(*(kit(f"k{number:02}", holds={"data": "datasets", f"w{number}": "model"}) for number in range(30)))

    answer = filled.questions().trained_on(subject("data"), limit=10)
    tree = filled.questions().tree(subject("data"), depth=2, width=7)

    assert (len(answer.hits), answer.is_cut) == (10, True)
    assert len(tree.results) == 7


def test_an_answer_lists_what_was_never_seen(filled: Filled) -> None:
    filled.add(kit("model", holds={"w": "model"}, inputs=[base("gone"), InputRecord("dataset", "a.example/x:1")]))
    filled.finish()

    answer = filled.questions().trained_on(subject("nothing"))
    inputs = filled.questions().inputs(subject("model"))

    assert {gap.what for gap in answer.gaps} == {"nothing", str(digest("gone")), "a.example/x:1"}
    assert str(digest("gone")) in {gap.what for gap in inputs.gaps}
    assert answer.hits == ()


def test_a_tag_that_moved_leaves_its_kit_behind_under_its_former_name(filled: Filled) -> None:
    filled.add(kit("old", holds={"data": "datasets", "w": "model"}, title="latest"), at=1000)
    filled.add(kit("new", holds={"v": "model"}, title="latest"), at=2000)

    (hit,) = filled.questions().trained_on(subject("data")).hits

    assert (hit.thing.names, hit.thing.former_names) == ((), ("host.example/team:latest",))
    filled.add(kit("old", holds={"data": "datasets", "w": "model"}, title="latest"), at=3000)
    (hit,) = filled.questions().trained_on(subject("data")).hits
    assert (hit.thing.names, hit.thing.former_names) == (("host.example/team:latest",), ())


def test_names_may_hold_anything(filled: Filled) -> None:
    name = "<script>alert(1)</script>\x1b[2J\0\ud800" + "x" * 10_000
    filled.add(kit("odd", holds={"data": "datasets"}, title=name))

    (hit,) = filled.questions().trained_on(subject("data")).hits

    assert hit.thing.title is not None
    assert hit.thing.title.startswith("<script>alert(1)</script>\x1b[2J?x")
    assert len(hit.thing.title) <= 4096


def test_channels_tell_what_ran_when(filled: Filled) -> None:
    filled.add(
        kit("one", holds={"data": "datasets", "w": "model"}),
        kit("two", holds={"v": "model"}),
        kit("three", holds={"u": "model"}, inputs=[base("one")]),
    )
    moves = [("one", (KEY,)), ("two", ()), ("three", ())]
    at = "2026-01-05T00:00:00Z"
    filled.index.write_releases(
        filled.place,
        [
            ReleaseFacts("canary", 1, "promote", digest("one"), None, at, "ada", digest("canary 1")),
            *(
                ReleaseFacts(
                    channel="production",
                    sequence=number,
                    action="promote",
                    kit=digest(name),
                    before=None,
                    at=f"2026-01-0{number}T00:00:00Z",
                    by="ada",
                    record=digest(f"record {number}"),
                    signed_by=keys,
                )
                for number, (name, keys) in enumerate(moves, 1)
            ),
        ],
    )

    found = filled.questions(KEY).deployed(subject("data"))

    told = [(one.channel, one.thing.title, one.since[:10], one.until and one.until[:10]) for one in found.deployments]
    assert told == [
        ("production", "three", "2026-01-03", None),
        ("canary", "one", "2026-01-05", None),
        ("production", "one", "2026-01-01", "2026-01-02"),
    ]
    assert [one.signed_by for one in found.deployments] == [(), (), (KEY,)]
    assert (found.unreleased, found.histories) == (0, 2)
    assert filled.questions().deployed(subject("v")).deployments[0].until == "2026-01-03T00:00:00Z"


def test_a_model_that_says_nothing_of_its_origin_is_listed(filled: Filled) -> None:
    filled.add(
        kit("silent", holds={"w1": "model"}),
        kit("with-data", holds={"w2": "model", "d": "datasets"}),
        kit("with-inputs", holds={"w3": "model"}, inputs=[dataset("with-data")], signed_by=[KEY]),
        kit("data-only", holds={"d": "datasets"}),
    )

    assert [one.thing.title for one in filled.questions().unprovenanced().kits] == ["silent"]
    trusting = filled.questions(KEY).unprovenanced()
    assert [one.thing.title for one in trusting.kits] == ["silent", "with-data"]
    assert filled.questions(KEY).unprovenanced(limit=1).count == 2


def test_two_kits_are_compared_by_what_they_came_from(filled: Filled) -> None:
    filled.add(
        kit("old", holds={"w": "model"}, inputs=[dataset("a"), dataset("common")]),
        kit("new", holds={"v": "model"}, inputs=[dataset("b"), dataset("common")]),
        kit("a", holds={"x": "datasets"}),
        kit("b", holds={"y": "datasets"}),
        kit("common", holds={"z": "datasets"}),
    )

    found = filled.questions().diff(subject("old"), subject("new"))

    assert [hit.thing.title for hit in found.removed if hit.thing.title] == ["a"]
    assert [hit.thing.title for hit in found.added if hit.thing.title] == ["b"]
    assert found.kept == 2
    assert filled.questions().diff(subject("old"), subject("old")).is_same
