"""What the composition root does before anybody is served."""

import pytest

from tuningfork.server import StartError, compose, open_access
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


@pytest.mark.parametrize("opened", [open_access, compose])
def test_a_file_where_the_data_directory_should_be_is_told(tmp_path, opened):
    (tmp_path / "data").write_text("not a directory")

    with pytest.raises(StartError, match="data cannot be the data directory"), opened(_settings(tmp_path)):
        pass


@pytest.mark.parametrize("opened", [open_access, compose])
def test_a_damaged_database_is_told(tmp_path, opened):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tuningfork.db").write_bytes(b"no database at all" * 1000)

    with pytest.raises(StartError, match=r"tuningfork\.db cannot be used \(file is not a database\)"):
        opened(_settings(tmp_path)).__enter__()


def test_a_directory_where_the_database_should_be_is_told(tmp_path):
    (tmp_path / "data" / "tuningfork.db").mkdir(parents=True)

    with pytest.raises(StartError, match="cannot be used"), compose(_settings(tmp_path)):
        pass


def _settings(directory):
    return Settings(data_dir=directory / "data", port=0)


def test_a_certificate_for_grpc_that_cannot_be_read_is_told(tmp_path):
    settings = Settings(
        data_dir=tmp_path / "data",
        port=0,
        grpc_port=0,
        grpc_certificate=tmp_path / "none.pem",
        grpc_private_key=tmp_path / "none.pem",
    )

    with pytest.raises(StartError, match=r"none\.pem cannot be read"), compose(settings):
        pass
