"""Settings of a sweep, their order, and what is said of the best."""

from datetime import UTC, datetime

import pytest

from tuningfork.client.dialect import Operation
from tuningfork.client.errors import ClientError
from tuningfork.client.results import RunResults
from tuningfork.client.sweep import Grid, Setting, Trial, ranked, verdict, winner
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuning_job import TuningRequest

REQUEST = TuningRequest(base_model="models/b", examples=(Conversation.pair("1", "2"),), held_out_percent=10.0)


def trial(rate, loss, *, error=None):
    setting = Setting(learning_rate=rate)
    best = None
    if loss is not None:
        time = datetime(2024, 3, 14, tzinfo=UTC)
        best = Evaluation(step=7, epoch=1, mean_loss=loss, targets=10, right_targets=5, compute_time=time)
    run = Operation(
        name="o",
        tuned_model="tunedModels/m",
        total_steps=10,
        snapshots=(),
        done=True,
        error=error,
        results=RunResults(validation_count=2, best=best),
    )
    return Trial(setting=setting, request=setting.of(REQUEST), run=run)


def test_every_combination_is_a_setting():
    grid = Grid(learning_rates=(0.1, 0.2), ranks=(4, 8), epochs=(3,))
    assert [each.in_words for each in grid.settings()] == [
        "learning rate 0.1, rank 4, epochs 3",
        "learning rate 0.1, rank 8, epochs 3",
        "learning rate 0.2, rank 4, epochs 3",
        "learning rate 0.2, rank 8, epochs 3",
    ]


def test_the_same_is_asked_under_the_same_id_and_another_under_another():
    asked = [Setting(learning_rate=0.1, rank=4).of(REQUEST) for _ in range(2)]
    assert asked[0] == asked[1]
    assert asked[0].keep_best
    ids = {each.of(REQUEST).tuned_model_id for each in Grid(learning_rates=(0.1, 0.2), ranks=(4, 8)).settings()}
    ids |= {Setting(learning_rate=0.1, rank=4).of(TuningRequest(base_model="models/c")).tuned_model_id}
    assert len(ids) == 5
    assert asked[0].tuned_model_id in ids


def test_the_name_for_people_is_no_part_of_what_is_asked():
    renamed = TuningRequest(**{name: getattr(REQUEST, name) for name in ("base_model", "examples", "held_out_percent")})
    assert Setting(rank=4).of(renamed).tuned_model_id == Setting(rank=4).of(REQUEST).tuned_model_id


def test_the_lowest_loss_is_first_and_runs_without_one_are_last():
    trials = [trial(0.1, 2.0), trial(0.2, None), trial(0.3, 1.0), trial(0.4, 0.5, error="it failed")]
    assert [each.setting.learning_rate for each in ranked(trials)] == [0.3, 0.1, 0.2, 0.4]
    assert winner(trials).setting.learning_rate == 0.3


def test_without_any_loss_it_says_why():
    with pytest.raises(ClientError, match="No setting came to a validation loss: it failed"):
        winner([trial(0.1, 1.0, error="it failed"), trial(0.2, None)])


def test_the_verdict_says_by_how_much():
    assert verdict([trial(0.1, 2.0), trial(0.3, 1.5)]) == (
        "Best: learning rate 0.3, with a validation loss of 1.5000 after step 7: 0.5000 (25.0%) below the next best, "
        "learning rate 0.1."
    )
    assert verdict([trial(0.1, 2.0), trial(0.3, None)]).endswith("2.0000 after step 7.")
    assert "0.0000 below" in verdict([trial(0.1, 0.0), trial(0.3, 0.0)])


@pytest.mark.parametrize(
    ("grid", "best", "said"),
    [
        (
            Grid(learning_rates=(0.001, 0.01, 0.1)),
            Setting(learning_rate=0.1),
            ["The best learning rate, 0.1, is the highest of those tried: higher ones may be better, such as 1."],
        ),
        (Grid(learning_rates=(0.001, 0.01, 0.1)), Setting(learning_rate=0.01), []),
        (Grid(learning_rates=(0.1,)), Setting(learning_rate=0.1), []),
        (
            Grid(ranks=(8, 4)),
            Setting(rank=4),
            ["The best rank, 4, is the lowest of those tried: lower ones may be better, such as 2."],
        ),
        (Grid(epochs=(1, 8)), Setting(epochs=1), []),
    ],
)
def test_a_value_at_the_edge_of_those_tried_is_warned_of(grid, best, said):
    assert [*grid.edges(best)] == said
