from __future__ import annotations

from barman.config.option import Option
from barman.config.server_config import GLOBAL_OPTIONS, MODEL_OPTIONS, SERVER_OPTIONS, ServerConfig
from barman.config.values import Kind


def test_the_class_gives_the_declaration() -> None:
    assert isinstance(ServerConfig.archiver, Option)
    assert (ServerConfig.archiver.name, ServerConfig.archiver.default) == ("archiver", False)


def test_every_option_is_documented_and_scoped() -> None:
    for name, option in {**SERVER_OPTIONS, **GLOBAL_OPTIONS}.items():
        assert option.name == name
        assert option.doc.endswith("."), name
        assert set(option.scope) <= set("GSM"), name
        assert isinstance(option.kind, Kind)
        assert option.kind.grammar


def test_every_default_is_a_value_of_its_kind() -> None:
    for option in SERVER_OPTIONS.values():
        if option.template is None and option.default is not None and option.kind.empty_value != option.default:
            assert option.kind.parse(str(option.default)) == option.default, option.name


def test_models_have_no_data_directories_and_no_hooks() -> None:
    left_out = set(SERVER_OPTIONS) - set(MODEL_OPTIONS)
    assert all(name.endswith(("_directory", "_script")) for name in left_out)
    assert len([name for name in left_out if name.endswith("_script")]) == 20
    assert "cloud_staging_directory" in MODEL_OPTIONS


def test_an_option_declared_in_one_place_only() -> None:
    owners: dict[str, list[str]] = {}
    for owner in ServerConfig.__mro__:
        for name, value in vars(owner).items():
            if isinstance(value, Option):
                owners.setdefault(name, []).append(owner.__name__)
    assert {name: places for name, places in owners.items() if len(places) > 1} == {}


def test_connection_strings_are_secret() -> None:
    secret = {name for name, option in SERVER_OPTIONS.items() if option.secret}
    assert {name for name in SERVER_OPTIONS if name.endswith("conninfo")} <= secret
