"""TLS to PostgreSQL: certificates and keys as libpq wants them, and what is wrong with them.

Files are read whenever a connection is opened, so that renewed certificates are used by a daemon.
Everything that is wrong with them is a ConfigError that names the parameter and the file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from syncer.core.errors import ConfigError
from syncer.core.libpq import SYSTEM, Host, Tls

VERIFYING: Final = ("verify-ca", "verify-full")
_ALPN: Final = ["postgresql"]
"""What PostgreSQL 17 and newer ask for where TLS comes first."""
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})
"""What OpenSSL says of a certificate that nobody vouches for (X509_V_ERR_...), as of the others."""
_TOO_EARLY, _EXPIRED, _CRL_EXPIRED, _NO_CRL, _REVOKED = 9, 10, 12, 3, 23
_WRONG_NAME: Final = frozenset({62, 64})


class _ByName(ssl.SSLContext):
    """A context that expects a server's name, whatever address it is reached by."""

    name: str

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:  # noqa: ANN401  (ssl's)
        return super().wrap_bio(*arguments, **{**named, "server_hostname": self.name})


class Files:
    """The files that count: what is named, else what is in ~/.postgresql. Each is looked at."""

    def __init__(self, tls: Tls) -> None:
        self.root = "" if tls.root_cert == SYSTEM else _named(tls, "root_cert", "root.crt")
        self.cert = _named(tls, "cert", "postgresql.crt")
        self.key = _named(tls, "key", "postgresql.key") if self.cert else ""
        self.crl = tls.crl or ("" if tls.crl_dir else _named(tls, "crl", "root.crl"))
        for parameter, path in (
            ("sslrootcert", self.root),
            ("sslcert", self.cert),
            ("sslkey", self.key),
            ("sslcrl", self.crl),
        ):
            if path:
                _check_readable(parameter, path)
        if self.cert and not self.key:
            if b"PRIVATE KEY-----" not in Path(self.cert).read_bytes():
                raise ConfigError(f"sslkey: name the key of the certificate {self.cert}")
            self.key = self.cert  # it holds both
        if self.key:
            _check_private(self.key)


def _named(tls: Tls, field: str, default: str) -> str:
    named: str = getattr(tls, field)
    if named or tls.folder is None:
        return named
    path = f"{tls.folder}/{default}"
    return path if os.path.exists(path) else ""  # noqa: PTH110  (paths are texts here)


def _check_readable(parameter: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except FileNotFoundError:
        raise ConfigError(f"{parameter}: there is no file {path}") from None
    except OSError as error:
        raise ConfigError(
            f"{parameter}: {path} cannot be read by this user: {error.strerror}"
        ) from None


def _check_private(path: str) -> None:
    """Refuse a key as libpq does: that of root may be read by its group, any other by nobody."""
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"sslkey: {path} is no plain file")
    others = stat.S_IRWXG | stat.S_IRWXO
    if status.st_uid == 0:
        others &= ~stat.S_IRGRP
    if status.st_mode & others:
        raise ConfigError(
            f"sslkey: others may read {path}, or change it: chmod 600 {shlex.quote(path)}"
        )


def context(tls: Tls, host: Host) -> ssl.SSLContext:
    """Return how to encrypt the connection to a host. Raises ConfigError.

    The server must be who it says where the mode is verify-..., or authorities are named.
    """
    files = Files(tls)
    made = _ByName(ssl.PROTOCOL_TLS_CLIENT)
    made.name = host.name or host.address
    made.check_hostname = tls.mode == "verify-full"
    made.verify_mode = ssl.CERT_REQUIRED
    if tls.root_cert == SYSTEM:
        made.set_default_verify_paths()
    elif files.root:
        with _pem("sslrootcert", files.root, "certificate"):
            made.load_verify_locations(cafile=files.root)
    elif tls.mode in VERIFYING:
        folder = tls.folder or "~/.postgresql"
        raise ConfigError(
            f"sslmode {tls.mode} needs the authority's certificate: name its file in sslrootcert "
            f"(there is no {folder}/root.crt), or say sslrootcert=system for those that this "
            "system trusts"
        )
    else:
        made.verify_mode = ssl.CERT_NONE
    _load_revoked(made, tls, files)
    _load_ours(made, tls, files)
    made.minimum_version = _version(tls.min_version)
    made.maximum_version = (
        _version(tls.max_version) if tls.max_version else ssl.TLSVersion.MAXIMUM_SUPPORTED
    )
    made.set_alpn_protocols(_ALPN)
    return made


def _load_revoked(made: ssl.SSLContext, tls: Tls, files: Files) -> None:
    if made.verify_mode is ssl.CERT_NONE or not (files.crl or tls.crl_dir):
        return
    if tls.crl_dir and not Path(tls.crl_dir).is_dir():
        raise ConfigError(f"sslcrldir: there is no folder {tls.crl_dir}")
    with _pem("sslcrl", files.crl or tls.crl_dir, "revocation list"):
        made.load_verify_locations(cafile=files.crl or None, capath=tls.crl_dir or None)
    made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _load_ours(made: ssl.SSLContext, tls: Tls, files: Files) -> None:
    if not files.cert:
        return
    with _pem("sslcert", files.cert, "certificate"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=files.cert)
    try:
        made.load_cert_chain(files.cert, files.key, password=lambda: tls.key_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"is not the key of the certificate {files.cert} (sslcert)"
        elif tls.key_password:
            why = "holds no key in PEM form that sslpassword opens"
        else:
            why = "holds no key in PEM form, or one that needs a password (sslpassword)"
        raise ConfigError(f"sslkey: {files.key} {why}") from None


@contextlib.contextmanager
def _pem(parameter: str, path: str, what: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError:
        raise ConfigError(f"{parameter}: {path} holds no {what} in PEM form") from None


def _version(name: str) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")]


def fault_of_server(error: ssl.SSLCertVerificationError, host: Host) -> str:
    """Return what is wrong with a server's certificate, and what to do."""
    code, name = error.verify_code, host.name or host.address
    if code in _WRONG_NAME:
        return (
            f"its certificate is of another name than {name}: connect by a name that it has "
            "(hostaddr may say the address), or use sslmode=verify-ca"
        )
    if code in _UNTRUSTED:
        return (
            "its certificate is of no authority that is trusted here: name the file with the "
            "authority's certificate in sslrootcert"
        )
    if code == _EXPIRED:
        return "its certificate, or that of its authority, has expired: renew it on the server"
    if code == _TOO_EARLY:
        return "its certificate is not valid yet: is the clock of this host right?"
    if code == _REVOKED:
        return "its certificate was revoked: it needs another"
    if code in {_NO_CRL, _CRL_EXPIRED}:
        return "there is no valid revocation list of its authority: renew sslcrl"
    return f"its certificate is not trusted: {error.verify_message}"


_NOT_OURS: Final = re.compile("CERTIFICATE|UNKNOWN_CA|DECRYPT_ERROR|ACCESS_DENIED")
_OTHER_VERSION: Final = re.compile("PROTOCOL|VERSION|CIPHER")


def fault_of_handshake(error: ssl.SSLError) -> str:
    """Return why no TLS was agreed on, and what to do."""
    reason = error.reason or "HANDSHAKE FAILED"
    said = reason.lower().replace("_", " ")
    if "ALERT" in reason and _NOT_OURS.search(reason):
        return f"it does not accept our certificate ({said}): correct sslcert and sslkey"
    if "WRONG_VERSION_NUMBER" in reason:
        return f"it does not answer by TLS ({said}): is it PostgreSQL, and sslnegotiation right?"
    if _OTHER_VERSION.search(reason):
        return (
            f"no version of TLS suits both sides ({said}): see ssl_min_protocol_version here and "
            "there"
        )
    return f"TLS failed: {said}"
