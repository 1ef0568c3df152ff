"""`tuningfork jobs`, `watch` and `cancel`, and `tune --detach`."""

import json
import os
import pty

import pytest

import tuningfork as package


@pytest.fixture
def run(tuningfork, service, tmp_path):
    """A run that nobody watches: its model's name."""
    path = tmp_path / "pairs.csv"
    path.write_text("text_input,output\n1,2\n3,4\n7,8\n")
    ended = tuningfork("tune", path, "--detach")
    assert ended.code == 0
    return ended.output.strip()


def test_a_detached_run_is_begun_and_not_watched(run, service):
    assert run == "tunedModels/m-1"
    assert service.tuned[run]["step"] == 0


def test_jobs_are_listed_with_their_progress_one_a_line_where_no_person_reads(tuningfork, service, run):
    before = tuningfork("jobs").output
    service.look(run)
    service.look(run)

    assert before == f"{run}\twaiting\t0\t4\n"
    assert tuningfork("jobs").output == f"{run}\trunning\t2\t4\n"


def test_jobs_are_a_table_on_a_terminal(tuningfork, service, run, become_terminal):
    become_terminal()
    service.look(run)

    output = tuningfork("jobs").output

    assert "Tuning runs" in output
    assert "1 of 4 (25 %)" in output


def test_a_run_whose_examples_could_not_be_read_is_not_called_imported(tuningfork, service, run, become_terminal):
    service.tuned[run] |= {"total": 0, "error": "Row: 3. It has no contents."}
    become_terminal()

    output = tuningfork("jobs").output

    assert "ended" in output
    assert "imported" not in output
    assert "imported" not in tuningfork("watch", run).errors


LOADING = {"stage": "LOADING_BASE", "loadingBaseModel": "models/large", "loadingSeconds": 12.3}


def test_a_run_whose_base_is_loaded_says_so(tuningfork, service, run, become_terminal):
    service.stages[run] = LOADING | {"usualLoadingSeconds": 30}

    assert tuningfork("jobs").output == f"{run}\tloading\t0\t4\n"
    assert json.loads(tuningfork("jobs", "--json").output)["stages"] == {run: "LOADING_BASE"}
    become_terminal()
    assert "loading models/large for 12 of usually 30 s" in " ".join(tuningfork("jobs").output.split())
    service.look(run)
    assert "loading" not in tuningfork("jobs").output


def test_a_run_that_the_trainer_cannot_take_up_waits_and_says_why_also_if_it_has_steps(
    tuningfork, service, run, become_terminal
):
    reason = "memory is short: an adapter of rank 256 takes 23 MiB of memory"
    service.stages[run] = {"stage": "HELD_UP", "heldUpBy": reason}

    assert tuningfork("jobs").output == f"{run}\twaiting\t0\t4\n"
    lines = tuningfork("watch", run).errors.splitlines()
    assert lines[:2] == [f"{run}: 4 steps", "waiting to begin 4 steps"]
    service.look(run)
    assert tuningfork("jobs").output == f"{run}\tdone\t4\t4\n"


def test_a_run_that_is_held_up_in_its_middle_is_not_called_running(tuningfork, service, run, become_terminal):
    service.look(run)
    service.stages[run] = {"stage": "HELD_UP", "heldUpBy": "memory is short: it takes 23 MiB"}

    assert tuningfork("jobs").output == f"{run}\twaiting\t1\t4\n"
    become_terminal()
    assert "waiting, since memory is short: it takes 23 MiB" in " ".join(tuningfork("jobs").output.split())


def test_the_list_tells_how_long_a_run_takes_for_the_rest(tuningfork, service, run, become_terminal):
    service.look(run)
    service.stages[run] = {"stage": "TRAINING", "secondsLeft": 150.0}
    become_terminal()

    assert "about 2.5 min left" in " ".join(tuningfork("jobs").output.split())
    service.stages[run] = {"stage": "TRAINING", "secondsLeft": "Infinity"}
    assert "left" not in tuningfork("jobs").output


@pytest.mark.parametrize("knows", [True, False])
def test_who_watches_is_told_once_that_the_base_is_loaded(tuningfork, service, run, knows):
    service.knows_stages = knows
    service.stages[run] = LOADING
    service.still_looks = 3

    lines = tuningfork("watch", run).errors.splitlines()

    assert lines[:2] == [f"{run}: 4 steps", "waiting to begin 4 steps"]
    assert lines.count("loading models/large") == knows
    assert "step 4/4" in lines[-3]


@pytest.mark.parametrize("prefix", ["", "tunedModels/"])
def test_watching_goes_on_from_where_the_run_is_and_prints_the_name(tuningfork, service, run, prefix):
    service.look(run)

    ended = tuningfork("watch", prefix + run.removeprefix("tunedModels/"))

    assert (ended.code, ended.output) == (0, f"{run}\n")
    assert "step 1/4" in ended.errors
    assert "step 4/4" in ended.errors


LEVEL = {"kind": "loss_level", "description": "The loss stayed level.", "advice": "Try ten times the learning rate."}


def test_what_the_losses_give_reason_to_warn_of_is_said_at_the_end(tuningfork, service, run):
    service.findings[run] = [LEVEL]

    ended = tuningfork("watch", run)

    assert (ended.code, ended.output) == (0, f"{run}\n")
    assert "Warning: The loss stayed level. Try ten times the learning rate.\nDone." in ended.errors


def test_a_good_run_ends_without_a_warning(tuningfork, run):
    assert "Warning" not in tuningfork("watch", run).errors


def test_a_server_that_does_not_tell_findings_is_judged_by_its_steps(tuningfork, service, run):
    service.knows_findings = False
    service.losses = [0.0] * 4

    assert "Warning: The loss was 0.000 for most steps, from step 1 of 4 on." in tuningfork("watch", run).errors
    assert tuningfork("jobs").output == f"{run}\tdone\t4\t4\n"


def test_jobs_list_the_kinds_of_findings(tuningfork, service, run, become_terminal):
    service.findings[run] = [LEVEL, {"kind": "something_new"}]

    assert tuningfork("jobs").output == f"{run}\twaiting\t0\t4\tloss_level\tsomething_new\n"
    assert json.loads(tuningfork("jobs", "--json").output)["findings"] == {run: ["loss_level", "something_new"]}
    become_terminal()
    assert "loss level; something new" in tuningfork("jobs").output


def test_a_cancelled_run_ends(tuningfork, run):
    assert tuningfork("cancel", run).output == f"{run}\n"
    assert tuningfork("jobs").output.startswith(f"{run}\tended")


@pytest.mark.parametrize("command", ["watch", "cancel"])
def test_a_model_that_is_not_there_has_no_run(tuningfork, command):
    ended = tuningfork(command, "nobody")

    assert ended.code == 1
    assert "Tuned model tunedModels/nobody does not exist" in ended.errors


@pytest.mark.parametrize(("answer", "left"), [("n", True), ("y", False)])
def test_deleting_asks_on_a_terminal(tuningfork, service, run, monkeypatch, answer, left):
    theirs, ours = pty.openpty()
    os.write(theirs, f"{answer}\n".encode())
    with os.fdopen(ours, "r") as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        ended = tuningfork("delete", run)
    os.close(theirs)

    assert f"Delete {run} for good?" in ended.errors
    assert (run in service.tuned, ended.code) == (left, int(left))


def test_deleting_does_not_ask_where_nobody_is_or_with_yes(tuningfork, service, run):
    assert tuningfork("delete", run, "--yes").code == 0
    assert run not in service.tuned


def test_the_version_is_told(tuningfork):
    assert tuningfork("--version").output == f"tuningfork {package.__version__}\n"


@pytest.mark.parametrize("command", [(), ("tune",), ("keys", "list")])
def test_help_has_a_short_form(tuningfork, command):
    assert tuningfork(*command, "-h").output == tuningfork(*command, "--help").output
