"""Backup and recovery manager for PostgreSQL: an independent implementation, compatible with Barman 3.x."""

__version__ = "3.100.0"
