"""One id a data directory."""

import random
import re

from tuningfork.store.server_id import FILE, server_id


def test_a_data_directory_has_the_same_id_at_every_start(tmp_path):
    entropy = random.Random(1).getrandbits
    first = server_id(tmp_path, entropy)

    assert re.fullmatch(r"[a-z0-9]{12}", first)
    assert server_id(tmp_path, entropy) == first


def test_two_data_directories_have_two_ids(tmp_path):
    entropy = random.Random(1).getrandbits
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()

    assert len({server_id(place, entropy) for place in places}) == 2


def test_an_id_that_a_crash_left_half_written_is_made_anew(tmp_path):
    (tmp_path / FILE).write_text("")
    made = server_id(tmp_path, random.Random(1).getrandbits)

    assert made
    assert (tmp_path / FILE).read_text().strip() == made
