"""Options of WAL archiving."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GSM, Option, OptionSet


class WalOptions(OptionSet):
    """WAL archiving: sources, compression."""

    archiver = option.boolean(
        False, "Archive the WAL files that `archive_command` leaves in `incoming_wals_directory`."
    )
    archiver_batch_size = option.count(0, "WAL files handled in one run; 0 means all.")
    streaming_archiver = option.boolean(
        False, "Receive WAL with `pg_receivewal` and archive it from `streaming_wals_directory`."
    )
    streaming_archiver_batch_size = option.count(0, "Streamed WAL files handled in one run; 0 means all.")
    streaming_archiver_name = Option(
        values.NAME,
        "barman_receive_wal",
        "`application_name` of `pg_receivewal`; if it is in `synchronous_standby_names`, reception is synchronous.",
        GSM,
    )
    compression = option.optional_choice(
        values.COMPRESSION,
        "Compression of archived WAL. `pygzip` and `pybzip2` are old names of `gzip` and `bzip2`; `custom` is "
        "deprecated.",
    )
    compression_level: Option[int | str] = Option(
        values.LEVEL, "medium", "Compression level; clamped to what the algorithm knows.", GSM
    )
    custom_compression_filter = option.shell("Compresses standard input, with `compression = custom`.").deprecate(
        "compression"
    )
    custom_decompression_filter = option.shell("Undoes `custom_compression_filter`.").deprecate("compression")
    custom_compression_magic = option.text(
        "Leading bytes of files written by the custom filter, `0xHEX`.", GSM, values.MAGIC
    ).deprecate("compression")
    max_incoming_wals_queue = option.optional_count("`check` fails when more WAL files wait in a queue.")
