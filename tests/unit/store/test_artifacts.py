"""The artifact directory."""

import json
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tuningfork.domain.dataset import Example
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import read_dataset
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.tuned_models import IdTaken

JOB, OTHER = JobId("abc"), JobId("def")
EXAMPLES = (Example("1", "2"), Example("a\u2028b\r\nc", "七\x85\0"), Example("", "🍴"))


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def finished_adapter(artifacts, job_id, content="weights"):
    directory = artifacts.prepare_work(job_id) / "adapter"
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_text(content)
    return directory


def test_a_dataset_is_read_as_it_was_written(artifacts):
    assert read_dataset(artifacts.write_dataset(JOB, EXAMPLES)) == EXAMPLES


def test_a_dataset_is_a_json_object_a_line_whatever_the_texts_hold(artifacts):
    lines = artifacts.write_dataset(JOB, EXAMPLES).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["output"] for line in lines] == ["2", "七\x85\0", "🍴"]


def test_nothing_but_the_whole_dataset_is_left(artifacts, tmp_path):
    artifacts.write_dataset(JOB, EXAMPLES)
    assert files(tmp_path / "artifacts") == ["datasets/abc.jsonl"]


def test_the_dataset_of_another_job_is_never_overwritten(artifacts):
    path = artifacts.write_dataset(JOB, EXAMPLES)
    with pytest.raises(IdTaken):
        artifacts.write_dataset(JOB, EXAMPLES[:1])
    assert read_dataset(path) == EXAMPLES


def test_a_write_that_fails_leaves_nothing(artifacts, tmp_path):
    with pytest.raises(AttributeError):
        artifacts.write_dataset(JOB, (EXAMPLES[0], "no example"))
    assert files(tmp_path / "artifacts") == []


def test_an_adapter_moves_into_place(artifacts, tmp_path):
    place = artifacts.install_adapter(JOB, finished_adapter(artifacts, JOB))
    assert place == artifacts.adapter_directory(JOB)
    assert files(tmp_path / "artifacts") == ["adapters/abc/adapter_model.safetensors"]


def test_a_finish_that_is_repeated_replaces_the_adapter_nobody_was_told_of(artifacts):
    artifacts.install_adapter(JOB, finished_adapter(artifacts, JOB, "first"))
    place = artifacts.install_adapter(JOB, finished_adapter(artifacts, JOB, "second"))
    assert (place / "adapter_model.safetensors").read_text() == "second"


def test_preparing_work_keeps_an_earlier_trainers_checkpoint(artifacts):
    (artifacts.prepare_work(JOB) / "checkpoint").write_text("step 4")
    assert (artifacts.prepare_work(JOB) / "checkpoint").read_text() == "step 4"


def test_a_source_is_kept_whatever_becomes_of_its_origin(artifacts, tmp_path):
    artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
    (artifacts.adapter_directory(OTHER) / "adapter_config.json").write_text("{}")
    kept = artifacts.keep_source(JOB, OTHER)
    artifacts.delete(OTHER)

    assert kept
    assert files(tmp_path / "artifacts") == [
        "work/abc/source/adapter_config.json",
        "work/abc/source/adapter_model.safetensors",
    ]
    assert (artifacts.source_directory(JOB) / "adapter_model.safetensors").read_text() == "weights"


def test_a_source_takes_no_room_where_files_can_be_shared(artifacts):
    place = artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
    artifacts.keep_source(JOB, OTHER)
    source = artifacts.source_directory(JOB) / "adapter_model.safetensors"
    assert source.samefile(place / "adapter_model.safetensors")


def test_a_source_is_copied_where_files_cannot_be_shared(artifacts, tmp_path):
    other_disk = Path("/dev/shm")
    if other_disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with TemporaryDirectory(dir=other_disk) as elsewhere:
        (Path(elsewhere) / "adapter_model.safetensors").write_text("weights")
        artifacts.adapter_directory(OTHER).symlink_to(elsewhere)
        artifacts.keep_source(JOB, OTHER)
    assert (artifacts.source_directory(JOB) / "adapter_model.safetensors").read_text() == "weights"


def test_a_source_that_is_not_there_is_not_kept(artifacts, tmp_path):
    assert not artifacts.keep_source(JOB, OTHER)
    assert files(tmp_path / "artifacts") == []
    assert not artifacts.source_directory(JOB).exists()


def test_a_source_is_the_trainers_and_goes_with_its_work(artifacts, tmp_path):
    artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
    artifacts.keep_source(JOB, OTHER)
    artifacts.discard_work(JOB)
    assert files(tmp_path / "artifacts") == ["adapters/def/adapter_model.safetensors"]


def test_deleting_removes_everything_of_one_job(artifacts, tmp_path):
    for job_id in (JOB, OTHER):
        artifacts.write_dataset(job_id, EXAMPLES)
        artifacts.install_adapter(job_id, finished_adapter(artifacts, job_id))
    artifacts.delete(JOB)
    artifacts.delete(JOB)
    assert files(tmp_path / "artifacts") == ["adapters/def/adapter_model.safetensors", "datasets/def.jsonl"]


def test_deleting_can_leave_the_work_to_its_trainer(artifacts, tmp_path):
    artifacts.write_dataset(JOB, EXAMPLES)
    finished_adapter(artifacts, JOB)
    artifacts.delete(JOB, keep_work=True)
    assert files(tmp_path / "artifacts") == ["work/abc/adapter/adapter_model.safetensors"]


def test_a_sweep_removes_what_no_job_knows_and_what_was_never_completed(artifacts, tmp_path):
    for job_id in (JOB, OTHER):
        artifacts.write_dataset(job_id, EXAMPLES)
        finished_adapter(artifacts, job_id)
    (tmp_path / "artifacts/datasets/abc.aside").write_text("half")
    (tmp_path / "artifacts/datasets/ghi.aside").write_text("half")

    assert artifacts.sweep({JOB}) == [OTHER]
    assert files(tmp_path / "artifacts") == [
        "datasets/abc.jsonl",
        "work/abc/adapter/adapter_model.safetensors",
    ]


def test_only_the_servers_user_can_read_what_others_wrote(tmp_path):
    Artifacts(tmp_path / "artifacts")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "artifacts").iterdir()}
    assert modes == {0o700}
