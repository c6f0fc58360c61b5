"""A store is one service's alone: a second one over the same file does not start."""

import pytest
from sqlalchemy import text

from veilmatch_transport import SettingsError, durable_engine


def test_a_store_that_is_open_is_refused_until_it_is_closed(tmp_path):
    path = tmp_path / "state.sqlite"
    first = durable_engine(path)
    with pytest.raises(SettingsError, match="another process has this store open; stop it") as refused:
        durable_engine(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert refused.value.exit_code == 2
    first.dispose()
    first.dispose()
    again = durable_engine(path)
    with again.begin() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    with pytest.raises(SettingsError):
        durable_engine(path)
    again.dispose()
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_a_store_in_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "nowhere" / "state.sqlite"
    with pytest.raises(SettingsError) as refused:
        durable_engine(path)
    assert str(refused.value) == (
        f"{path}: the store cannot be made (No such file or directory); check its folder"
    )
