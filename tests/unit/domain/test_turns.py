"""Whose turn it is on a trainer."""

from tuningfork.domain.turns import (
    LEAST_SECONDS,
    TURN_SECONDS,
    InTraining,
    LastTurns,
    Tenant,
    Turn,
    in_turn,
    making_room,
    turn_beside_suspects,
)


def tenant(name):
    """That of a job whose name is its owner and a number, and before them a project in capitals, or none."""
    return Tenant(project=name[0], owner=name[1]) if name[0].isupper() else Tenant(owner=name[0])


def training(**seconds):
    return [InTraining(job_id=name, tenant=tenant(name), seconds=since) for name, since in seconds.items()]


def order(waiting, running=(), turns=()):
    """The order in which jobs are taken up, after these turns."""
    last = LastTurns()
    for name in turns:
        last.taken(tenant(name))
    jobs = [(name, tenant(name)) for name in waiting]
    return [job_id for job_id, _ in in_turn(jobs, [each.tenant for each in running], last)]


def test_a_suspect_waits_until_the_others_have_paused_and_is_then_taken_up_alone():
    assert turn_beside_suspects(["a", "b"], [], ["s", "t"]) == Turn(pause=frozenset("ab"))
    assert turn_beside_suspects([], [], ["s", "t"]) == Turn(next=("s", "t"), alone=True)


def test_beside_a_suspect_no_job_is_taken_up_and_none_stays():
    assert turn_beside_suspects(["s"], ["s"], ["t"]) == Turn()
    assert turn_beside_suspects(["a", "s"], ["s"], []) == Turn(pause=frozenset("a"))


def test_without_suspects_there_is_no_such_turn():
    assert turn_beside_suspects(["a"], [], []) is None


def test_one_owners_jobs_are_taken_up_in_the_order_of_age():
    assert order(["a3", "a1", "a2"]) == ["a3", "a1", "a2"]


def test_owners_take_turns_however_many_jobs_each_has_in_the_queue():
    assert order(["a1", "a2", "a3", "a4", "b1", "c1", "b2"]) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_whoever_has_fewest_jobs_in_training_comes_first():
    assert order(["a1", "a2", "b1"], training(a8=1, a9=1)) == ["b1", "a1", "a2"]


def test_of_equals_the_one_whose_turn_was_longest_ago_comes_first():
    assert order(["a1", "b1", "c1"], turns=["b", "a"]) == ["c1", "b1", "a1"]


def test_who_has_most_makes_room_by_the_job_that_it_has_trained_least():
    running = training(a1=90, a2=LEAST_SECONDS, a3=40, b1=50)
    assert making_room(running, tenant("c")) == "a2"
    assert making_room(running, tenant("b")) == "a2"


def test_a_job_that_was_just_taken_up_is_left_alone():
    assert making_room(training(a1=90, a2=LEAST_SECONDS - 1), tenant("b")) is None


def test_nobody_makes_room_for_an_owner_with_as_many_or_more():
    assert making_room(training(a1=900, b1=900), tenant("a")) is None
    assert making_room(training(a1=900, a2=900, b1=900), tenant("a")) is None


def test_owners_that_would_exchange_their_roles_take_long_turns():
    assert making_room(training(a1=TURN_SECONDS - 1, b1=TURN_SECONDS - 9), tenant("c")) is None
    assert making_room(training(a1=TURN_SECONDS + 9, b1=TURN_SECONDS), tenant("c")) == "a1"


def test_projects_take_turns_then_the_owners_of_each_and_then_age_counts():
    waiting = ["Pa1", "Pa2", "Pa3", "Pb1", "Qc1", "Qc2"]
    assert order(waiting) == ["Pa1", "Qc1", "Pb1", "Qc2", "Pa2", "Pa3"]


def test_a_project_with_few_jobs_in_training_comes_before_one_with_many_whoever_waited_longer():
    assert order(["Pb1", "Qc1"], training(Pa8=1, Pa9=1)) == ["Qc1", "Pb1"]


def test_an_owner_gains_nothing_by_naming_many_projects():
    waiting = ["Aa1", "Ba1", "Ca1", "Da1", "Qc1", "Qc2"]
    assert order(waiting) == ["Aa1", "Qc1", "Ba1", "Qc2", "Ca1", "Da1"]
    # One place, which is free again each time.
    assert order(waiting[1:], turns=["Aa"]) == ["Qc1", "Ba1", "Qc2", "Ca1", "Da1"]


def test_the_project_with_most_jobs_makes_room_and_within_it_the_owner_with_most():
    running = training(Pa1=90, Pa2=40, Pb1=50)
    assert making_room(running, tenant("Qc")) == "Pa2"
    assert making_room(training(Pa1=90, Pa2=40, Pa3=60, Qc1=50), tenant("Pb")) == "Pa2"
    assert making_room(training(Pa1=90, Pb1=50, Qc1=50), tenant("Qd")) is None
