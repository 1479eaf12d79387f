"""Health checks of one server: what `check` prints and what `backup` asks before it starts."""
