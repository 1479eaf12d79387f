import pytest
from hypothesis import given
from hypothesis import strategies as st

from barman.errors import ConfigError
from barman.postgres import conninfo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host=pg user=barman", {"host": "pg", "user": "barman"}),
        ("host = pg   port= 5433", {"host": "pg", "port": "5433"}),
        (r"password='it''s'", None),
        (r"password='it\'s a \\ secret' user=x", {"password": "it's a \\ secret", "user": "x"}),
        ("options='-c geqo=off' dbname=''", {"options": "-c geqo=off", "dbname": ""}),
        ("postgresql://u:p%40ss@h1:5432,h2:5433/db?sslmode=require&target_session_attrs=primary",
         {"user": "u", "password": "p@ss", "host": "h1,h2", "port": "5432,5433", "dbname": "db",
          "sslmode": "require", "target_session_attrs": "primary"}),
        ("postgres://[::1]:5433/", {"host": "::1", "port": "5433"}),
        ("postgresql:///db?host=/run/postgresql", {"dbname": "db", "host": "/run/postgresql"}),
    ],
)  # fmt: skip
def test_connection_strings_are_read_as_libpq_reads_them(text, expected):
    if expected is None:
        with pytest.raises(ConfigError):
            conninfo.parse(text)
    else:
        assert conninfo.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["host", "host=pg user", "=x", "password='open", "a=b\\", "postgresql://[::1", "postgresql://h:port"]
)
def test_a_malformed_string_is_refused_without_showing_its_values(text):
    with pytest.raises(ConfigError, match="invalid connection") as caught:
        conninfo.parse(text.replace("open", "s3cret"))
    assert "s3cret" not in caught.value.message


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,10}", fullmatch=True), st.text(max_size=20).filter(lambda t: "\0" not in t)
    )
)
def test_what_is_formatted_is_read_back(parameters):
    assert conninfo.parse(conninfo.format_conninfo(parameters)) == parameters


def test_secrets_never_reach_an_argument_list():
    parameters = conninfo.parse("host=pg password=s3cret sslpassword=x")
    assert "s3cret" not in conninfo.format_conninfo(conninfo.without_secrets(parameters))
    assert "s3cret" not in conninfo.describe(parameters)
