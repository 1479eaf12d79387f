"""Results of the commands that only look: what is true of a server, its backups and its clients."""
