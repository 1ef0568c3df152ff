"""Owners have equal shares of the engine; of one owner's sequences the policy is that of the scheduler."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduling import feed, scheduler, sequence
from tuningfork.inference.kv_cache import PAGE_TOKENS
from tuningfork.inference.scheduler import _MOST_PASSES


def of_owner(name, tokens=4, **options):
    return sequence(name, tokens, owner=name[0], **options)


def running(plan):
    return {each.request.id for each in plan._running}


def test_behind_any_number_of_streams_another_owner_speaks_in_the_next_step():
    plan = scheduler(max_rows=8)
    for number in range(1_000):
        plan.add(of_owner(f"a{number}"))
    feed(plan)
    plan.add(of_owner("b"))
    fed = feed(plan)

    assert "b" in fed
    assert len(fed) == 8
    # The youngest of the owner with the most rows made room, and comes back first.
    assert "a7" not in fed
    plan.remove(next(iter(plan.of_request("a0"))))
    assert "a7" in feed(plan)


def test_rows_become_equal_shares_and_no_owner_gives_up_more():
    plan = scheduler(max_rows=8)
    for owner in "abc":
        for number in range(20):
            plan.add(of_owner(f"{owner}{number}"))
        feed(plan)
    shares = sorted(sum(name.startswith(owner) for name in running(plan)) for owner in "abc")
    before = running(plan)
    for _ in range(20):
        feed(plan)

    assert shares == [2, 3, 3]
    assert running(plan) == before


def test_a_row_that_is_free_goes_to_whoever_has_fewest():
    plan = scheduler(max_rows=4)
    for name in ("a1", "a2", "a3", "b1", "b2", "b3"):
        plan.add(of_owner(name))
    feed(plan)
    ends = next(name for name in running(plan) if name.startswith("b"))
    plan.remove(plan.of_request(ends)[0])
    feed(plan)

    assert sum(name.startswith("b") for name in running(plan)) == 2


def test_where_pages_run_out_the_owner_with_the_most_rows_gives_way():
    plan = scheduler(pages=5)
    for name in ("a1", "a2", "a3", "b1"):
        plan.add(of_owner(name, PAGE_TOKENS - 2))
    feed(plan)
    while len(running(plan)) == 4:
        feed(plan)

    assert running(plan) == {"a1", "a2", "b1"}


def test_prompts_of_two_owners_are_read_side_by_side():
    plan = scheduler(prefill_tokens=60, pages=500)
    for number in range(8):
        plan.add(of_owner(f"a{number}", 40))
    plan.add(of_owner("b", 200))
    pieces = [feed(plan).get("b", 0) for _ in range(10)]

    # Alone it would be read in seven pieces of 30; all of the other's prompts are shorter.
    assert sum(pieces) >= 200


@pytest.mark.parametrize("others", [0, 1, 5])
def test_where_a_prompt_is_cut_does_not_depend_on_other_owners(others):
    plan = scheduler(prefill_tokens=60, max_rows=8)
    for number in range(others):
        plan.add(of_owner(f"{number}", 10 + 40 * number))
    plan.add(of_owner("it", 100))
    pieces = []
    while sum(pieces) < 100:
        pieces.append(feed(plan).get("it", 0))
    assert [piece for piece in pieces if piece] == [30, 30, 30, 10]


def test_nobody_gives_way_to_a_prompt_that_would_not_fit_even_then():
    plan = scheduler(pages=10)
    for name in ("a1", "a2", "a3"):
        plan.add(of_owner(name, 2 * PAGE_TOKENS - 8))
    for _ in range(8):
        feed(plan)
    plan.add(of_owner("b", 9 * PAGE_TOKENS - 4))
    feed(plan)
    before = running(plan)
    for name in sorted(before):
        plan.remove(plan.of_request(name)[0])
    feed(plan)

    assert before == {"a1", "a2", "a3"}
    assert running(plan) == {"b"}


def test_a_prompt_that_does_not_fit_yet_holds_up_its_owners_others_and_nobody_elses():
    plan = scheduler(pages=10)
    plan.add(of_owner("a", 6 * PAGE_TOKENS))
    feed(plan)
    for name in ("b1", "b2", "c1", "c2"):
        plan.add(of_owner(name, 7 * PAGE_TOKENS if name == "b1" else 4))
    feed(plan)

    assert running(plan) == {"a", "c1", "c2"}
    plan.remove(plan.of_request("a")[0])
    feed(plan)
    assert "b1" in running(plan)


def test_so_many_pass_a_prompt_that_does_not_fit_and_no_more():
    plan = scheduler(pages=10, prefill_tokens=1_000)
    plan.add(of_owner("a", 6 * PAGE_TOKENS))
    feed(plan)
    plan.add(of_owner("b", 9 * PAGE_TOKENS))
    passed = []
    for number in range(40):
        plan.add(of_owner(f"c{number}"))
        feed(plan)
        if f"c{number}" in running(plan):
            passed.append(number)
            plan.remove(plan.of_request(f"c{number}")[0])
    plan.remove(plan.of_request("a")[0])
    feed(plan)

    assert passed == list(range(_MOST_PASSES))
    assert "b" in running(plan)


def test_a_prompt_that_does_not_fit_holds_up_no_other_owner_while_its_owner_is_served():
    plan = scheduler(pages=30, prefill_tokens=1_000)
    plan.add(of_owner("a1", 16 * PAGE_TOKENS))
    plan.add(of_owner("a2", 16 * PAGE_TOKENS))
    feed(plan)
    for number in range(10 * _MOST_PASSES):
        plan.add(of_owner(f"c{number}"))
        assert f"c{number}" in feed(plan)
        plan.remove(plan.of_request(f"c{number}")[0])
    plan.remove(plan.of_request("a1")[0])
    feed(plan)

    assert running(plan) == {"a2"}


OWNERS, PAGES = "abcd", 12


@settings(max_examples=100, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.sampled_from(OWNERS), st.integers(1, 10), st.integers(0, 3)), max_size=60),
    life=st.integers(1, 12),
)
def test_nobody_starves_and_nobody_is_passed_more_often_than_the_bound(arrivals, life):
    plan = scheduler(pages=PAGES, max_rows=4, prefill_tokens=10_000)
    arriving = [of_owner(f"{owner}{n}", size * PAGE_TOKENS - 16) for n, (owner, size, _) in enumerate(arrivals)]
    pauses = [pause for *_, pause in arrivals]
    waiting, steps, most_passed = set(), 0, 0
    while arriving or plan.has_work:
        if arriving and (pauses[0] == 0 or not plan.has_work):
            plan.add(arriving[0])
            waiting.add(arriving.pop(0))
            pauses.pop(0)
        elif arriving:
            pauses[0] -= 1
        feed(plan)
        most_passed = max([most_passed, *(each.passed for each in waiting)])
        for each in [each for each in plan._running if each.generated >= life]:
            plan.remove(each)
            waiting.discard(each)
        steps += 1
        # Each needs a step to be read, and as many as it lives; those that are put back need them again.
        assert steps < 100 * (len(arrivals) + 1) * (life + 2)

    assert not waiting
    assert most_passed <= _MOST_PASSES
