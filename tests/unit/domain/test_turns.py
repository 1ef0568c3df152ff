"""Whose turn it is on a trainer."""

from tuningfork.domain.turns import (
    LEAST_SECONDS,
    TURN_SECONDS,
    InTraining,
    Turn,
    by_owners,
    making_room,
    turn_beside_suspects,
)


def jobs(*names):
    """Jobs named by their owner and a number."""
    return [(name, name[0]) for name in names]


def training(**seconds):
    return [InTraining(job_id=name, owner=name[0], seconds=since) for name, since in seconds.items()]


def order(waiting, running=(), **last_turns):
    return [job_id for job_id, _ in by_owners(jobs(*waiting), running, last_turns)]


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
    assert order(["a1", "b1", "c1"], a=7, b=3) == ["c1", "b1", "a1"]


def test_who_has_most_makes_room_by_the_job_that_it_has_trained_least():
    running = training(a1=90, a2=LEAST_SECONDS, a3=40, b1=50)
    assert making_room(running, "c") == "a2"
    assert making_room(running, "b") == "a2"


def test_a_job_that_was_just_taken_up_is_left_alone():
    assert making_room(training(a1=90, a2=LEAST_SECONDS - 1), "b") is None


def test_nobody_makes_room_for_an_owner_with_as_many_or_more():
    assert making_room(training(a1=900, b1=900), "a") is None
    assert making_room(training(a1=900, a2=900, b1=900), "a") is None


def test_owners_that_would_exchange_their_roles_take_long_turns():
    assert making_room(training(a1=TURN_SECONDS - 1, b1=TURN_SECONDS - 9), "c") is None
    assert making_room(training(a1=TURN_SECONDS + 9, b1=TURN_SECONDS), "c") == "a1"
