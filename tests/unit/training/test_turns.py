"""Passes go to owners by turns, and to the jobs of one owner by turns among each other."""

from dataclasses import dataclass, field

from tuningfork.training.turns import OwnerTurns, evenly


@dataclass
class Job:
    owner: str


@dataclass
class Waiting:
    """What the order looks at in a run."""

    name: str
    turns: int
    definition: Job = field(init=False)

    def __post_init__(self):
        self.definition = Job(self.name[0])


def passes(owners, runs, count, cost=lambda run: 1):
    """Who gets each of the next passes."""
    names = []
    for _ in range(count):
        chosen = owners.in_order(runs)[0]
        owners.choose([chosen])
        chosen.turns += cost(chosen)
        names.append(chosen.name)
    return names


def test_an_owner_with_one_job_has_as_many_passes_as_one_with_many():
    owners = OwnerTurns()
    runs = [Waiting(name, 1) for name in ("a1", "a2", "a3", "b1")]
    assert passes(owners, runs, 8) == ["a1", "b1", "a2", "b1", "a3", "b1", "a1", "b1"]


def test_a_large_pass_counts_as_several_turns():
    owners = OwnerTurns()
    runs = [Waiting("a1", 1), Waiting("b1", 1)]
    assert passes(owners, runs, 8, cost=lambda run: 3 if run.name == "a1" else 1) == [
        *("a1", "b1", "b1", "b1"),
        *("a1", "b1", "b1", "b1"),
    ]


def test_an_owner_that_comes_later_makes_up_for_no_turns():
    owners = OwnerTurns()
    runs = [Waiting("a1", 1)]
    passes(owners, runs, 50)
    runs.append(Waiting("b1", owners.first_turns("b")))
    assert sorted(passes(owners, runs, 6)) == ["a1", "a1", "a1", "b1", "b1", "b1"]


def test_a_new_job_stands_beside_its_owners_others():
    owners = OwnerTurns()
    runs = [Waiting("a1", 1), Waiting("b1", 1)]
    passes(owners, runs, 100, cost=lambda run: 1 if run.name == "a1" else 5)
    runs.append(Waiting("a2", owners.first_turns("a")))
    later = [name for name in passes(owners, runs, 20) if name != "b1"]
    assert abs(later.count("a1") - later.count("a2")) <= 1


def test_jobs_that_shared_a_pass_have_all_had_their_turn():
    owners = OwnerTurns()
    runs = [Waiting("a1", 1), Waiting("a2", 1), Waiting("b1", 1)]
    owners.in_order(runs)
    owners.choose(runs)
    for run in runs:
        run.turns += 1
    assert [run.name for run in owners.in_order(runs)] == ["b1", "a1", "a2"]


def test_in_a_pass_that_jobs_share_owners_have_equally_many():
    runs = [Waiting(name, 1) for name in ("a1", "b1", "b2", "a2", "c1", "b3", "a3", "c2")]
    assert [run.name for run in evenly(runs)] == ["a1", "b1", "b2", "a2", "c1", "c2"]
    assert evenly(runs[1:3]) == runs[1:3]
    assert evenly([]) == []


def test_beside_many_jobs_of_another_owner_a_job_has_half_of_every_shared_pass():
    owners = OwnerTurns()
    runs = [Waiting(name, 1) for name in ("a1", "a2", "a3", "a4", "b1")]
    for _ in range(40):
        shared = evenly(owners.in_order(runs))
        owners.choose(shared)
        for run in shared:
            run.turns += 1
    gained = {run.name: run.turns - 1 for run in runs}
    assert gained == {"a1": 10, "a2": 10, "a3": 10, "a4": 10, "b1": 40}
