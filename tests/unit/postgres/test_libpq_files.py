import pytest

from barman.postgres.libpq_files import beside


@pytest.fixture
def environ(tmp_path):
    (tmp_path / ".pgpass").write_text(
        "# comment\nother:5432:*:backup:x\npg.example:5432:*:backup:mine\n*:*:*:*:any\nesc\\:aped:5432:*:backup:odd\n"
    )
    (tmp_path / ".pg_service.conf").write_text("[one]\nhost=pg.example\nuser=backup\n\n[two]\n# no\nhost=other\n")
    return {"HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("conninfo", "lines"),
    [
        ("host=pg.example port=5432 user=backup", ["pg.example:5432:*:backup:mine", "*:*:*:*:any"]),
        ("host=pg.example port=5432 user=backup password=x", []),
        ("host=pg.example port=1 user=backup", ["*:*:*:*:any"]),
        ("postgresql://backup@other", ["other:5432:*:backup:x", "*:*:*:*:any"]),
        ("host=esc:aped user=backup", ["*:*:*:*:any", "esc\\:aped:5432:*:backup:odd"]),
        ("service=one", ["host=pg.example", "user=backup", "pg.example:5432:*:backup:mine", "*:*:*:*:any"]),
        ("service=two password=x", ["host=other"]),
        ("service=three password=x", []),
        ("user=x passfile=/nonexistent", []),
        ("not a connection string", []),
        (
            None,
            ["other:5432:*:backup:x", "pg.example:5432:*:backup:mine", "*:*:*:*:any", "esc\\:aped:5432:*:backup:odd"],
        ),
    ],
)
def test_the_lines_that_decide_how_a_string_connects(environ, conninfo, lines):
    assert beside(conninfo, environ).splitlines() == lines


def test_the_places_of_the_files_are_libpqs(environ, tmp_path):
    (tmp_path / "pass").write_text("*:*:*:*:elsewhere\n")
    (tmp_path / "pg_service.conf").write_text("[shared]\nhost=b\n")
    assert beside("host=a", {**environ, "PGPASSFILE": str(tmp_path / "pass")}) == "*:*:*:*:elsewhere"
    assert beside(f"host=a passfile={tmp_path}/pass", environ) == "*:*:*:*:elsewhere"
    assert beside("password=x", {**environ, "PGSERVICE": "shared", "PGSYSCONFDIR": str(tmp_path)}) == "host=b"
    assert beside("host=a", {**environ, "PGPASSWORD": "x"}) == ""
    assert beside("host=a", {"HOME": str(tmp_path / "nowhere")}) == ""
