"""The API of buckets over HTTP: what its clients send, and what they must get."""

import base64
import errno
import hashlib
import json
import os
from dataclasses import replace

import google_crc32c
import pytest

from storage_caller import UPLOAD, StorageCaller, settings_below, shape_is_that_of_storage
from tuningfork.buckets.errors import BucketNotFound
from tuningfork.buckets.metadata import Properties
from tuningfork.buckets.uploads import KEPT_SECONDS, Upload, UploadGone, Uploads
from tuningfork.service.storage.storing import Storing
from workshop import ADA

LINE = b'{"contents": []}\n'
SLASHED = "d/t 1+2%é.jsonl"


@pytest.fixture
def storage(workshop, tmp_path):
    made = StorageCaller(workshop, tmp_path)
    made.make()
    return made


def crc32c(content):
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


class TestBuckets:
    def test_a_bucket_is_made_found_listed_and_removed(self, storage):
        found = storage.call("GET", "/storage/v1/b/training?projection=noAcl").json()

        assert (found["kind"], found["name"]) == ("storage#bucket", "training")
        listed = storage.call("GET", "/storage/v1/b?project=123").json()["items"]
        assert [each["name"] for each in listed] == ["open", "shared", "training"]
        assert storage.call("DELETE", "/storage/v1/b/training").status_code == 204
        assert storage.call("GET", "/storage/v1/b/training").status_code == 404

    def test_a_key_that_was_made_for_a_project_acts_for_this_one_alone(self, storage):
        tries = [
            storage.call("GET", "/storage/v1/b?project=q"),
            storage.call("POST", "/storage/v1/b?project=q", {"name": "new"}),
        ]

        assert [each.status_code for each in tries] == [403, 403]
        assert shape_is_that_of_storage(tries[0])

    def test_without_a_project_a_key_lists_the_buckets_of_its_own(self, storage, workshop):
        of_p = replace(ADA, project="p")
        storage.storing.create_bucket(of_p, "of-p", "")

        assert [each.name for each in storage.storing.list_buckets(of_p, "", "")] == ["of-p", "open", "shared"]
        bound = storage.call("GET", "/storage/v1/b").json()["items"]
        assert [each["name"] for each in bound] == ["open", "shared", "training"]

    def test_without_a_project_a_key_of_no_project_lists_the_buckets_of_all(self, storage):
        anybody = replace(ADA, project="local")
        storage.storing.create_bucket(anybody, "of-p", "p")

        names = [each.name for each in storage.storing.list_buckets(anybody, "", "")]
        assert names == ["of-p", "open", "shared", "training"]

    def test_a_name_is_taken_once_whoever_asks(self, storage):
        answers = [each.call("POST", "/storage/v1/b", {"name": "training"}) for each in (storage, storage.bob)]

        assert [each.status_code for each in answers] == [409, 409]
        assert answers[0].json()["error"]["errors"][0]["reason"] == "conflict"

    @pytest.mark.parametrize("name", ["", "-", "Upper", "..", "a..b", "a/b", ".tuningfork", "x" * 300, None, 5])
    def test_what_is_no_name_is_refused(self, storage, name):
        answer = storage.call("POST", "/storage/v1/b?project=123", {"name": name})

        assert answer.status_code == 400
        assert shape_is_that_of_storage(answer)

    def test_a_bucket_with_objects_is_not_removed(self, storage):
        storage.put("x", b"1")

        assert storage.call("DELETE", "/storage/v1/b/training").status_code == 409


class TestRights:
    def test_to_others_an_owners_bucket_is_not_there(self, storage):
        storage.put("x", b"1")
        bob = storage.bob
        tries = [
            bob.call("GET", "/storage/v1/b/training"),
            bob.call("GET", "/storage/v1/b/training/o"),
            bob.get("x"),
            bob.content("x"),
            bob.put("x", b"2"),
            bob.call("POST", f"{UPLOAD}/training/o?uploadType=resumable&name=x", {}),
            bob.call("PATCH", "/storage/v1/b/training/o/x", {"contentType": "a/b"}),
            bob.call("DELETE", "/storage/v1/b/training/o/x"),
            bob.call("DELETE", "/storage/v1/b/training"),
            bob.call("POST", "/storage/v1/b/training/o/x/copyTo/b/open/o/x", {}),
        ]

        assert [each.status_code for each in tries] == [404] * len(tries)
        assert {each.json()["error"]["message"] for each in tries} == {"The specified bucket does not exist."}
        assert storage.content("x").content == b"1"

    def test_an_upload_is_there_for_who_began_it(self, storage):
        location = storage.begin("x", bucket="open")

        assert storage.bob.chunk(location, b"1", "bytes 0-0/1").status_code == 404
        assert storage.bob.call("DELETE", location).status_code == 404
        assert storage.chunk(location, b"1", "bytes 0-0/1").status_code == 200

    def test_what_the_operator_shares_is_read_by_everybody_and_written_where_he_says_so(self, storage, tmp_path):
        (tmp_path / "shared" / "t.jsonl").write_bytes(LINE)

        assert storage.bob.content("t.jsonl", bucket="shared").content == LINE
        assert storage.bob.put("t.jsonl", b"", bucket="shared").status_code == 403
        assert storage.call("DELETE", "/storage/v1/b/shared").status_code == 403
        assert storage.bob.put("t.jsonl", LINE, bucket="open").status_code == 200
        assert storage.content("t.jsonl", bucket="open").content == LINE

    @pytest.mark.parametrize("bucket", ["open", "shared"])
    def test_a_shared_directory_that_is_not_there_is_told_as_such(self, storage, tmp_path, bucket, caplog):
        (tmp_path / bucket).rmdir()
        tries = [
            storage.call("GET", f"/storage/v1/b/{bucket}/o"),
            storage.get("x", bucket=bucket),
            storage.content("x", bucket=bucket),
            *([storage.put("x", b"1", bucket=bucket)] if bucket == "open" else []),
        ]

        assert [each.status_code for each in tries] == [503] * len(tries)
        [said] = {each.json()["error"]["message"] for each in tries}
        assert said.startswith(f"The directory of the bucket '{bucket}' is not there at the moment.")
        assert str(tmp_path) not in said
        assert str(tmp_path / bucket) in caplog.text
        assert len(storage.call("GET", "/storage/v1/b").json()["items"]) == 3

    def test_what_the_system_refuses_to_the_server_is_told_without_paths(self, storage, tmp_path, monkeypatch, caplog):
        storage.put("x", b"1")

        def refused(*_args, **_kwargs):
            raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

        monkeypatch.setattr(os, "open", refused)
        tries = [storage.call("GET", "/storage/v1/b/training/o"), storage.content("x")]
        monkeypatch.undo()

        assert [each.status_code for each in tries] == [403, 403]
        for each in tries:
            assert each.json()["error"]["message"].startswith("The server itself may not use the files of training/")
            assert str(tmp_path) not in each.text
        assert str(tmp_path) in caplog.text

    def test_a_token_reads_and_writes_with_its_scope(self, storage):
        token = {"authorization": f"Bearer {storage.caller.token('cloud-platform')}"}
        other = {"authorization": f"Bearer {storage.caller.token('generative-language')}"}
        storage.key = ""

        assert storage.call("GET", "/storage/v1/b/training", **token).status_code == 200
        refused = storage.call("GET", "/storage/v1/b/training", **other)
        assert refused.status_code == 403
        assert shape_is_that_of_storage(refused)

    def test_wrong_credentials_are_401_and_missing_ones_say_what_to_do(self, storage):
        storage.key = ""
        missing = storage.call("GET", "/storage/v1/b/training")
        wrong = storage.call("GET", "/storage/v1/b/training", authorization="Bearer tf_wrong")

        assert (missing.status_code, wrong.status_code) == (403, 401)
        assert "GOOGLE_APPLICATION_CREDENTIALS" in missing.json()["error"]["message"]
        assert shape_is_that_of_storage(missing)
        assert shape_is_that_of_storage(wrong)


class TestOneRequest:
    @pytest.mark.parametrize("name", ["t.jsonl", SLASHED, "a b", "a:b?c#d&e", "日本", "x" * 255])
    def test_names_come_encoded_and_their_slashes_do_not_split_the_path(self, storage, name):
        assert storage.put(name, LINE).json()["name"] == name

        found = storage.get(name).json()
        assert (found["name"], found["size"], found["bucket"]) == (name, str(len(LINE)), "training")
        assert storage.content(name).content == LINE
        assert storage.names() == [name]

    @pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "a//b", "a/", ".", "..", "a\0b", "a\nb", ".tuningfork-x"])
    def test_names_that_are_unsafe_as_files_are_refused(self, storage, name):
        answer = storage.put(name, b"1")

        assert answer.status_code == 400
        assert shape_is_that_of_storage(answer)

    def test_metadata_has_what_clients_compare(self, storage):
        storage.put("t.jsonl", LINE, content_type="application/jsonl")
        found = storage.get("t.jsonl").json()

        assert found["contentType"] == "application/jsonl"
        assert found["crc32c"] == crc32c(LINE)
        assert found["md5Hash"] == base64.b64encode(hashlib.md5(LINE).digest()).decode()
        assert found["metageneration"] == "1"
        assert int(found["generation"]) > 0
        assert {"etag", "timeCreated", "updated", "mediaLink", "selfLink", "id"} <= found.keys()

    @pytest.mark.parametrize("end", ["\r\n", "\n"])
    def test_a_multipart_upload_has_either_line_end(self, storage, end):
        content = b"a\r\n\n--not-it\r\n\n"
        head = end.join(
            [
                "--==0==",
                "Content-Type: application/json; charset=UTF-8",
                "",
                json.dumps({"name": SLASHED, "crc32c": crc32c(content), "metadata": {"a": "b"}}),
                "--==0==",
                "Content-Type: text/plain",
                "",
                "",
            ]
        ).encode()
        answer = storage.call(
            "POST",
            f"{UPLOAD}/training/o?uploadType=multipart",
            head + content + f"{end}--==0==--".encode(),
            content_type='multipart/related; boundary="==0=="',
        )

        assert answer.status_code == 200, answer.text
        assert answer.json()["contentType"] == "text/plain"
        assert answer.json()["metadata"] == {"a": "b"}
        assert storage.content(SLASHED).content == content

    @pytest.mark.parametrize(("name", "value"), [("crc32c", "AAAAAA=="), ("md5Hash", "x")])
    def test_bytes_that_are_not_those_announced_are_not_kept(self, storage, name, value):
        body = (
            f"--b\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': 'x', name: value})}\r\n"
            "--b\r\n\r\nbytes\r\n--b--\r\n"
        )
        answer = storage.call(
            "POST",
            f"{UPLOAD}/training/o?uploadType=multipart",
            body.encode(),
            content_type="multipart/related; boundary=b",
        )

        assert answer.status_code == 400
        assert storage.get("x").status_code == 404

    def test_a_file_takes_the_place_of_an_earlier_one(self, storage):
        first = storage.put("x", b"1").json()
        second = storage.put("x", b"22").json()

        assert int(second["generation"]) > int(first["generation"])
        assert storage.content("x").content == b"22"

    def test_an_object_cannot_be_a_folder_too(self, storage):
        storage.put("a", b"1")
        assert storage.put("a/b", b"1").status_code == 400

        storage.put("c/d", b"1")
        assert storage.put("c", b"1").status_code == 400
        assert storage.names() == ["a", "c/d"]

    def test_nothing_is_left_of_uploads_that_ended(self, storage):
        storage.put("x", LINE)
        storage.put("../x", LINE)

        uploads = storage.settings.server_files / "uploads"
        assert list(uploads.iterdir()) == []


class TestGenerations:
    """A request that names a generation means no other one, which may have taken its place meanwhile."""

    @pytest.fixture
    def replaced(self, storage):
        """The generations of an object: one that is gone, and the one that is there."""
        return tuple(storage.put("x", content).json()["generation"] for content in (b"1", b"22"))

    @pytest.mark.parametrize("verb", ["DELETE", "PATCH"])
    def test_another_generation_is_neither_removed_nor_changed(self, storage, replaced, verb):
        gone, there = replaced
        body = [] if verb == "DELETE" else [{"metadata": {"a": "b"}}]

        answer = storage.call(verb, f"/storage/v1/b/training/o/x?generation={gone}", *body)

        assert answer.status_code == 404
        assert shape_is_that_of_storage(answer)
        assert storage.get("x").json()["generation"] == there
        assert "metadata" not in storage.get("x").json()
        assert storage.call(verb, f"/storage/v1/b/training/o/x?generation={there}", *body).status_code in (200, 204)

    @pytest.mark.parametrize("wanted", ["sourceGeneration", "ifSourceGenerationMatch"])
    def test_another_generation_is_not_copied(self, storage, replaced, wanted):
        gone, there = replaced
        to = "/storage/v1/b/training/o/x/copyTo/b/training/o/y"

        refused = storage.call("POST", f"{to}?{wanted}={gone}", {})

        assert refused.status_code == (404 if wanted == "sourceGeneration" else 412)
        assert storage.names() == ["x"]
        assert storage.call("POST", f"{to}?{wanted}={there}", {}).status_code == 200


class TestDownloads:
    @pytest.fixture(autouse=True)
    def object_of_ten(self, storage):
        storage.put("x", b"0123456789", content_type="text/plain")

    @pytest.mark.parametrize(
        ("wanted", "content", "place"),
        [
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=8-", b"89", "bytes 8-9/10"),
            ("bytes=8-99", b"89", "bytes 8-9/10"),
            ("bytes=-3", b"789", "bytes 7-9/10"),
            ("bytes=-99", b"0123456789", "bytes 0-9/10"),
        ],
    )
    def test_a_part_has_its_place(self, storage, wanted, content, place):
        answer = storage.content("x", range=wanted)

        assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, content, place)

    @pytest.mark.parametrize("wanted", ["bytes=a-b", "lines=1-2", "bytes=5-2", "bytes=0-1,3-4", ""])
    def test_a_range_that_cannot_be_read_means_the_whole(self, storage, wanted):
        answer = storage.content("x", range=wanted)

        assert (answer.status_code, answer.content) == (200, b"0123456789")

    @pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
    def test_what_begins_past_the_end_is_not_satisfiable(self, storage, wanted):
        answer = storage.content("x", range=wanted)

        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")
        assert shape_is_that_of_storage(answer)

    @pytest.mark.parametrize("path", ["/storage/v1/b", "/b", "/download/storage/v1/b", "/download/b"])
    def test_bytes_are_at_all_addresses_that_clients_use(self, storage, path):
        answer = storage.call("GET", f"{path}/training/o/x?alt=media")

        assert (answer.content, answer.headers["content-type"]) == (b"0123456789", "text/plain")
        assert f"crc32c={crc32c(b'0123456789')}" in answer.headers["x-goog-hash"]
        assert answer.headers["content-length"] == "10"

    def test_a_file_that_the_operator_has_put_there_has_checksums_too(self, storage):
        (storage.settings.root / "training" / "by-hand").write_bytes(LINE)

        assert storage.get("by-hand").json()["crc32c"] == crc32c(LINE)
        (storage.settings.root / "training" / "by-hand").write_bytes(LINE * 2)
        assert storage.get("by-hand").json()["crc32c"] == crc32c(LINE * 2)

    def test_an_object_that_is_replaced_while_it_is_read_stays_whole(self, storage):
        with storage.storing.open(ADA, "training", "x") as (file, _):
            storage.put("x", b"other")
            assert file.read() == b"0123456789"


class TestResumableUploads:
    def test_an_object_comes_in_chunks(self, storage):
        location = storage.begin("x", body={"contentType": "a/b"})
        first = storage.chunk(location, b"01234", "bytes 0-4/10")

        assert (first.status_code, first.headers["range"]) == (308, "bytes=0-4")
        assert storage.get("x").status_code == 404
        last = storage.chunk(location, b"56789", "bytes 5-9/10")
        assert (last.status_code, last.json()["contentType"]) == (200, "a/b")
        assert last.json()["crc32c"] == crc32c(b"0123456789")
        assert storage.content("x").content == b"0123456789"

    def test_a_chunk_that_is_repeated_is_written_once(self, storage):
        location = storage.begin("x")
        for _ in range(2):
            assert storage.chunk(location, b"01234", "bytes 0-4/10").headers["range"] == "bytes=0-4"
        assert storage.chunk(location, b"23456", "bytes 2-6/10").headers["range"] == "bytes=0-6"

        for _ in range(2):
            assert storage.chunk(location, b"789", "bytes 7-9/10").status_code == 200
        assert storage.content("x").content == b"0123456789"

    def test_the_size_may_be_unknown_until_the_last_chunk(self, storage):
        location = storage.begin("x")

        assert storage.chunk(location, b"01234", "bytes 0-4/*").status_code == 308
        assert storage.chunk(location, b"567", "bytes 5-7/8").status_code == 200
        assert storage.content("x").content == b"01234567"

    @pytest.mark.parametrize("where", ["bytes 0-*/*", "bytes 0-*/10", None])
    def test_a_body_without_an_end_is_the_whole_object(self, storage, where):
        location = storage.begin("x")
        headers = {} if where is None else {"content_range": where}

        assert storage.call("PUT", location, b"0123456789", **headers).status_code == 200
        assert storage.content("x").content == b"0123456789"

    @pytest.mark.parametrize("where", ["bytes */10", "bytes */*"])
    def test_one_can_ask_how_much_has_arrived(self, storage, where):
        location = storage.begin("x")
        assert "range" not in storage.chunk(location, b"", where).headers

        storage.chunk(location, b"01234", "bytes 0-4/10")
        asked = storage.chunk(location, b"", where)
        assert (asked.status_code, asked.headers["range"]) == (308, "bytes=0-4")
        storage.chunk(location, b"56789", "bytes 5-9/10")
        assert storage.chunk(location, b"", where).json()["size"] == "10"

    def test_an_empty_object_has_a_size_and_no_bytes(self, storage):
        assert storage.chunk(storage.begin("x"), b"", "bytes */0").json()["size"] == "0"

    def test_chunks_may_be_posted(self, storage):
        location = storage.begin("x")

        assert storage.chunk(location, b"01234", "bytes 0-4/10", verb="POST").status_code == 308
        assert storage.chunk(location, b"56789", "bytes 5-9/10", verb="POST").status_code == 200

    def test_a_chunk_after_a_gap_is_not_taken_and_its_sender_told_where_to_go_on(self, storage):
        location = storage.begin("x")
        storage.chunk(location, b"01", "bytes 0-1/10")

        answer = storage.chunk(location, b"56789", "bytes 5-9/10")
        assert (answer.status_code, answer.headers["range"]) == (308, "bytes=0-1")

    def test_an_upload_goes_on_after_a_restart_of_the_server(self, storage, workshop, tmp_path):
        location = storage.begin("x")
        storage.chunk(location, b"01234", "bytes 0-4/10")

        storage.storing._uploads = Uploads(storage.settings)
        assert storage.chunk(location, b"", "bytes */10").headers["range"] == "bytes=0-4"
        answer = storage.chunk(location, b"56789", "bytes 5-9/10")
        assert answer.json()["crc32c"] == crc32c(b"0123456789")

    def test_a_checksum_that_comes_with_the_last_chunk_is_compared(self, storage):
        location = storage.begin("x")
        answer = storage.chunk(location, b"0123456789", "bytes 0-9/10", x_goog_hash="crc32c=AAAAAA==")

        assert answer.status_code == 400
        assert storage.chunk(location, b"", "bytes */10").status_code == 404

    def test_a_cancelled_upload_is_gone(self, storage):
        location = storage.begin("x")
        storage.chunk(location, b"01234", "bytes 0-4/10")

        assert storage.call("DELETE", location).status_code == 499
        assert storage.chunk(location, b"56789", "bytes 5-9/10").status_code == 404
        assert list((storage.settings.server_files / "uploads").iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "where"),
        [
            (b"0123", "bytes 0-4/10"),
            (b"012345", "bytes 0-4/10"),
            (b"012", "bytes 4-2/10"),
            (b"012", "bytes 0-20/10"),
            (b"012", "0-2/3"),
            (b"012", "bytes 0-2"),
            (b"012", "bytes -2/3"),
            (b"012", "bytes 0-2/" + "9" * 40),
            (b"0123456789ab", "bytes 0-*/10"),
        ],
    )
    def test_chunks_that_are_not_what_they_say_are_refused(self, storage, content, where):
        answer = storage.chunk(storage.begin("x"), content, where)

        assert answer.status_code == 400
        assert shape_is_that_of_storage(answer)

    def test_the_size_does_not_change_on_the_way(self, storage):
        location = storage.begin("x")
        storage.chunk(location, b"01", "bytes 0-1/10")

        assert storage.chunk(location, b"23", "bytes 2-3/11").status_code == 400

    @pytest.mark.parametrize("upload_id", ["nobody", "..", "../records", "%2e%2e%2Frecords", "a" * 5000])
    def test_an_upload_that_is_not_there_is_not_found(self, storage, upload_id):
        answer = storage.chunk(f"{UPLOAD}/training/o?uploadType=resumable&upload_id={upload_id}", b"", "bytes */*")

        assert answer.status_code == 404
        assert shape_is_that_of_storage(answer)


class TestLists:
    @pytest.fixture(autouse=True)
    def objects(self, storage):
        for name in ["a", "b/1", "b/2", "b/c/3", "b-", "b0", "d/1", "é"]:
            storage.put(name, b"1")

    def test_names_are_in_the_order_of_their_bytes(self, storage):
        assert storage.names() == ["a", "b-", "b/1", "b/2", "b/c/3", "b0", "d/1", "é"]

    @pytest.mark.parametrize(
        ("query", "names", "prefixes"),
        [
            ("?prefix=b%2F", ["b/1", "b/2", "b/c/3"], []),
            ("?prefix=b", ["b-", "b/1", "b/2", "b/c/3", "b0"], []),
            ("?delimiter=%2F", ["a", "b-", "b0", "é"], ["b/", "d/"]),
            ("?prefix=b%2F&delimiter=%2F", ["b/1", "b/2"], ["b/c/"]),
            ("?startOffset=b%2F2&endOffset=d", ["b/2", "b/c/3", "b0"], []),
            ("?prefix=none", [], []),
        ],
    )
    def test_names_are_chosen_and_folders_summed_up(self, storage, query, names, prefixes):
        answer = storage.call("GET", f"/storage/v1/b/training/o{query}").json()

        assert [each["name"] for each in answer.get("items", ())] == names
        assert answer.get("prefixes", []) == prefixes

    @pytest.mark.parametrize("query", ["", "&delimiter=%2F"])
    def test_pages_follow_one_another(self, storage, query):
        found, token = [], ""
        for _ in range(10):
            path = f"/storage/v1/b/training/o?maxResults=1{query}&pageToken={token}"
            answer = storage.call("GET", path).json()
            found += [each["name"] for each in answer.get("items", ())] + answer.get("prefixes", [])
            token = answer.get("nextPageToken", "")
            if not token:
                break

        whole = storage.call("GET", f"/storage/v1/b/training/o?a=b{query}").json()
        assert sorted(found) == sorted([each["name"] for each in whole["items"]] + whole.get("prefixes", []))

    def test_links_pipes_and_the_servers_own_files_are_not_listed(self, storage, tmp_path):
        directory = storage.settings.root / "training"
        (directory / "link").symlink_to(tmp_path)
        (directory / ".tuningfork-x").write_bytes(b"")

        assert "link" not in "".join(storage.names())
        assert ".tuningfork-x" not in storage.names()

    @pytest.mark.parametrize("query", ["?maxResults=0", "?maxResults=-1", "?maxResults=x", f"?maxResults={'9' * 30}"])
    def test_what_cannot_be_read_is_refused(self, storage, query):
        answer = storage.call("GET", f"/storage/v1/b/training/o{query}")

        assert answer.status_code == 400
        assert shape_is_that_of_storage(answer)


class TestChanges:
    def test_conditions_must_hold(self, storage):
        made = storage.put("x", b"1", query="&ifGenerationMatch=0")
        again = storage.put("x", b"2", query="&ifGenerationMatch=0")

        assert (made.status_code, again.status_code) == (200, 412)
        assert again.json()["error"]["errors"][0]["reason"] == "conditionNotMet"
        generation = made.json()["generation"]
        assert storage.get("x", query=f"?ifGenerationMatch={generation}").status_code == 200
        assert (
            storage.call("DELETE", f"/storage/v1/b/training/o/x?ifGenerationMatch={int(generation) + 1}").status_code
            == 412
        )
        assert storage.put("x", b"3", query=f"&ifGenerationMatch={generation}").status_code == 200
        assert storage.get("x", query=f"?generation={generation}").status_code == 404

    def test_properties_are_changed_and_removed(self, storage):
        storage.put("x", b"1")
        path = "/storage/v1/b/training/o/x"
        changed = storage.call("PATCH", path, {"contentType": "a/b", "metadata": {"a": "1", "b": "2"}}).json()
        again = storage.call("PATCH", path, {"metadata": {"a": None}, "unknown": 5}).json()

        assert (changed["contentType"], changed["metadata"]) == ("a/b", {"a": "1", "b": "2"})
        assert (again["contentType"], again["metadata"], again["metageneration"]) == ("a/b", {"b": "2"}, "3")
        assert again["generation"] == changed["generation"]

    @pytest.mark.parametrize("verb", ["copyTo", "rewriteTo"])
    def test_an_object_is_copied(self, storage, verb):
        storage.put("x", b"1", content_type="a/b")
        answer = storage.call("POST", f"/storage/v1/b/training/o/x/{verb}/b/open/o/d%2Fy", {})

        assert answer.status_code == 200
        assert storage.get("d/y", bucket="open").json()["contentType"] == "a/b"
        assert storage.content("d/y", bucket="open").content == b"1"

    def test_a_deleted_object_is_gone_with_its_empty_folders(self, storage):
        storage.put("a/b/c", b"1")

        assert storage.call("DELETE", "/storage/v1/b/training/o/a%2Fb%2Fc").status_code == 204
        assert storage.call("DELETE", "/storage/v1/b/training/o/a%2Fb%2Fc").status_code == 404
        assert list((storage.settings.root / "training").iterdir()) == []


def test_a_disk_without_room_is_told_and_keeps_nothing(workshop, tmp_path):
    full = Storing(settings_below(tmp_path), workshop.clock, free=lambda _directory: 2**26 + 3)
    storage = StorageCaller(workshop, tmp_path, storing=full)
    storage.make()

    assert storage.put("x", b"123").status_code == 200
    refused = storage.put("y", b"1234")
    assert refused.status_code == 429
    assert shape_is_that_of_storage(refused)
    assert "operator has made room" in refused.json()["error"]["message"]
    assert storage.names() == ["x"]
    assert storage.call("DELETE", "/storage/v1/b/training/o/x").status_code == 204


def test_an_upload_makes_no_bucket_anew_that_was_removed_meanwhile(workshop, tmp_path):
    storage = StorageCaller(workshop, tmp_path)
    storage.make()
    location = storage.begin("x")
    storage.storing._records.remove("training")

    assert storage.chunk(location, b"1", "bytes 0-0/1").status_code == 404
    with pytest.raises(BucketNotFound):
        storage.storing._objects.put("training", "x", tmp_path / "shared", None, Properties())
    assert not (storage.settings.root / "training").exists()


def test_a_key_that_was_made_for_another_project_does_not_go_on_with_an_upload(workshop, tmp_path):
    storing = Storing(settings_below(tmp_path), workshop.clock)
    storing.create_bucket(replace(ADA, project="p"), "training", "p")
    upload_id = storing.begin(replace(ADA, project="p"), Upload(bucket="training", key="x", owner=ADA.email))

    with pytest.raises(UploadGone):
        storing.take(replace(ADA, project="q"), upload_id)
    storing.give_back(storing.take(replace(ADA, project="p"), upload_id))


def test_a_type_with_control_characters_is_no_header_of_the_download(storage):
    body = b'--a\n\n{"name":"x"}\n--a\ncontent-type: text/\x01\n\n1\n--a--'
    path = f"{UPLOAD}/training/o?uploadType=multipart"
    assert storage.call("POST", path, body, content_type="multipart/related; boundary=a").status_code == 200

    answer = storage.content("x")

    assert (answer.content, answer.headers["content-type"]) == (b"1", "application/octet-stream")


def test_uploads_that_nobody_goes_on_with_are_removed(tmp_path):
    settings = settings_below(tmp_path)
    now = [1e9]
    uploads = Uploads(settings, lambda: now[0])
    upload_id = uploads.begin(Upload(bucket="open", key="x", owner="ada@example.com"))
    now[0] = (settings.server_files / "uploads" / upload_id).stat().st_mtime + KEPT_SECONDS + 10
    uploads.begin(Upload(bucket="open", key="y", owner="ada@example.com"))

    assert not (settings.server_files / "uploads" / upload_id).exists()
    assert len(list((settings.server_files / "uploads").iterdir())) == 1


def test_what_a_crash_left_of_uploads_in_one_piece_is_removed_at_the_next_start(tmp_path):
    settings = settings_below(tmp_path)
    (settings.server_files / "uploads" / "left").mkdir(parents=True)
    kept = Uploads(settings).begin(Upload(bucket="open", key="x", owner="ada@example.com"))

    Uploads(settings)
    assert [each.name for each in (settings.server_files / "uploads").iterdir()] == [kept]
