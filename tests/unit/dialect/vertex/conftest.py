"""Jobs over the workshop and a bucket."""

import pytest

from bucket_tunings import Tunings, tunings_over


@pytest.fixture
def bucket(tmp_path):
    directory = tmp_path / "bucket"
    directory.mkdir()
    return directory


@pytest.fixture
def tunings(workshop, bucket) -> Tunings:
    """With a file of fifteen rows at `URI`. Nothing runs by itself."""
    made = tunings_over(workshop, bucket)
    made.write()
    return made
