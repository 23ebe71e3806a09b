"""What tests of the API's client share."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that is trusted here, alone: SSL_CERT_FILE names ``roots.pem``."""
    made, roots = trustme.CA(), tmp_path / "roots.pem"
    made.cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    return made
