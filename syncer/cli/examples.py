"""Examples that the help of each command ends with: what for, and what is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "": (
        ("See it work, with nothing set up:", "syncer demo"),
        ("What changed since yesterday?", "syncer changes --since 1d"),
    ),
    "demo": (
        ("All of it, in half a minute:", "syncer demo"),
        ("With another drift:", "syncer demo --seed 3"),
    ),
    "sync": (
        ("One run over everything:", "syncer sync"),
        (
            "What would a run of two zones change? Nothing is written:",
            "syncer sync --dry-run --zone FRA-A --zone 'LAX-*'",
        ),
    ),
    "serve": (
        ("Every ten minutes:", "syncer serve --every 10m"),
        ("Metrics for other machines too:", "syncer serve --http 0.0.0.0:9464"),
    ),
    "worker": (
        ("All accounts of the settings, four at a time:", "syncer worker --at-once 4"),
        ("An account is closed:", "syncer worker --forget old-account"),
    ),
    "images": (
        (
            "Ubuntu images in Frankfurt that are there now:",
            "syncer images --zone 'FRA-*' --image 'Ubuntu*' --presence present",
        ),
        ("A file of pins for 'syncer check':", "syncer images --presence present -o csv"),
    ),
    "zones": (
        ("How fresh is what is stored?", "syncer zones"),
        ("For a program:", "syncer zones --service vm -o json"),
    ),
    "runs": (
        ("The last ten:", "syncer runs --limit 10"),
        ("How did the last one end? For a pipeline:", "syncer runs --limit 1 -o json"),
    ),
    "changes": (
        ("Of the last two days, in Frankfurt:", "syncer changes --since 2d --zone 'FRA-*'"),
        (
            "Each change once, as it comes, also after a restart:",
            "syncer changes --follow --cursor changes.cursor -o ndjson",
        ),
    ),
    "history": (
        ("By name, in all zones:", "syncer history 'Ubuntu 22.04'"),
        ("By id, for a program:", "syncer history img-ubuntu-2204 -o json"),
    ),
    "diff": (
        ("Since Monday:", "syncer diff 2026-11-23"),
        (
            "Between two runs; exit 6 where anything drifted:",
            "syncer diff 41 42 --exit-code",
        ),
    ),
    "asof": (
        ("What could be had two days ago?", "syncer asof 2d --zone FRA-A"),
        ("At a time of another time zone:", "syncer asof 2026-11-23T09:00+01:00"),
    ),
    "spread": (
        ("Everything that differs:", "syncer spread"),
        ("Is Ubuntu the same everywhere?", "syncer spread --image 'Ubuntu*'"),
    ),
    "check": (
        ("A baseline:", "syncer check release-42"),
        ("A file, if it was looked at lately:", "syncer check pins.csv --max-age 2h"),
    ),
    "baseline": (
        ("Keep what is there now:", "syncer baseline save release-42"),
        ("Which are there?", "syncer baseline list"),
    ),
    "baseline save": (
        ("What is there now, in Frankfurt:", "syncer baseline save release-42 --zone 'FRA-*'"),
        (
            "What was there on a day, in place of what the name holds:",
            "syncer baseline save quarter --at 2026-10-01 --replace",
        ),
    ),
    "baseline list": (
        ("All of them:", "syncer baseline list"),
        ("For a program:", "syncer baseline list -o json"),
    ),
    "baseline delete": (
        ("One that nobody needs any more:", "syncer baseline delete release-41"),
        ("One whose name begins with a dash:", "syncer baseline delete -- -old"),
    ),
    "approve": (
        ("What a zone withholds, if it is at most 60:", "syncer approve FRA-A --max 60"),
        ("What run 42 withheld as a whole:", "syncer approve --run 42 --max 200"),
    ),
    "retire": (
        ("A zone that will not come back:", "syncer retire OLD-A"),
        ("Where several have one of that name:", "syncer retire OLD-A --account eu --service vm"),
    ),
    "prune": (
        ("What would go?", "syncer prune --keep 400d --dry-run"),
        ("Of every account in the database:", "syncer prune --keep 400d --all-accounts"),
    ),
    "doctor": (
        ("Everything:", "syncer doctor"),
        ("What failed, for a program:", "syncer doctor --max-age 6h -o json"),
    ),
    "db": (
        ("Is the schema the one that is needed?", "syncer db status"),
        ("Once, and after an update:", "syncer db upgrade"),
    ),
    "db upgrade": (
        ("As the schema's owner:", "syncer db upgrade"),
        ("For who lets no program do it:", "syncer db upgrade --sql"),
    ),
    "db dependents": (
        ("Keep what an upgrade would have to drop:", "syncer db dependents"),
        ("What drops it:", "syncer db dependents --drop"),
    ),
    "db status": (
        ("Which schema is there?", "syncer db status"),
        ("For a program; exit 2 where it is not the right one:", "syncer db status -o json"),
    ),
    "db url": (
        ("Where is it?", "syncer db url"),
        ("For psql, until Ctrl-C:", "syncer db url --hold"),
    ),
    "db roles": (
        ("Make the roles, or renew their rights:", "syncer db roles"),
        ("For who lets no program do it:", "syncer db roles --sql"),
    ),
    "db dump": (
        ("Into a file:", "syncer db dump --file syncer.dump"),
        ("To elsewhere:", "syncer db dump > syncer.dump"),
    ),
    "db move": (
        ("Into the version of PostgreSQL that syncer has now:", "syncer db move"),
        (
            "To a server:",
            "syncer db move --to postgresql://syncer_owner@db.example:5432/inventory",
        ),
    ),
    "db repair-clock": (
        ("What would be done?", "syncer db repair-clock"),
        ("Do it:", "syncer db repair-clock --yes"),
    ),
    "simulate": (
        ("Twelve zones of 200 images:", "syncer simulate --zones 12 --images 200"),
        (
            "A zone that fails three times:",
            "syncer simulate --fault status=503,zone=FRA-A,times=3",
        ),
    ),
    "bench": (
        ("A rough picture, in five minutes:", "syncer bench --images 500"),
        ("Two goals, for a program:", "syncer bench --only G1,G6 --json"),
    ),
    "completion": (
        ("In bash, now:", 'eval "$(syncer completion bash)"'),
        (
            "In fish, from now on:",
            "syncer completion fish > ~/.config/fish/completions/syncer.fish",
        ),
    ),
    "schema": (
        ("What 'syncer images -o json' prints:", "syncer schema images"),
        ("Which commands have one?", "syncer schema"),
    ),
}
