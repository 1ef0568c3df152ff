import argparse
import textwrap

import pytest

import children
from children import PROGRAMS, Child, ChildFailed, company


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(f"""
            import sys
            sys.path.insert(0, {str(PROGRAMS)!r})
            import child
            print("what a library prints")
            given = child.setup()
            if given.get("broken"):
                raise SystemExit("no such model")
            def add(a, b):
                print("noise")
                return {{"sum": a + b + given["more"]}}
            def sleep():
                import time
                time.sleep(600)
            child.serve(add=add, sleep=sleep)
        """),
        encoding="utf-8",
    )
    return path


def test_a_child_answers_whatever_else_is_printed(program):
    with Child(program, {"more": 1}) as child:
        assert child.ask("add", a=2, b=3) == {"sum": 6}
        assert child.ask("add", a=4, b=5) == {"sum": 10}


def test_a_child_that_cannot_do_something_says_why_and_goes_on(program):
    with Child(program, {"more": 0}) as child:
        with pytest.raises(ChildFailed, match="TypeError"):
            child.ask("add", a=2, b="three")
        assert child.ask("add", a=2, b=3) == {"sum": 5}


def test_a_child_that_does_not_start_leaves_its_last_words(program):
    with pytest.raises(ChildFailed, match="no such model"):
        Child(program, {"broken": True})


def test_who_is_missing_is_noted_and_the_rest_goes_on(program):
    asked = []
    with company() as met:
        met.invite("ours", lambda: Child(program, {"more": 0}))
        met.invite("theirs", lambda: Child(program, {"broken": True}))
        met.round(0, lambda label, child: asked.append(child.ask("add", a=1, b=1)))

    assert asked == [{"sum": 2}]
    (note,) = met.notes()
    assert note.startswith("theirs was not measured: ")
    assert "no such model" in note


def test_every_other_round_goes_the_other_way(program):
    order = []
    with company() as met:
        met.invite("ours", lambda: Child(program, {"more": 0}))
        met.invite("theirs", lambda: Child(program, {"more": 0}))
        for index in range(2):
            met.round(index, lambda label, child: order.append(label))

    assert order == ["ours", "theirs", "theirs", "ours"]


def test_a_peer_that_fails_takes_part_no_longer(program):
    def ask(label, child):
        child.ask("add", a=1, b=1 if label == "ours" else "one")

    with company() as met:
        met.invite("ours", lambda: Child(program, {"more": 0}))
        met.invite("theirs", lambda: Child(program, {"more": 0}))
        met.round(0, ask)

        assert list(met.children) == ["ours"]
    assert "TypeError" in met.missing["theirs"]


@pytest.fixture
def limited():
    yield children.end_after
    children.end_after(None)


def test_a_peer_that_takes_longer_than_there_is_time_is_left_out(program, limited):
    with company() as met:
        met.invite("ours", lambda: Child(program, {"more": 0}))
        met.invite("theirs", lambda: Child(program, {"more": 0}))
        limited(1.0)
        met.round(0, lambda label, child: child.ask("sleep") if label == "theirs" else None)

        assert list(met.children) == ["ours"]
    assert "when the time was up" in met.missing["theirs"]


def test_without_ours_in_time_nothing_is_measured(program, limited):
    with company() as met:
        met.invite("ours", lambda: Child(program, {"more": 0}))
        limited(0.5)
        with pytest.raises(SystemExit, match="not measured"):
            met.round(0, lambda label, child: child.ask("sleep"))


def test_rounds_cease_when_there_is_no_time_for_one_more(limited):
    assert list(children.rounds(3)) == [0, 1, 2]

    limited(0.0)

    assert list(children.rounds(3)) == [0]


def test_a_program_counts_its_time_from_its_start(limited, monkeypatch):
    monkeypatch.setattr(children, "pin", lambda threads: [])
    children.begin(argparse.Namespace(threads=1, seconds=1e9))

    # This process has run for some time already.
    assert 1e8 < children.seconds_left() < 1e9

    children.begin(argparse.Namespace(threads=1, seconds=1e-9))

    assert children.seconds_left() == 0


def test_processor_time_counts_where_one_thread_computes_on_a_cpu(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert children.by_processor_time("cpu")
    assert not children.by_processor_time("cuda")

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert not children.by_processor_time("cpu")
