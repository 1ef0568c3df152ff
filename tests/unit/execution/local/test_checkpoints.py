import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from patience import PATIENCE_SECONDS
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.execution.local.checkpoints import KeptCheckpoints


@pytest.fixture
def kept(tmp_path):
    with ThreadPoolExecutor(1) as writers:
        yield KeptCheckpoints("job", LocalArtifactStore(tmp_path), ArtifactRef("work/job/checkpoints"), writers)


def write(directory):
    directory.mkdir(parents=True)
    (directory / "adapter").write_text(directory.name)


def test_a_checkpoint_is_told_of_once_when_it_has_reached_the_disk(kept):
    opened = threading.Event()

    def slow(directory):
        assert opened.wait(PATIENCE_SECONDS)
        write(directory)

    kept.keep(4, slow)
    assert kept.completed() == []
    opened.set()
    assert kept.completed(wait=True) == [4]
    with kept.artifacts.reading(kept.ref(4)) as directory:
        assert (directory / "adapter").is_file()
    assert kept.completed(wait=True) == []


def test_those_that_an_earlier_trainer_left_are_found_up_to_a_step(kept):
    assert kept.found(100) == []
    for step in (10, 2, 30):
        kept.keep(step, write)
    kept.completed(wait=True)
    assert kept.found(10) == [2, 10]
    assert kept.found(9) == [2]


def test_one_that_could_not_be_written_is_logged_and_the_next_is_kept(kept, caplog):
    def full(directory):
        raise OSError(28, "No space left on device")

    kept.keep(1, full)
    kept.keep(2, write)
    with caplog.at_level(logging.ERROR):
        assert kept.completed(wait=True) == [2]
    assert "job job has no checkpoint of step 1" in caplog.text


def test_one_that_waits_and_is_not_needed_any_more_is_not_written(kept):
    begun, opened = threading.Event(), threading.Event()

    def slow(directory):
        begun.set()
        assert opened.wait(PATIENCE_SECONDS)
        write(directory)

    kept.keep(1, slow)
    assert begun.wait(PATIENCE_SECONDS)
    for step in (2, 3):
        kept.keep(step, write)
    kept.give_up(lambda step: step == 3)
    opened.set()

    # The first one had begun.
    assert kept.completed(wait=True) == [1, 3]
    assert kept.found(10) == [1, 3]


def test_one_that_is_dropped_is_not_found_any_more(kept):
    for step in (1, 2):
        kept.keep(step, write)
    kept.completed(wait=True)
    kept.drop(1)
    assert kept.found(10) == [2]
