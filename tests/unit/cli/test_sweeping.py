"""`tuningfork sweep`, from a file to the best of several models."""

import json
import os
import signal
import threading

import pytest

from patience import wait_until
from tuningfork.client import sweep as sweeps

CSV = "text_input,output\n1,2\n3,4\n7,8\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    # Why: a test needs no half seconds between two looks.
    monkeypatch.setattr(sweeps, "_POLL_SECONDS", 0.0)
    # Why: on a busy machine a look takes long, and nine times as long is minutes.
    monkeypatch.setattr(sweeps, "_PAUSES", 0.0)


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def service(service):
    """Of which a learning rate of 0.01 with rank 8 has the lowest validation loss."""

    def losses(body):
        rate, rank = body["tuningTask"]["hyperparameters"].get("learningRate", 0.001), int(body["rank"] or 4)
        return [3.0, abs(rate - 0.01) * 100 + abs(rank - 8) / 8 + 0.5, 2.0]

    service.validation_losses = losses
    return service


def names(service):
    return {name: run["displayName"] for name, run in service.tuned.items()}


def test_the_best_model_stays_under_its_name_and_the_others_go(tuningfork, service, pairs):
    ended = tuningfork("sweep", pairs, "--learning-rates", "0.001,0.01,0.1", "--ranks", "4 8 16")

    [(name, shown)] = names(service).items()
    assert (ended.code, ended.output, shown) == (0, f"{name}\n", "pairs")
    assert len(service.bodies) == 9
    assert {json.dumps(each["tuningTask"]["validation"]) for each in service.bodies} == {
        json.dumps({"heldOutPercent": 10.0, "keepBest": True})
    }
    assert (
        "Best: learning rate 0.01, rank 8, with a validation loss of 0.5000 after step 2: 0.5000 (50.0%)"
        in ended.errors
    )
    assert "may be better" not in ended.errors


def test_a_table_says_what_each_setting_came_to_the_best_first(tuningfork, pairs):
    errors = tuningfork("sweep", pairs, "--learning-rates", "0.001,0.01", "--epochs", "4").errors
    rows = [line.split("  ") for line in errors.splitlines() if line.startswith(("setting", "learning"))]
    assert [row[0] for row in rows] == ["setting", "learning rate 0.01, epochs 4", "learning rate 0.001, epochs 4"]
    assert "The best learning rate, 0.01, is the highest of those tried" in errors


def test_all_models_are_kept_if_so_asked(tuningfork, service, pairs):
    ended = tuningfork("sweep", pairs, "--ranks", "4,8", "--keep", "--json")
    shown = json.loads(ended.output)
    assert len(service.tuned) == 2
    assert [(each["setting"]["rank"], each["kept"], each["step"]) for each in shown["trials"]] == [
        (8, True, 2),
        (4, True, 2),
    ]
    assert shown["best"] == shown["trials"][0]["tunedModel"]


def test_the_same_command_goes_on_with_the_runs_that_it_had_begun(tuningfork, service, pairs):
    tuningfork("sweep", pairs, "--ranks", "4,8", "--keep")
    before = {*service.tuned}
    ended = tuningfork("sweep", pairs, "--ranks", "4,8,16", "--keep")
    assert ended.code == 0
    assert before < {*service.tuned}
    assert len(service.bodies) == 5
    assert len(service.tuned) == 3


def test_a_model_that_somebody_has_renamed_stays(tuningfork, service, pairs):
    tuningfork("sweep", pairs, "--ranks", "4,16", "--display-name", "in use")
    [published] = service.tuned
    ended = tuningfork("sweep", pairs, "--ranks", "4,8,16")
    assert published in service.tuned
    assert names(service)[published] == "in use"
    assert f"The other models that stay: {published}" in ended.errors


def test_a_run_of_somebody_else_under_the_same_id_is_left_alone(tuningfork, service, pairs):
    tuningfork("sweep", pairs, "--ranks", "4,8", "--keep")
    theirs = {*service.tuned}
    service.private = theirs
    ended = tuningfork("sweep", pairs, "--ranks", "4,8", "--json")
    assert ended.code == 0
    assert theirs < {*service.tuned}
    assert not theirs & {each["tunedModel"] for each in json.loads(ended.output)["trials"]}


def test_a_server_that_takes_one_run_at_a_time_gets_them_one_after_the_other(tuningfork, service, pairs):
    service.most_runs = 1
    ended = tuningfork("sweep", pairs, "--ranks", "4,8,16")
    assert ended.code == 0
    assert [names(service)[name] for name in service.tuned] == ["pairs"]


def test_a_server_that_takes_none_refuses_in_its_words(tuningfork, service, pairs):
    service.most_runs = 0
    ended = tuningfork("sweep", pairs, "--ranks", "4,8")
    assert ended.code == 1
    assert "Too many jobs." in ended.errors


def test_runs_that_fail_are_told_and_nothing_is_published(tuningfork, service, pairs):
    service.fail_with = "the loss is not finite"
    ended = tuningfork("sweep", pairs, "--ranks", "4,8")
    assert (ended.code, ended.output) == (1, "")
    assert "No setting came to a validation loss: the loss is not finite" in ended.errors


def test_the_same_command_tries_again_what_failed(tuningfork, service, pairs):
    service.fail_with = "the disk is full"
    tuningfork("sweep", pairs, "--ranks", "4,8")
    [renamed, _] = service.tuned
    service.tuned[renamed]["displayName"] = "to look at"
    service.fail_with = None

    ended = tuningfork("sweep", pairs, "--ranks", "4,8", "--keep")

    assert ended.code == 0
    assert len(service.bodies) == 6
    assert sorted(names(service).values()) == ["pairs", "sweep: rank 4", "to look at"]


def test_a_run_that_another_sweep_over_the_same_examples_deletes_is_begun_again(tuningfork, service, pairs):
    service.still_looks = 3
    deleted = []

    def end_the_other():
        wait_until(lambda: len(service.tuned) == 2 and service.looks > 0, what="the runs are followed")
        deleted.append(service.tuned.pop(next(iter(service.tuned))))

    service.frozen = True
    other = threading.Thread(target=end_the_other)
    other.start()
    thaw = threading.Thread(target=lambda: (other.join(), setattr(service, "frozen", False)))
    thaw.start()
    ended = tuningfork("sweep", pairs, "--ranks", "4,8", "--keep")
    thaw.join()

    assert ended.code == 0, ended.errors
    assert (len(deleted), len(service.bodies), len(service.tuned)) == (1, 3, 2)


def test_a_best_model_that_is_deleted_before_it_gets_its_name_is_told(tuningfork, service, pairs, monkeypatch):
    # Why: another sweep deletes it between two requests of this one, and no test can tell when.
    monkeypatch.setattr(sweeps.Client, "update_tuned_model", lambda client, name, _: client.tuned_model(f"{name}x"))
    ended = tuningfork("sweep", pairs, "--ranks", "4,8")
    assert (ended.code, ended.output) == (1, "")
    assert "was deleted meanwhile" in ended.errors
    assert len(service.tuned) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "at least two"),
        (("--ranks", "8"), "at least two"),
        (("--ranks", "8,8"), "at least two"),
        (("--ranks", "4,x"), "'x' is no whole number"),
        (("--learning-rates", "0.1,high"), "'high' is no number"),
        (("--learning-rates", ",".join(str(n / 100) for n in range(1, 18))), "17 settings; a sweep has at most 16"),
        (("--ranks", "4,8", "--patience", "2"), "with --early-stopping only"),
    ],
)
def test_what_is_no_sweep_is_refused_before_anything_is_sent(tuningfork, service, pairs, options, said):
    ended = tuningfork("sweep", pairs, *options)
    assert ended.code == 2
    assert said in " ".join(ended.errors.replace("│", " ").split())
    assert service.bodies == []


def test_an_interrupted_one_says_how_to_go_on_and_how_to_clean_up(tuningfork, service, pairs):
    service.frozen = True

    def press_keys():
        wait_until(lambda: len(service.tuned) == 2 and service.looks > 0, what="the runs are followed")
        os.kill(os.getpid(), signal.SIGINT)

    person = threading.Thread(target=press_keys)
    person.start()
    ended = tuningfork("sweep", pairs, "--ranks", "4,8")
    person.join()
    assert (ended.code, ended.output) == (130, "")
    assert f"tuningfork sweep --ranks 4,8 {pairs}" in ended.errors
    for name in service.tuned:
        assert f"tuningfork delete --yes {name}" in ended.errors
