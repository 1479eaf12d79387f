"""Fixtures of the tests of WAL."""

from tests.support.fix_gpg import fixture_all_keys, fixture_keyring, fixture_public_keyring

__all__ = ["fixture_all_keys", "fixture_keyring", "fixture_public_keyring"]
