"""The artifact directory."""

import hashlib
import json
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.tuned_models import IdTaken

JOB, OTHER = JobId("abc"), JobId("def")
EXAMPLES = (Conversation.pair("1", "2"), Conversation.pair("a\u2028b\r\nc", "七\x85\0"), Conversation.pair("", "🍴"))


def files(root):
    """All files but manifests and locks."""
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.parts[0] not in ("manifests", "locks"))


def finished_adapter(artifacts, job_id, content="weights"):
    artifacts.prepare_work(job_id)
    ref = artifacts.work(job_id).below("adapter")
    with artifacts.store.writing(ref) as directory:
        directory.mkdir()
        (directory / "adapter_model.safetensors").write_text(content)
    return ref


def test_a_dataset_is_read_as_it_was_written(artifacts):
    assert tuple(DatasetFile(artifacts.write_dataset(JOB, EXAMPLES))) == EXAMPLES


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
    assert tuple(DatasetFile(path)) == EXAMPLES


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


def test_preparing_work_keeps_an_earlier_trainers_savepoint(artifacts):
    (artifacts.prepare_work(JOB) / "savepoint").write_text("step 4")
    assert (artifacts.prepare_work(JOB) / "savepoint").read_text() == "step 4"


def test_a_source_is_kept_whatever_becomes_of_its_origin(artifacts, tmp_path):
    artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
    (artifacts.adapter_directory(OTHER) / "adapter_config.json").write_text("{}")
    kept = artifacts.keep_source(JOB, artifacts.adapter(OTHER))
    artifacts.delete(OTHER)

    assert kept
    assert files(tmp_path / "artifacts") == [
        "work/abc/source/adapter_config.json",
        "work/abc/source/adapter_model.safetensors",
    ]
    assert (artifacts.source_directory(JOB) / "adapter_model.safetensors").read_text() == "weights"


def test_a_source_takes_no_room_where_files_can_be_shared(artifacts):
    place = artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
    artifacts.keep_source(JOB, artifacts.adapter(OTHER))
    source = artifacts.source_directory(JOB) / "adapter_model.safetensors"
    assert source.samefile(place / "adapter_model.safetensors")


def test_a_source_is_copied_where_files_cannot_be_shared(artifacts, tmp_path):
    other_disk = Path("/dev/shm")
    if other_disk.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with TemporaryDirectory(dir=other_disk) as elsewhere:
        (Path(elsewhere) / "adapter_model.safetensors").write_text("weights")
        artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
        shutil.rmtree(artifacts.adapter_directory(OTHER))
        artifacts.adapter_directory(OTHER).symlink_to(elsewhere)
        artifacts.keep_source(JOB, artifacts.adapter(OTHER))
    assert (artifacts.source_directory(JOB) / "adapter_model.safetensors").read_text() == "weights"


def test_a_source_that_is_not_there_is_not_kept(artifacts, tmp_path):
    assert not artifacts.keep_source(JOB, artifacts.adapter(OTHER))
    assert files(tmp_path / "artifacts") == []
    assert not artifacts.source_directory(JOB).exists()


def test_a_source_is_the_trainers_and_goes_with_its_work(artifacts, tmp_path):
    artifacts.install_adapter(OTHER, finished_adapter(artifacts, OTHER))
    artifacts.keep_source(JOB, artifacts.adapter(OTHER))
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


def test_datasets_that_were_never_completed_are_no_jobs_and_may_go(artifacts, tmp_path):
    artifacts.write_dataset(JOB, EXAMPLES)
    (tmp_path / "artifacts/datasets/ghi.aside").write_text("half")

    assert artifacts.job_ids() == {JOB}
    with artifacts.no_creations() as alone:
        assert alone
        artifacts.remove_unfinished()
    assert files(tmp_path / "artifacts") == ["datasets/abc.jsonl"]


def test_no_start_looks_for_files_without_a_row_while_a_dataset_waits_for_its_row(artifacts, tmp_path):
    other_server = Artifacts(tmp_path / "artifacts")
    with artifacts.staged_dataset(EXAMPLES), other_server.no_creations() as alone:
        assert not alone
    with other_server.no_creations() as alone:
        assert alone


@pytest.mark.parametrize("name", [".DS_Store", ".nfs0001", "lost+found", "Copy of abc.jsonl"])
def test_files_that_are_not_ours_are_no_jobs(artifacts, tmp_path, name):
    for kind in ("datasets", "work", "checkpoints", "adapters"):
        (tmp_path / "artifacts" / kind / name).mkdir()

    assert artifacts.job_ids() == set()


def test_what_is_set_aside_keeps_its_place_and_its_content(artifacts, tmp_path):
    for job_id in (JOB, OTHER):
        artifacts.write_dataset(job_id, EXAMPLES)
        artifacts.install_adapter(job_id, finished_adapter(artifacts, job_id))
    root = tmp_path / "artifacts"
    before = {name: (root / name).read_bytes() for name in files(root) if OTHER in name}

    folder = artifacts.set_aside([OTHER])

    assert folder.parent == root / "set-aside"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} >= before.keys()
    assert all((folder / name).read_bytes() == was for name, was in before.items())
    assert artifacts.job_ids() == {JOB}
    assert not artifacts.store.has(artifacts.adapter(OTHER))
    assert artifacts.store.has(artifacts.adapter(JOB))
    assert artifacts.set_aside([OTHER]) is None


def test_of_a_job_that_has_not_ended_only_the_adapter_and_unrecorded_checkpoints_are_set_aside(artifacts):
    artifacts.write_dataset(JOB, EXAMPLES)
    artifacts.install_adapter(JOB, finished_adapter(artifacts, JOB))
    recorded, other = (artifacts.checkpoint(JOB, step, 1) for step in (4, 8))
    for checkpoint in (recorded, other):
        artifacts.keep_checkpoint(artifacts.adapter(JOB), checkpoint)

    artifacts.set_aside((), ahead=[JOB], recorded={recorded.key})

    assert [artifacts.store.has(ref) for ref in (recorded, other, artifacts.adapter(JOB), artifacts.dataset(JOB))] == [
        True,
        False,
        False,
        True,
    ]


def test_folders_of_one_second_have_two_names(tmp_path):
    artifacts = Artifacts(tmp_path / "artifacts", clock=lambda: datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    folders = []
    for _ in range(2):
        artifacts.write_dataset(JOB, EXAMPLES)
        folders.append(artifacts.set_aside([JOB]).name)

    assert folders == ["2025-01-02T030405Z", "2025-01-02T030405Z-2"]


def test_only_the_servers_user_can_read_what_others_wrote(tmp_path):
    Artifacts(tmp_path / "artifacts")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "artifacts").iterdir()}
    assert modes == {0o700}


def test_a_staged_dataset_is_nobodys_until_it_is_placed_and_gone_if_it_never_is(artifacts, tmp_path):
    with artifacts.staged_dataset(EXAMPLES):
        assert [Path(name).suffix for name in files(tmp_path / "artifacts")] == [".aside"]
    assert files(tmp_path / "artifacts") == []


def test_a_dataset_is_known_by_its_artifact_count_digest_and_sizes(artifacts):
    with artifacts.staged_dataset(iter(EXAMPLES)) as staged:
        ref = artifacts.place_dataset(staged, JOB)
    content = artifacts.dataset_path(JOB).read_bytes()
    assert (ref.artifact, ref.count) == ("datasets/abc.jsonl", 3)
    assert ref.digest == hashlib.sha256(content).hexdigest() == DatasetFile(artifacts.dataset_path(JOB)).digest
    assert (ref.statistics.characters, ref.statistics.longest_characters) == (12, 9)


def test_a_dataset_that_was_taken_back_can_become_another_jobs(artifacts, tmp_path):
    with artifacts.staged_dataset(EXAMPLES) as staged:
        artifacts.place_dataset(staged, JOB)
        artifacts.take_back_dataset(staged, JOB)
        artifacts.place_dataset(staged, OTHER)
    assert files(tmp_path / "artifacts") == ["datasets/def.jsonl"]


def test_the_files_for_locks_are_there_before_anybody_locks(tmp_path):
    Artifacts(tmp_path)
    assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == ["creations", "removals"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "locks").iterdir()} == {0o600}
