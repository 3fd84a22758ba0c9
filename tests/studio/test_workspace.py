"""Who a visitor is, where results lie, what is cleaned up."""

import os
import time

import pytest

from kinema.errors import InputError
from kinema.studio.app import Settings
from kinema.studio.workspace import Workspace, words


@pytest.fixture
def workspace(tmp_path):
    return Workspace.open(tmp_path, everyone=False)


def test_only_this_server_signs_cookies_and_it_knows_them_after_a_restart(workspace, tmp_path):
    cookie = workspace.new_visitor()
    again = Workspace.open(tmp_path, everyone=False)
    assert again.visitor(cookie) == workspace.visitor(cookie) == cookie.partition(".")[0]
    other = Workspace.open(tmp_path / "other")
    for forged in (other.new_visitor(), "a" * 16 + ".0", cookie + "0", "../../etc.x", cookie.replace(".", "")):
        with pytest.raises(InputError, match="not begun on this server"):
            workspace.visitor(forged)
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


def test_a_program_without_a_cookie_is_its_session_which_names_no_path(workspace):
    assert workspace.visitor(None, "../../etc") == workspace.visitor(None, "../../etc")
    assert workspace.visitor(None, "one") != workspace.visitor(None, "two")
    assert "/" not in workspace.visitor(None, "../../etc")


def test_a_visitor_sees_own_results_and_on_ones_own_machine_all(workspace, tmp_path):
    one, two = (workspace.visitor(workspace.new_visitor()) for _ in range(2))
    first, second = workspace.new_result(one, "animate"), workspace.new_result(two, "animate")
    assert workspace.results(one) == [first]
    assert set(Workspace.open(tmp_path, everyone=True).results(one)) == {first, second}
    assert workspace.result(one, first.name) == first
    for name in (second.name, "..", "../..", None, "", str(first)):
        with pytest.raises(InputError, match="is not there"):
            workspace.result(one, name)


def test_old_uploads_and_unfinished_work_go_and_results_stay(workspace, tmp_path):
    visitor = workspace.visitor(workspace.new_visitor())
    done, broken, busy = (workspace.new_result(visitor, "animate") for _ in range(3))
    (done / "about.json").write_text('{"state": "done"}')
    (tmp_path / "cache" / "old").mkdir()
    (tmp_path / "cache" / "new").mkdir()
    past = time.time() - 2 * workspace.limits.scratch_s
    for path in (done, broken, busy, tmp_path / "cache" / "old"):
        os.utime(path, (past, past))
    assert workspace.tidy({busy}) == 2
    assert done.exists()
    assert busy.exists()
    assert (tmp_path / "cache" / "new").exists()
    assert not broken.exists()


def test_errors_are_told_without_the_servers_paths():
    text = words(InputError("/home/me/kinema-studio/cache/ab12/photo.jpg", "is no picture", "a picture", "save it"))
    assert text == "photo.jpg: is no picture. Expected: a picture. To mend it: save it."
    assert "detail" not in words(RuntimeError("detail"))


def test_nobody_listens_to_others_without_a_password(tmp_path):
    with pytest.raises(InputError, match="no password"):
        Settings(tmp_path, host="0.0.0.0")
    with pytest.raises(InputError, match="shorter"):
        Settings(tmp_path, host="0.0.0.0", password="short")
    assert Settings(tmp_path, host="0.0.0.0", password="long enough").user == "kinema"
