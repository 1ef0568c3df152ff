"""What the composition root does before anybody is served."""

from tuningfork.server import open_access
from tuningfork.settings import Settings


def test_a_new_data_directory_is_for_its_user_only(tmp_path):
    settings = Settings(data_dir=tmp_path / "new" / "data")

    with open_access(settings) as access:
        access.create_key("any", "ada@example.com", "local")

    assert settings.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_data_directory_that_exists_stays_as_its_owner_set_it(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir(mode=0o750)

    with open_access(Settings(data_dir=directory)):
        pass

    assert directory.stat().st_mode & 0o777 == 0o750
