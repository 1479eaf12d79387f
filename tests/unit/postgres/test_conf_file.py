import pytest

from barman.postgres.conf_file import neutralise, parse, parse_line, quote, unquote


@pytest.mark.parametrize(
    ("line", "name", "raw", "value"),
    [
        ("archive_command = 'cp %p /a/%f'", "archive_command", "'cp %p /a/%f'", "cp %p /a/%f"),
        ("  Archive_Command='x' # why", "archive_command", "'x'", "x"),
        ("port 5432", "port", "5432", "5432"),
        ("include_dir 'conf.d'", "include_dir", "'conf.d'", "conf.d"),
        ("a.b = on# comment", "a.b", "on", "on"),
        (r"x = 'it''s \'so\' \n \101'", "x", r"'it''s \'so\' \n \101'", "it's 'so' \n A"),
    ],
)
def test_a_setting_is_read_as_the_server_reads_it(line, name, raw, value):
    setting = parse_line(line)
    assert setting is not None
    assert (setting.name, setting.raw, setting.value) == (name, raw, value)


@pytest.mark.parametrize("line", ["", "   ", "# archive_command = 'x'", "nonsense", "= 3", "name ="])
def test_a_line_without_a_setting_is_passed_over(line):
    assert parse_line(line) is None


@pytest.mark.parametrize("value", ["", "plain", "it's", "back\\slash", "a\nb\r", "''", "%p é"])
def test_a_quoted_value_is_read_back_the_same(value):
    setting = parse_line(f"x = {quote(value)}")
    assert setting is not None
    assert setting.value == value
    assert unquote(quote(value)) == value


def test_a_nul_cannot_be_quoted():
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


def test_lines_are_counted_from_zero_whatever_they_hold():
    settings = parse("# one\n\na = 1\x0cb\nb = 2")
    assert [(setting.line, setting.name) for setting in settings] == [(2, "a"), (3, "b")]


def test_what_acts_as_the_old_cluster_is_disabled_and_the_rest_stays_to_the_byte():
    text = (
        "# a comment\n"
        "archive_command = 'cp %p /archive/%f'   # ours\n"
        "shared_buffers = 1GB\n"
        "primary_conninfo = 'host=old'\n"
        "#archive_library = 'x'\n"
        "recovery_target_time = '2020'\n"
        "ssl_cert_file = '/etc/cert'\n"
    )
    result = neutralise(text)
    assert result.text == (
        "# a comment\n"
        "#BARMAN#archive_command = 'cp %p /archive/%f'   # ours\n"
        "archive_command = false\n"
        "shared_buffers = 1GB\n"
        "#BARMAN#primary_conninfo = 'host=old'\n"
        "#archive_library = 'x'\n"
        "#BARMAN#recovery_target_time = '2020'\n"
        "ssl_cert_file = '/etc/cert'\n"
    )
    assert [(item.line, item.name, item.value) for item in result.forced] == [
        (1, "archive_command", "false"),
        (3, "primary_conninfo", None),
        (5, "recovery_target_time", None),
    ]
    assert [(item.line, item.name, item.raw) for item in result.review] == [(6, "ssl_cert_file", "'/etc/cert'")]


def test_neutralising_again_changes_the_replacement_only_by_itself():
    once = neutralise("archive_library = 'x'\nrestore_command = 'y'\n").text
    assert neutralise(once).text == once
