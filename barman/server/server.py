"""One configured server: its resources, opened when they are first used. No policy lives here."""

from __future__ import annotations

import os

from barman.catalog.catalog import Catalog
from barman.errors import ConfigError
from barman.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from barman.compression.codec import CustomFilters
    from barman.config.server_config import ServerConfig
    from barman.postgres.connection import PostgresConnection
    from barman.postgres.replication import StreamingConnection
    from barman.transport.host import Host


_CONNECT_SECONDS = 10.0


class Server:
    """The configuration, catalog and connections of one section; `close()` ends the connections.

    Connections are opened by their first query, so building a Server touches neither disk nor network.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.catalog = Catalog(config.layout(), filters=self._filters)
        self._postgres: PostgresConnection | None = None
        self._streaming: StreamingConnection | None = None
        self._wal_streaming: StreamingConnection | None = None
        self._wal_postgres: PostgresConnection | None = None
        self._primary: PostgresConnection | None = None
        self._host: Host | None = None
        self._primary_host: Host | None = None

    @property
    def name(self) -> str:
        """Return the name of the section."""
        return self.config.name

    def _filters(self) -> CustomFilters:
        from barman.server.filters import configured_filters

        return configured_filters(self.config)

    @property
    def postgres(self) -> PostgresConnection:
        """Return the SQL connection of `conninfo`."""
        if self._postgres is None:
            self._postgres = self._connection("conninfo")
        return self._postgres

    @property
    def streaming(self) -> StreamingConnection:
        """Return the replication connection of `streaming_conninfo`, which base backups use."""
        if self._streaming is None:
            self._streaming = self._streaming_connection(self.config.streaming_conninfo)
        return self._streaming

    @property
    def has_wal_conninfo(self) -> bool:
        """Tell whether WAL comes from another host than base backups."""
        return bool(self.config.wal_streaming_conninfo or self.config.wal_conninfo)

    @property
    def wal_streaming(self) -> StreamingConnection:
        """Return the replication connection that WAL is received over."""
        if not self.config.wal_streaming_conninfo:
            return self.streaming
        if self._wal_streaming is None:
            self._wal_streaming = self._streaming_connection(self.config.wal_streaming_conninfo)
        return self._wal_streaming

    @property
    def wal_postgres(self) -> PostgresConnection:
        """Return the SQL connection to the host that WAL is received from."""
        if not self.has_wal_conninfo:
            return self.postgres
        if self._wal_postgres is None:
            option = "wal_conninfo" if self.config.wal_conninfo else "wal_streaming_conninfo"
            self._wal_postgres = self._connection(option)
        return self._wal_postgres

    @property
    def primary(self) -> PostgresConnection:
        """Return the SQL connection to the primary: `primary_conninfo` when set, else `conninfo`."""
        if not self.config.primary_conninfo:
            return self.postgres
        if self._primary is None:
            self._primary = self._connection("primary_conninfo")
        return self._primary

    def _connection(self, option: str) -> PostgresConnection:
        from barman.postgres.connection import PostgresConnection

        conninfo = getattr(self.config, option)
        if not conninfo:
            raise ConfigError(f"server '{self.name}' has no {option}", hint=f"Set {option} in section [{self.name}].")
        return PostgresConnection(str(conninfo))

    def _streaming_connection(self, conninfo: str | None) -> StreamingConnection:
        from barman.postgres.replication import StreamingConnection

        if not conninfo:
            raise ConfigError(
                f"server '{self.name}' has no streaming_conninfo",
                hint=f"Set streaming_conninfo in section [{self.name}].",
            )
        return StreamingConnection(str(conninfo))

    @property
    def host(self) -> Host:
        """Return the host of PostgreSQL: through `ssh_command`, or this host when it is not set."""
        if self._host is None:
            self._host = self._host_of(self.config.ssh_command)
        return self._host

    @property
    def primary_host(self) -> Host:
        """Return the host of the primary Barman, which a passive node copies from."""
        if self._primary_host is None:
            if not self.config.primary_ssh_command:
                raise ConfigError(f"server '{self.name}' has no primary_ssh_command: it is not a passive node")
            self._primary_host = self._host_of(self.config.primary_ssh_command)
        return self._primary_host

    def _host_of(self, ssh_command: str | None) -> Host:
        from barman.transport.host import local_host, ssh_host

        return ssh_host(str(ssh_command), self.environment) if ssh_command else local_host(self.environment)

    @property
    def search_path(self) -> str:
        """Return where programs are searched: `path_prefix`, then PATH."""
        path = os.environ.get("PATH", os.defpath)
        prefix = self.config.path_prefix
        return f"{prefix}:{path}" if prefix else path

    @property
    def environment(self) -> dict[str, str] | None:
        """Return the environment of child programs, None when it is this process's own."""
        if not self.config.path_prefix:
            return None
        return {**os.environ, "PATH": self.search_path}

    def ask_programs_ahead(self) -> None:
        """Start asking the client programs that this server needs for their versions, beside what comes next."""
        from barman.postgres.programs import PG_BASEBACKUP, PG_RECEIVEWAL, ask_ahead

        if self.config.backup_method == "postgres":
            ask_ahead(PG_BASEBACKUP, self.search_path)
        if self.config.streaming_archiver:
            ask_ahead(PG_RECEIVEWAL, self.search_path)

    def connect_ahead(self) -> None:
        """Begin to connect to the host that rsync copies from, beside what comes next; who uses it is told failures."""
        if self.config.backup_method != "rsync" or not self.config.ssh_command:
            return
        from barman.clock import Deadline
        from barman.errors import BarmanError
        from barman.workers import Task

        host = self.host

        def connect() -> None:
            try:
                host.runner.run(["true"], deadline=Deadline(_CONNECT_SECONDS), check=False)
            except BarmanError:
                pass

        Task(connect)

    def close(self) -> None:
        """End the connections; they are opened again when they are used again."""
        for connection in (
            self._postgres,
            self._streaming,
            self._wal_streaming,
            self._wal_postgres,
            self._primary,
            self._host,
            self._primary_host,
        ):
            if connection is not None:
                connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
