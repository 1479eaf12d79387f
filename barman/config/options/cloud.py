"""Options of cloud storage and snapshots: recognised and validated, used by nothing yet."""

from __future__ import annotations

from barman.config import option, values
from barman.config.option import GSM, SM, Option, OptionSet


class CloudOptions(OptionSet):
    """Cloud storage and snapshots (not supported yet)."""

    cloud_staging_directory = Option(
        values.ABSOLUTE_PATH, "/tmp/barman/cloud-staging", "Where a backup waits for its upload.", GSM
    )
    cloud_staging_max_size = option.size(30 * 2**30, "A backup pauses when more than this waits for its upload.")
    cloud_upload_max_archive_size = option.size(100 * 2**30, "Size at which uploaded archives are split.", SM)
    cloud_upload_min_chunk_size = option.optional_size("Least size of an uploaded part.", SM)
    cloud_delete_batch_size = option.optional_count("Objects deleted by one request.", minimum=1)
    cloud_wal_archive_parallel = option.count(0, "WAL files that `cloud-wal-archive` uploads ahead.")
    cloud_wal_restore_parallel = option.count(0, "WAL files that `cloud-wal-restore` fetches ahead.")
    aws_profile = option.text("AWS: profile of the credentials.")
    aws_region = option.text("AWS: region.")
    aws_read_timeout = option.optional_count("AWS: read timeout.", unit="seconds")
    aws_encryption = option.optional_choice(
        values.choice_kind("AES256", "aws:kms", exact=True), "AWS: server side encryption."
    )
    aws_sse_kms_key_id = option.text("AWS: key, with `aws_encryption = aws:kms`.")
    aws_sse_customer_key = option.text("AWS: file with the customer's key, `file:///ABSOLUTE`.")
    aws_check_object_lock = option.boolean(False, "AWS: look for an object lock before anything is deleted.")
    aws_await_snapshots_timeout = option.count(3600, "AWS: how long to wait for a snapshot.", unit="seconds")
    aws_snapshot_lock_mode = option.optional_choice(
        values.choice_kind("governance", "compliance"), "AWS: lock of snapshots."
    )
    aws_snapshot_lock_duration = option.optional_count("AWS: duration of the lock, 1 to 36500.", unit="days")
    aws_snapshot_lock_cool_off_period = option.optional_count(
        "AWS: cool-off period of a compliance lock, 1 to 72.", unit="hours"
    )
    aws_snapshot_lock_expiration_date = option.text(
        "AWS: end of the lock, `YYYY-MM-DDTHH:MM:SS.sssZ`.", GSM, values.LOCK_DATE
    )
    azure_credential = option.text("Azure: `azure-cli`, `managed-identity` or `default`.")
    azure_resource_group = option.text("Azure: resource group.")
    azure_subscription_id = option.text("Azure: subscription.")
    gcp_project = option.text("Google: project.")
    gcp_zone = option.text("Google: zone.", SM)
    snapshot_provider = option.text("Provider of the snapshots: `gcp`, `azure` or `aws`.")
    snapshot_instance = option.text("Instance whose disks are snapshotted.", SM)
    snapshot_disks: Option[list[str] | None] = Option(values.DISKS, None, "Disks to snapshot.", SM)
    snapshot_gcp_project = option.text("Google: project.", SM).deprecate("gcp_project")
    snapshot_zone = option.text("Google: zone.", SM).deprecate("gcp_zone")
