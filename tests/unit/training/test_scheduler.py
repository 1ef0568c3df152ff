"""Which jobs the next pass is for, in simulated training: passes take a number of turns, and compute nothing."""

from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
import torch

from training_runs import job
from tuningfork.training.batches import DataOrder, Segment
from tuningfork.training.effort import Effort
from tuningfork.training.jobs import AdmittedJob, Batch, SuspendedPass
from tuningfork.training.scheduler import PassLimits, Scheduler
from tuningfork.training.turns import LongTurns

LIMITS = PassLimits(tokens=2048, targets=10**6, own_tokens=16_384)
LONG = (5_000,)
ORDINARY = (300,) * 16


@dataclass
class Rendered:
    """Examples of so many tokens, and `characters`, each; `taken` counts those that were rendered."""

    tokens: tuple[int, ...]
    characters: int = 1_000
    is_checked: bool = True
    taken: int = 0

    def __len__(self):
        return len(self.tokens)

    def take(self, index, effort=None):
        self.taken += 1
        if effort is not None:
            effort.characters -= self.characters
        return (Segment(torch.zeros(self.tokens[index], dtype=torch.int32), ((1, self.tokens[index]),)),)

    def check(self, effort, at_least=0):
        """All are checked."""


@dataclass
class Passes:
    """What the scheduler asks of a `PassRunner`."""

    lanes: int = 1
    most_jobs: int = 1
    pass_bytes: int = 10**9
    short_bytes: int = 0

    def least_held_bytes(self, job, most_tokens):
        tokens, _ = job.size_next
        return tokens if job.suspended is None and tokens > 1_000 else 0

    def can_advance_beside_others(self, job):
        return True


def admitted(name, tokens=ORDINARY, *, turns=1, owner=""):
    """A job of very many steps, each over examples of so many tokens."""
    definition = job(name, owner=owner or name, epoch_count=10**6, batch_size=len(tokens))
    examples = Rendered(tokens)
    order = DataOrder(example_count=len(tokens), epoch_count=10**6, batch_size=len(tokens), seed=0)
    return AdmittedJob(
        definition=definition,
        digest="",
        objective=None,
        examples=examples,
        validation=Rendered(()),
        order=order,
        slot=0,
        reference=None,
        adapter=None,
        weights_P=None,
        optimizer=None,
        completed=0,
        turns=turns,
    )


@dataclass
class Training:
    """Simulated training of these jobs: a pass above `small` tokens takes one turn for every 1,000 tokens."""

    jobs: list[AdmittedJob]
    small: int = 1_000
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(Passes(), LIMITS, even=True, monotonic=None))
    most_long: int = 0
    most_held: int = 0
    """The most tokens of all suspended passes but the largest."""

    def __post_init__(self):
        self.queue = {each.definition.id: each for each in self.jobs}

    def run(self, turns):
        """The parts of passes that each job had in so many turns."""
        had = Counter()
        for _ in range(turns):
            for chosen in self.scheduler.next_jobs(self.queue):
                had[chosen.definition.id] += 1
                self._advance(chosen)
            suspended = [each for each in self.jobs if each.suspended is not None]
            long = [each for each in suspended if max(each.examples.tokens) > LIMITS.tokens]
            self.most_long = max(self.most_long, len(long))
            held = [each.suspended.held_bytes for each in suspended]
            self.most_held = max(self.most_held, sum(held) - max(held, default=0))
        return had

    def _advance(self, chosen):
        tokens = sum(chosen.examples.tokens)
        if chosen.under_way is None and tokens > self.small:
            chosen.under_way = suspended(chosen, tokens // 1_000)
        chosen.turns += 1
        if chosen.under_way is None or chosen.under_way.suspended.advance():
            chosen.under_way = None
            chosen.completed += 1


def suspended(chosen, parts):
    """A step of one pass with so many parts, none of which has been run."""
    pass_ = SuspendedPass(
        parts=iter_parts(parts),
        conclude=lambda *_: None,
        longest=max(chosen.examples.tokens),
        held_bytes=sum(chosen.examples.tokens),
    )
    return Batch(jobs=[chosen], tokens=[0], terms=[1], passes=deque(), losses=[0.0], predictions=[], suspended=pass_)


def iter_parts(count):
    for _ in range(count - 1):
        yield


def test_an_owner_that_has_to_wait_keeps_its_place():
    """Beside a long pass of another owner, an owner's long job gets the turns afterwards that it could not have."""
    ann, bob = admitted("ann", LONG, turns=1), admitted("bob", LONG, turns=100_000)
    had = Training([ann, bob]).run(4_000)

    assert abs(had["ann"] - had["bob"]) <= 20


@pytest.mark.parametrize("others", [4, 6])
@pytest.mark.parametrize("owner", ["", "ann"], ids=["of several owners", "of one owner"])
def test_a_long_example_waits_for_no_batch_of_shorter_ones(others, owner):
    """Passes of unequal length, so that one of them is suspended at nearly every time."""
    ordinary = [admitted(f"job{number}", (300,) * (7 + 4 * number), owner=owner) for number in range(others)]
    had = Training([admitted("long", LONG, owner=owner), *ordinary]).run(4_000)

    assert had["long"] == pytest.approx(4_000 / (others + 1), rel=0.05)


@pytest.mark.parametrize("begun", [("ann", "bob", "cid"), ("cid", "bob", "ann")])
def test_jobs_with_long_examples_alternate_and_have_one_of_them_in_memory(begun):
    jobs = {"ann": admitted("ann", LONG), "bob": admitted("bob", (300, 3_000)), "cid": admitted("cid")}
    training = Training([jobs[name] for name in begun])
    had = training.run(4_000)

    assert training.most_long == 1
    assert set(had) == set(jobs)
    assert max(had.values()) - min(had.values()) <= 20
    assert min(had.values()) > 1_000


def test_who_waited_for_a_long_example_when_it_was_its_turn_begins_the_next_one():
    """Its owner had turns for another job meanwhile, so both owners have had equally many when that example ends."""
    waiting, short = admitted("waiting", LONG, turns=50, owner="ann"), admitted("short", owner="ann")
    other = admitted("other", LONG, owner="bob")
    had = Training([other, waiting, short]).run(4_000)

    assert had["other"] == pytest.approx(had["waiting"] + had["short"], abs=20)
    assert had["waiting"] == pytest.approx(had["short"], abs=60)


def test_a_job_that_waited_first_in_order_begins_before_others_unless_it_goes():
    jobs = [admitted(name, LONG) for name in ("ann", "bob", "cid")]
    for each in jobs:
        each.prepare_batch(Effort(0))
    ann, bob, cid = jobs
    ann.under_way = suspended(ann, 2)
    turns = LongTurns(LIMITS.tokens, lambda _held: True, lambda job: Passes().least_held_bytes(job, LIMITS.own_tokens))
    assert turns.runnable([bob, ann, cid]) == [ann]

    ann.under_way = None
    assert turns.runnable([ann, cid, bob]) == [bob]
    assert turns.runnable([ann, cid]) == [ann, cid]

    ann.under_way = suspended(ann, 2)
    turns.runnable([bob, ann, cid])
    ann.under_way = None
    turns.choose(turns.runnable([ann, cid, bob]))
    assert turns.runnable([ann, cid, bob]) == [ann, cid, bob]


def in_memory_of(most, jobs, *, short=0):
    """Training whose suspended passes may hold so many tokens, and `short` beside the largest."""
    scheduler = Scheduler(Passes(pass_bytes=most, short_bytes=short), LIMITS, even=True, monotonic=None)
    return Training(jobs, scheduler=scheduler)


def test_jobs_whose_passes_fill_the_memory_alternate():
    """Each has batches of 16,000 tokens; two of them fit."""
    training = in_memory_of(40_000, [admitted(f"job{number}", (1_000,) * 16) for number in range(8)])
    had = training.run(8_000)

    assert training.most_held <= 16_000
    assert max(had.values()) - min(had.values()) <= 32


def test_short_passes_run_beside_one_that_is_larger_than_the_memory():
    large, *short = [admitted("large", (1_000,) * 50), *(admitted(f"short{number}", (500,) * 5) for number in range(3))]
    training = in_memory_of(20_000, [large, *short])
    had = training.run(4_000)

    assert 2_500 <= training.most_held <= 5_000
    assert max(had.values()) - min(had.values()) <= 100


@pytest.mark.parametrize("most", [0, 4_000])
def test_one_short_pass_runs_beside_a_large_one_however_little_memory_is_planned(most):
    """Of the short passes, each holds more than a quarter of what is planned."""
    large, *short = [admitted("large", (1_000,) * 50), *(admitted(f"short{number}", (500,) * 4) for number in range(3))]
    training = in_memory_of(most, [large, *short], short=2_000)
    had = training.run(4_000)

    assert training.most_held == 2_000
    assert max(had.values()) - min(had.values()) <= 100


@pytest.mark.parametrize("short", [0, 2_000])
def test_a_large_pass_does_not_wait_for_ever_while_smaller_ones_come_and_go(short):
    """Passes of several lengths, one of which is suspended at every time; all but the large one fit together."""
    others = [admitted(f"other{parts}", (1_000,) * parts) for parts in (11, 12, 13)]
    had = in_memory_of(40_000, [*others, admitted("large", (1_000,) * 20, turns=3)], short=short).run(120)

    assert had["large"] >= 20


def sharing(first, others):
    """The names of the jobs in the first's pass, of up to eight jobs."""
    queue = {each.definition.id: each for each in (first, *others)}
    scheduler = Scheduler(Passes(most_jobs=8), LIMITS, even=True, monotonic=None)
    return [each.definition.id for each in scheduler.next_jobs(queue)]


def test_beside_a_batch_that_no_other_can_join_no_other_is_rendered():
    others = [admitted(f"other{number}", (100,), turns=2) for number in range(7)]
    assert sharing(admitted("first", (1_000,) * 16), others) == ["first"]
    assert [each.examples.taken for each in others] == [0] * 7


def test_when_the_effort_is_spent_only_jobs_join_whose_batches_are_rendered():
    first, *others = [admitted(name, (100,), turns=2) for name in ("first", "other", "ready", "another")]
    first.examples.characters = 10**6
    first.turns = 1
    others[1].next_batch()
    assert sharing(first, others) == ["first", "ready"]
    assert [each.examples.taken for each in others] == [0, 1, 0]
