"""Hook scripts: shell commands of the operator around backups, archived WAL, deletions and restores."""
