"""Buckets in the data directory are in backups: objects, whose they are, and what is known of them."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from tuningfork.buckets.errors import BucketNotFound
from tuningfork.buckets.kept_files import kept_files
from tuningfork.buckets.listing import Wanted
from tuningfork.buckets.metadata import Properties
from tuningfork.buckets.uploads import Upload
from tuningfork.cli import app
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Email, Principal
from tuningfork.server.backing_up import DataError, back_up, check, restore
from tuningfork.server.compose import compose
from tuningfork.service.storage.storing import Storing
from tuningfork.settings import Settings

ADA = Principal(email=Email("ada@example.com"), project="p")
BOB = Principal(email=Email("bob@example.com"), project="p")


def settings_of(directory):
    return Settings(data_dir=directory, port=0)


def storing_of(settings):
    return Storing(settings.bucket_settings, lambda: datetime(2026, 5, 1, tzinfo=UTC))


@pytest.fixture
def settings(tmp_path):
    settings = settings_of(tmp_path / "data")
    with compose(settings):
        pass
    return settings


@pytest.fixture
def storing(settings):
    """Over buckets of Ada's with one object, without any, and made by hand."""
    made = storing_of(settings)
    made.create_bucket(ADA, "training", "p")
    made.create_bucket(ADA, "empty", "p")
    put(made, "d/t.jsonl", b"{}\n", content_type="application/jsonl", custom={"made": "by hand"})
    by_hand = settings.bucket_settings.root / "by-hand"
    by_hand.mkdir()
    (by_hand / "x").write_bytes(b"1")
    return made


def put(storing, key, content, **properties):
    upload = Upload(bucket="training", key=key, owner=ADA.email, properties=Properties(**properties))
    with storing.arriving(ADA, upload) as arriving:
        storing.add(arriving, content)
        return storing.keep(ADA, arriving)


def restored_storing(tmp_path):
    settings = settings_of(tmp_path / "restored")
    restore(settings, tmp_path / "backup")
    return storing_of(settings)


def names(storing, principal, bucket):
    return [each.key for each in storing.list(principal, bucket, Wanted())[0]]


def test_a_restored_bucket_is_what_it_was_and_whose_it_was(settings, storing, tmp_path):
    before = storing.find(ADA, "training", "d/t.jsonl")

    made = back_up(settings, tmp_path / "backup")
    again = restored_storing(tmp_path)

    assert made.objects == 2
    assert again.find(ADA, "training", "d/t.jsonl") == before
    assert again.bucket(ADA, "training") == storing.bucket(ADA, "training")
    with pytest.raises(BucketNotFound):
        again.bucket(BOB, "training")
    assert names(again, ADA, "empty") == []
    assert names(again, LOCAL_PRINCIPAL, "by-hand") == ["x"]
    with compose(settings_of(tmp_path / "restored")):
        pass


def test_an_upload_that_has_not_ended_is_left_out(settings, storing, tmp_path):
    storing.begin(ADA, Upload(bucket="training", key="y", owner=ADA.email))

    back_up(settings, tmp_path / "backup")

    assert not [*(tmp_path / "backup").rglob("upload.json")]
    assert names(restored_storing(tmp_path), ADA, "training") == ["d/t.jsonl"]


def test_buckets_are_left_out_on_request(settings, storing, tmp_path):
    made = back_up(settings, tmp_path / "backup", buckets=False)

    assert made.objects == 0
    assert not (tmp_path / "backup" / "data" / "buckets").exists()
    with pytest.raises(BucketNotFound):
        restored_storing(tmp_path).bucket(ADA, "training")


def test_no_link_out_of_a_bucket_is_followed(settings, storing, tmp_path):
    (tmp_path / "secret").write_text("secret")
    root = settings.bucket_settings.root
    (root / "by-hand" / "link").symlink_to(tmp_path / "secret")
    (root / "linked").symlink_to(tmp_path)

    back_up(settings, tmp_path / "backup")

    kept = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert not [path for path in kept if path.read_bytes() == b"secret"]


def test_a_damaged_object_is_found(settings, storing, tmp_path):
    back_up(settings, tmp_path / "backup")
    (tmp_path / "backup" / "data" / "buckets" / "training" / "d" / "t.jsonl").write_bytes(b"[]\n")

    with pytest.raises(DataError, match=r"is damaged: buckets/training/d/t\.jsonl"):
        check(tmp_path / "backup")


def test_what_is_known_of_an_object_that_is_replaced_meanwhile_is_not_taken_for_the_old_one(settings, storing):
    root = settings.bucket_settings.root
    found = {}
    for name, content in kept_files(root):
        if name == "training/d/t.jsonl":
            put(storing, "d/t.jsonl", b"longer\n", content_type="text/plain")
        found[name] = content.read()

    assert found["training/d/t.jsonl"] == b"{}\n"
    described = [json.loads(content) for name, content in found.items() if "/metadata/training/" in name]
    assert described == []


def test_what_is_removed_meanwhile_is_passed_over(settings, storing):
    put(storing, "d/u.jsonl", b"1")
    found = []
    for name, _ in kept_files(settings.bucket_settings.root):
        found.append(name)
        if name == "training/d/t.jsonl":
            storing.delete(ADA, "training", "d/u.jsonl")

    assert "training/d/t.jsonl" in found
    assert "training/d/u.jsonl" not in found


def test_the_command_says_how_many_objects_it_has_copied(settings, storing, tmp_path):
    data = ["--data-dir", str(settings.data_dir)]
    done = CliRunner().invoke(app, ["backup", "--to", str(tmp_path / "backup"), *data])
    without = CliRunner().invoke(app, ["backup", "--to", str(tmp_path / "other"), "--no-buckets", "--json", *data])

    assert "Backed up 0 models and 2 objects of buckets in" in done.stderr
    assert json.loads(without.stdout)["objects"] == 0
