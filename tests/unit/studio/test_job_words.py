"""Every state of a job is a badge and a sentence."""

from datetime import UTC, datetime

import pytest

from tuningfork.studio.texts.catalog import LANGUAGES, Texts
from tuningfork.studio.view import job_words
from tuningfork.studio.view.job_words import Tone

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
TRAINING = {"state": "RUNNING", "phase": "TRAINING", "step": 8, "totalSteps": 19, "epoch": 1, "epochCount": 5}

STATES = [
    ({"state": "PREPARING"}, "Checking", Tone.WAITING, "The server is reading the examples."),
    ({"state": "QUEUED"}, "Queued", Tone.WAITING, "Yours is the next job."),
    (
        {"state": "QUEUED", "queue": {"position": 3, "jobsAhead": 2}, "estimatedStartTime": "2026-12-01T12:04:00Z"},
        "Queued, place 3",
        Tone.WAITING,
        "2 jobs are ahead of yours. It should start in about 4 minutes.",
    ),
    ({"state": "RUNNING", "phase": "STARTING"}, "Starting", Tone.BUSY, "The trainer is starting."),
    (
        {"state": "RUNNING", "phase": "LOADING_BASE", "baseModel": "models/smollm2"},
        "Starting",
        Tone.BUSY,
        "Loading smollm2. This is done once; the server then keeps it in memory.",
    ),
    (
        {"state": "RUNNING", "phase": "HELD_UP", "heldUpBy": "memory is short"},
        "Starting",
        Tone.BUSY,
        "The job waits: memory is short",
    ),
    (TRAINING, "Training 42%", Tone.BUSY, "Step 8 of 19, epoch 2 of 5."),
    (
        {**TRAINING, "secondsLeft": 0.2},
        "Training 42%",
        Tone.BUSY,
        "Step 8 of 19, epoch 2 of 5. About 1 second left.",
    ),
    (
        {**TRAINING, "lastReportTime": "2026-12-01T11:59:00Z"},
        "No news for 1 minute",
        Tone.BAD,
        "The trainer has not reported for a while. If it has stopped, the job goes on from step 8 by itself.",
    ),
    (
        {**TRAINING, "step": 19, "epoch": 5},
        "Finishing",
        Tone.BUSY,
        "All steps are done. Saving what was learned.",
    ),
    (
        {**TRAINING, "cancelRequested": True},
        "Stopping",
        Tone.BUSY,
        "Stopping after step 8. What was learned so far is kept.",
    ),
    (
        {"state": "SUCCEEDED", "lastTrainingLoss": 0.0412},
        "Ready",
        Tone.READY,
        "Ready. Training loss 0.0412 at the end.",
    ),
    (
        {"state": "SUCCEEDED", "imported": True},
        "Ready",
        Tone.READY,
        "Ready. Its adapter was trained elsewhere and imported.",
    ),
    ({"state": "FAILED", "step": 5}, "Failed", Tone.BAD, "Failed after step 5."),
    ({"state": "FAILED"}, "Failed", Tone.BAD, "Failed before the first step."),
    ({"state": "CANCELLED"}, "Stopped", Tone.GONE, "Stopped before anything was learned."),
    (
        {"state": "CANCELLED", "step": 8, "totalSteps": 19, "callable": True},
        "Stopped",
        Tone.GONE,
        "Stopped at step 8 of 19. What was learned until then is kept and can be used.",
    ),
    ({"state": "CANCELLED", "step": 8, "totalSteps": 19}, "Stopped", Tone.GONE, "Stopped at step 8 of 19."),
    ({"state": "SOMETHING_NEW"}, "Unknown", Tone.GONE, ""),
]


@pytest.mark.parametrize(("job", "badge", "tone", "sentence"), STATES)
def test_a_state_in_words(job, badge, tone, sentence):
    texts = Texts("en")

    assert job_words.badge(job, texts, NOW) == job_words.Badge(badge, tone)
    assert job_words.sentence(job, texts, NOW) == sentence


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_can_be_told_in_every_language(language):
    texts = Texts(language)
    told = [job_words.badge(job, texts, NOW).text + job_words.sentence(job, texts, NOW) for job, *_ in STATES]

    assert not [each for each in told if "{" in each]


def test_a_model_tells_how_long_it_took_and_its_best_validation_loss():
    job = {
        "state": "SUCCEEDED",
        "startTime": "2026-12-01T11:00:00Z",
        "completeTime": "2026-12-01T11:03:20Z",
        "bestValidation": {"step": 1600, "meanLoss": 0.21349},
        "lastTrainingLoss": 0.1,
    }

    assert (
        job_words.sentence(job, Texts("en"), NOW) == "Ready after 3 minutes. Best validation loss 0.213 at step 1,600."
    )


def test_a_loss_that_is_no_number_is_told_as_such():
    assert job_words.loss("NaN", Texts("en")) == "NaN"
    assert job_words.loss(None, Texts("en")) == ""


def test_a_job_without_steps_has_no_share():
    assert job_words.share_done({"state": "QUEUED"}) is None
    assert job_words.share_done({"step": 30, "totalSteps": 19}) == 1.0
