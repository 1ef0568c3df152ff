"""What jobs wait for that a trainer has not taken up."""

from tuningfork.domain.job_stage import Beginning
from tuningfork.execution.local.loadings import Loadings


class Seconds:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_job_that_nothing_was_told_of_waits_for_the_trainer():
    loadings = Loadings(Seconds())
    loadings.given("a")

    assert loadings.beginnings() == {"a": Beginning()}


def test_a_base_that_is_loaded_is_told_with_its_time_also_of_jobs_behind():
    seconds = Seconds()
    loadings = Loadings(seconds)
    loadings.given("a")
    loadings.given("b")
    loadings.loading("a", "models/x")
    seconds.now += 3
    # Told again, it is the same loading: its files were read by a renderer first.
    loadings.loading("a", "models/x")

    loading = Beginning(base="models/x", seconds=3.0)
    assert loadings.beginnings() == {"a": loading, "b": loading}


def test_a_job_that_is_taken_up_waits_no_more_and_the_next_load_has_its_usual_time():
    seconds = Seconds()
    loadings = Loadings(seconds)
    loadings.given("a")
    loadings.loading("a", "models/x")
    seconds.now += 20
    loadings.taken_up("a", has_base=True)
    loadings.taken_up("a", has_base=True)

    assert loadings.beginnings() == {}
    loadings.given("b")
    loadings.loading("b", "models/x")
    seconds.now += 5
    assert loadings.beginnings() == {"b": Beginning(base="models/x", seconds=5.0, usual_seconds=20.0)}


def test_a_trainer_that_ends_takes_its_jobs_with_it():
    loadings = Loadings(Seconds())
    loadings.given("a")
    loadings.forget_all()

    assert loadings.beginnings() == {}


def test_a_base_that_could_not_be_loaded_has_no_usual_time():
    loadings = Loadings(Seconds())
    for job_id in ("a", "b"):
        loadings.given(job_id)
        loadings.loading(job_id, "models/x")
    loadings.taken_up("a", has_base=False)

    assert loadings.beginnings()["b"].usual_seconds is None


def test_a_job_that_is_held_up_says_why_and_the_others_do_not_wait_for_its_base():
    loadings = Loadings(Seconds())
    loadings.given("a")
    loadings.given("b")
    loadings.loading("a", "models/x")
    loadings.held_up("a", "memory is short")

    assert loadings.beginnings() == {"a": Beginning(held_up_by="memory is short"), "b": Beginning()}
    loadings.loading("a", "models/x")
    assert loadings.beginnings()["a"].base == "models/x"
    loadings.held_up("a", "memory is short")
    loadings.taken_up("a", has_base=True)
    assert loadings.beginnings() == {"b": Beginning()}
