import os

import pytest

from barman.errors import RestoreRefused
from barman.restore.claim import claimed
from tests.support.catalog_builder import make_catalog


def test_a_directory_is_filled_by_one_restore_at_a_time_whatever_it_is_called(tmp_path):
    layout = make_catalog(str(tmp_path / "home")).layout
    os.makedirs(layout.lock_directory, exist_ok=True)
    (tmp_path / "link").symlink_to("there")
    with claimed(layout, [f"{tmp_path}/there", f"{tmp_path}/link", f"{tmp_path}/space"]):
        for path in ("there", "link", "space"):
            with (
                pytest.raises(RestoreRefused, match=f"another restore \\(process {os.getpid()}\\) is filling"),
                claimed(layout, [f"{tmp_path}/new", f"{tmp_path}/{path}"]),
            ):
                pass
        with claimed(layout, [f"{tmp_path}/new"]):
            pass
    with claimed(layout, [f"{tmp_path}/there"]):
        pass
    assert not (tmp_path / "there").exists()


def test_the_same_path_on_two_hosts_is_two_directories(tmp_path):
    layout = make_catalog(str(tmp_path / "home")).layout
    os.makedirs(layout.lock_directory, exist_ok=True)
    with (
        claimed(layout, ["/data"]),
        claimed(layout, ["/data"], on="ssh one"),
        claimed(layout, ["/data"], on="ssh two"),
        pytest.raises(RestoreRefused, match="another restore"),
        claimed(layout, ["/data/"], on="ssh two"),
    ):
        pass
