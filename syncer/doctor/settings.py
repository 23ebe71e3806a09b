"""The settings: where each came from, and what is wrong with them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from syncer.config.layers import SettingFault, others_may_read
from syncer.config.settings import LoadedSettings
from syncer.core.hints import number
from syncer.doctor.finding import Finding, failed, ok, warning
from syncer.files.ownership import NotTrusted, check_file


def check_settings(loaded: LoadedSettings, *, defaults: bool) -> Iterator[Finding]:
    """Yield a line for each setting that is faulty, unknown or set; with ``defaults`` for all."""
    for setting in loaded.shown:
        if setting.origin is not None or defaults:
            yield ok(setting.name, f"{setting.value} ({setting.origin or 'default'})")
    for fault in loaded.faults:
        yield judge_fault(fault)
    of_accounts = {fault for account in loaded.settings.accounts for fault in account.faults}
    for line in loaded.settings.missing:
        if line not in of_accounts:
            yield failed("settings_file", line, "fix that: until then nothing is crawled")
    for unknown in (*loaded.unknown, *loaded.unread):
        yield warning(unknown.name, "is ignored", unknown.advice)
    yield from _check_roots(loaded)
    yield from _check_file(loaded)


def judge_fault(fault: SettingFault) -> Finding:
    """Judge a fault; its message names the place, unless that is a variable."""
    ours = fault.name is not None and fault.name.isupper()
    name = fault.name if fault.name and ours else "settings_file"
    return failed(
        name, fault.message.removeprefix(f"{name}: "), "fix that: until then no command works"
    )


def _check_roots(loaded: LoadedSettings) -> Iterator[Finding]:
    for name, why in loaded.roots_missing():
        if name == "SSL_CERT_FILE":
            yield warning(
                name,
                f"{why}: no certificate can be trusted",
                "correct SSL_CERT_FILE, or unset it",
            )
        else:
            yield warning(name, why, "correct it, or unset it")


def _check_file(loaded: LoadedSettings) -> Iterator[Finding]:
    """Check whether the settings file shows its secrets to everybody, and who can change it."""
    if loaded.file is None:
        return
    try:
        check_file(loaded.file)
    except NotTrusted as error:
        yield judge_untrusted(str(loaded.file), error)
    except OSError:  # a fault already
        return
    secrets = [s.name for s in loaded.shown if s.secret and s.origin == str(loaded.file)]
    try:
        exposed = others_may_read(loaded.file)
    except OSError:  # a fault already
        return
    if secrets and exposed:
        yield judge_exposed(str(loaded.file), secrets)


def judge_untrusted(path: str, error: NotTrusted) -> Finding:
    """Judge a settings file that somebody else can change: it says where credentials are sent."""
    return warning(
        "settings_file",
        f"somebody else can change {path}, which says where credentials are sent: "
        f"{error.filename}: {error.strerror}",
        error.advice or "keep it in a folder of yours: SYNCER_CONFIG",
    )


def judge_exposed(path: str, secrets: Sequence[str]) -> Finding:
    """Judge a settings file with secrets that everybody on this machine may read."""
    count = number(len(secrets), "secret")
    return warning(
        "settings_file",
        f"everybody on this machine may read {path}, which holds {count}",
        f"chmod o-r {shlex.quote(path)}",
    )
