"""What each view, column and function of the contract means, where a tool for SQL shows it.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

KEY = {
    "account": "The credentials that it was read with, by the name that you gave them",
    "service": "vm, zec or bmc: the service of Zenlayer Cloud whose image it is",
    "zone_id": "The zone, by its id in the API; bmc has the one zone *",
    "image_id": "The image, by its id in the API; the same id may occur in several zones",
}
OF_A_ZONE = {**KEY, "service": "vm, zec or bmc: the service of Zenlayer Cloud that has the zone"}
del OF_A_ZONE["image_id"]
TRACKED = {
    "image_name": "The name of the image, as the API sent it",
    "image_type": "Whose image it is, as the API sent it: PUBLIC_IMAGE or CUSTOM_IMAGE",
    "image_size": "The size in GiB, as the API sent it: text, for instance 30",
    "image_description": "The description, as the API sent it",
    "image_version": "The version of the operating system, as the API sent it",
    "image_status": "Whether it can be used, as the API sent it: for instance AVAILABLE",
    "category": "The family that it belongs to, as the API sent it: for instance Ubuntu",
    "os_type": "The kind of operating system, as the API sent it: for instance linux",
    "nic_network_type": "Of zec: the network types it works with, as JSON (null: not known)",
    "image_source": "Of zec: where the image comes from (null: not known)",
    "min_disk_size": "Of zec: the smallest disk it needs, in GiB, as text (null: not known)",
}
GIB = {"image_size_gib": "The size in GiB, as a number (null: image_size holds none)"}
VIEWS = {
    "images": "Each image ever seen, in its current or last known state; "
    "filter by presence = 'present' for what is offered now",
    "image_versions": "Each state that an image was ever in, with the time from when to when",
    "image_changes": "Each change of an image: it appeared, changed, was removed, or returned",
    "image_field_changes": "Each field of each change, with its value before and after",
    "zones": "Each zone ever seen: how fresh what is known of it is, and how many images it has",
    "zone_scans": "Each attempt to read a zone, and what came of it",
    "runs": "Each run of syncer: one pass over everything that it was asked to read",
    "image_spread": "Image names that the zones of an account and service do not offer alike: "
    "missing in some, or with another version, size or status",
    "approvals": "Each time that a person allowed removals which the guard withheld",
    "baselines": "Lists of images that syncer baseline save kept, to be compared with later",
    "baseline_images": "The images of each baseline, as they were then",
    "schema_version": "The last migration that was applied to this database: one row",
}
FUNCTIONS = {
    "images_asof(timestamptz)": "The images that were present at an instant, as they were then",
    "image_presence(text, text, text, text, timestamptz)": "Whether an image was present, absent "
    "or unknown at an instant; unknown: nobody looked, or what was seen does not say",
    "zone_coverage(timestamptz)": "Each zone at an instant: whether it was known what it offers, "
    "and which looks before and after say so",
}
COLUMNS: dict[str, dict[str, str]] = {
    "images": {
        **KEY,
        **TRACKED,
        **GIB,
        "extra": "All else that the API sent, as JSON; a change of it is no change of the image",
        "fingerprint": "A digest of the tracked columns as they were sent last",
        "first_seen_at": "When it was first seen",
        "changed_at": "When its current state began: it appeared, changed, returned or was removed",
        "removed_at": "Since when it is confirmed to be absent (null: it is not)",
        "withheld_since": "Since when its removal waits for a person (null: it does not)",
    },
    "image_versions": {
        **KEY,
        **TRACKED,
        **GIB,
        "valid_from": "When this state was first seen",
        "valid_to": "When it was first seen to be over (null: it is the current state)",
        "run_id": "The run that saw the state first",
    },
    "image_changes": {
        **KEY,
        "change_id": "The place of the change in the feed: later changes have higher numbers",
        "changed_at": "When the change was seen",
        "not_before": "When the old state was seen last: the true change lies between this and "
        "changed_at (null: the zone had never been read whole)",
        "kind": "appeared, changed, removed, or returned (seen again after it was removed)",
        "image_name": "The name of the image, after the change",
        "changed_fields": "The columns that differ; empty where it appeared or was removed",
        "before": "The tracked columns before the change, as JSON (null: there was no image)",
        "after": "The tracked columns after the change, as JSON (null: there is no image)",
        "run_id": "The run that saw the change",
        "severity": "breaking (a launch may fail or differ, or the image is gone) or cosmetic; "
        "null: it appeared, or returned as it was",
    },
    "image_field_changes": {
        **KEY,
        "change_id": "The change in image_changes that it is part of",
        "changed_at": "When the change was seen",
        "image_name": "The name of the image, after the change",
        "field": "The name of the column that changed",
        "old_value": "Its value before, as text",
        "new_value": "Its value after, as text",
        "run_id": "The run that saw the change",
    },
    "image_gaps": KEY,
    "zones": {
        **OF_A_ZONE,
        "zone_name": "The name of the zone, as the API sent it",
        "attributes": "All else that the API says of the zone, as JSON",
        "first_seen_at": "When the zone was first listed",
        "last_seen_at": "When the zone was listed, or answered, last",
        "gone_at": "Since when the API does not offer the zone any more (null: it does)",
        "last_complete_at": "When the zone was last read whole: what is known of it is as of then",
        "last_attempt_at": "When it was last tried to read the zone",
        "last_status": "What came of that: see status of zone_scans",
        "withheld_removals": "Images whose removal waits for a person to approve it",
        "approved_removals": "Up to how many removals a pending approval allows (null: none)",
    },
    "zone_scans": {
        **OF_A_ZONE,
        "run_id": "The run that it is part of",
        "started_at": "When it began",
        "observed_at": "Just before the first page was asked for: what was seen is as of then",
        "finished_at": "When what came of it was stored",
        "status": "Read whole: unchanged, changed, or guarded (removals wait for a person); else "
        "incomplete (it did not add up), failed (nothing was read), gone (the zone is not offered)",
        "pages": "Pages that were read",
        "images": "Images that were read",
        "appeared": "Images that were not known before",
        "changed": "Images of which a tracked column changed",
        "removed": "Images that were confirmed to be absent",
        "returned": "Images that were removed before and are there again",
        "withheld": "Images whose removal waits for a person to approve it",
        "rejected": "Rows of the API that cannot be kept, for instance without an id",
        "rereads": "How often the zone was read again, as what was read did not add up",
        "error_code": "Why it was not read whole, or what was not answered: a short name",
        "error_message": "The same, in words",
        "request_id": "The number by which the support of Zenlayer finds the call that failed",
    },
    "runs": {
        "run_id": "The number of the run; runs of all accounts are numbered together",
        "account": KEY["account"],
        "started_at": "When the run began",
        "finished_at": "When it ended (null: it is running)",
        "deadline_at": "When it may be taken for dead, and be ended by the next run",
        "status": "running; succeeded; partial (some zones were not read whole); failed; crashed",
        "zones": "Zones that were read, or tried",
        "zones_unchanged": "Zones read whole in which nothing had changed",
        "zones_changed": "Zones read whole in which something had changed",
        "zones_incomplete": "Zones of which what was read did not add up",
        "zones_failed": "Zones that could not be read",
        "zones_guarded": "Zones read whole in which removals wait for a person",
        "zones_gone": "Zones that are not offered any more",
        "pages": "Pages that were read",
        "images": "Images that were read",
        "appeared": "Images that were not known before",
        "changed": "Images of which a tracked column changed",
        "removed": "Images that were confirmed to be absent",
        "returned": "Images that were removed before and are there again",
        "withheld": "Images whose removal waits for a person to approve it",
        "rejected": "Rows of the API that cannot be kept, for instance without an id",
        "rereads": "How often zones were read again, as what was read did not add up",
        "calls": "Calls to the API",
        "retries": "Calls that had to be made again",
        "error_code": "Why it failed or was stopped: a short name",
        "error_message": "The same, in words",
        "selection": "Which zones and services it was asked to read, as JSON",
        "syncer_version": "The version of syncer that ran",
        "last_change_id": "The last change of the run in image_changes (null: it is running)",
    },
    "image_spread": {
        "account": KEY["account"],
        "service": KEY["service"],
        "image_name": "The name that zones do not offer alike",
        "differs": "In what: zones (some lack it), image_version, image_size, image_status",
        "zones": "The zones that offer it",
        "missing_zones": "The zones that were read whole and do not offer it",
        "image_versions": "The versions there are",
        "image_sizes": "The sizes there are",
        "image_statuses": "The statuses there are",
        "image_ids": "The ids there are; they differ from zone to zone as a rule",
        "offers": "What each zone offers under the name, as JSON",
        "zone_count": "How many zones offer it",
    },
    "approvals": {
        **OF_A_ZONE,
        "approval_id": "The number of the approval",
        "max_removals": "Up to how many images may be removed",
        "approved_at": "When it was given",
        "approved_by": "Who gave it",
        "outcome": "pending; applied; exceeded (there were more, so none was removed); not_needed; "
        "replaced (by a later approval)",
        "decided_at": "When it was used or ended (null: it is pending)",
        "run_id": "The run that used it",
        "candidates": "How many images were to be removed then",
        "removed": "How many it let be removed so far",
        "of_run_id": "The run whose removals are approved (null: those of the next whole look)",
    },
    "rate_limits": {
        "account": KEY["account"],
        "calls_per_second": "How many calls a second the API takes, as it was learnt",
        "learnt_at": "When it was learnt",
        "run_id": "The run that learnt it",
    },
    "baselines": {
        "name": "The name of the baseline",
        "as_of": "The instant whose images it shows",
        "saved_at": "When it was saved",
        "saved_by": "Who saved it",
        "filters": "Which images were asked for, as JSON",
        "images": "How many images it has",
    },
    "baseline_images": {
        "name": "The name of the baseline that the image is part of",
        **KEY,
        **TRACKED,
    },
    "schema_version": {"revision": "Its number"},
    "workers": {
        "host": "The machine that it runs on",
        "pid": "The number of its process there",
        "syncer_version": "The version of syncer that it runs",
        "started_at": "When it started",
        "seen_at": "When it last said that it is there",
    },
    "account_schedule": {"account": KEY["account"]},
}
"""What had a comment keeps it, but for ``image_changes.severity``, which left something out."""


def upgrade() -> None:
    for view, meaning in VIEWS.items():
        comment(f"view syncer.{view}", meaning)
    for view, columns in COLUMNS.items():
        for column, meaning in columns.items():
            comment(f"column syncer.{view}.{column}", meaning)
    for function, meaning in FUNCTIONS.items():
        comment(f"function syncer.{function}", meaning)


def comment(on: str, meaning: str) -> None:
    quoted = meaning.replace("'", "''")
    op.execute(f"comment on {on} is '{quoted}'")
