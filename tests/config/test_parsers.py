"""What each setting takes, and what it refuses in which words."""

from __future__ import annotations

import pytest

from syncer.config import parsers
from syncer.secrets import Secret
from syncer.zenlayer.sources import SOURCES
from tests.config.support import KEYS, Place


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("SYNCER_MAX_CONCURRENCY", ["0", "1001", "-1", "1.5", "x"], ["1", "1000", " 16 "]),
        ("SYNCER_PAGE_SIZE", ["0", "1001"], ["1", "1000"]),
        ("SYNCER_MAX_RATE", ["0", "-1", "nan", "inf", "1e6", "x"], ["0.5", "10", "none", "off"]),
        ("SYNCER_REQUEST_TIMEOUT", ["0", "-1", "1y", "s", "1 2"], ["0.5", "90s", "1m"]),
        ("SYNCER_RUN_TIMEOUT", ["0s", "soon"], ["15m", "2h"]),
        ("SYNCER_GUARD_ZONE_COUNT", ["-1", "x", "1.5"], ["0", "off", "OFF", "1000000"]),
        ("SYNCER_GUARD_ZONE_PERCENT", ["101", "-1", "25%"], ["0", "100", "off"]),
        ("SYNCER_GUARD_RUN_PERCENT", ["101"], ["0", "100", "off"]),
        ("SYNCER_SERVICES", ["ec2", "vm,ec2", "all,ec2", ","], ["vm", "vm,zec bmc", " all "]),
        ("SYNCER_ACCOUNT", ["a b", "-a", "é", "a" * 64, "a/b"], ["a", "team-1.x_y@z", "a" * 63]),
        ("SYNCER_KEEP", ["400", "23h", "0d", "11w1d", "4000d"], ["1d", "400d", "none", "off"]),
        ("SYNCER_EVERY", ["0", "0.5", "-1", "soon"], ["1", "15m", "2d"]),
        ("SYNCER_HTTP", ["nowhere", "127.0.0.1:²", ":70000"], ["off", "[::1]:0", "9464"]),
        ("SYNCER_LOG_FORMAT", ["xml"], ["json", "JSON", "console", "auto"]),
        ("SYNCER_LOG_LEVEL", ["loud"], ["debug", "ERROR"]),
        ("SYNCER_DATABASE_URL", ["mysql://h/d", "h/d", "x"], ["postgres:///d", "postgresql://h"]),
    ],
)
def test_a_value_out_of_range_is_named(
    place: Place, name: str, bad: list[str], good: list[str]
) -> None:
    """Each setting takes what is documented, and says where anything else came from."""
    for value in bad:
        [fault] = place.faults(**{name: value})
        assert fault.startswith(f"{name}: "), value
    for value in good:
        place.load(**{name: value})


def test_all_is_every_known_service(place: Place) -> None:
    """``all`` stands for whatever is known; unset it is vm alone."""
    assert (
        place.load(SYNCER_SERVICES="all").account.services == tuple(SOURCES) == ("vm", "zec", "bmc")
    )
    assert place.load(SYNCER_SERVICES="zec,vm,zec").account.services == ("zec", "vm")
    assert place.load().account.services == ("vm",)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_an_endpoint_is_https_or_this_machine(place: Place, text: str, endpoint: str) -> None:
    """Https anywhere, plain http to loopback."""
    assert place.load(ZENLAYER_ENDPOINT=text).account.api.endpoint == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.999.999.999",
        "http://127.1",
        "http://example.com#localhost",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::2]",
        "https://user@example.com",
        "https://example.com?x=1",
        "https://example.com/api/v2",
        "ftp://localhost",
        "console.zenlayer.com",
        "https://",
        "https://example.com:port",
        "https://[::1",
    ],
)
def test_credentials_go_nowhere_else(place: Place, text: str) -> None:
    """Plain http to anything but loopback, and what is no plain base URL, is refused."""
    [fault] = place.faults(ZENLAYER_ENDPOINT=text)
    assert fault.startswith("ZENLAYER_ENDPOINT: ")


@pytest.mark.parametrize("value", ["two\nlines", "a\x00b", "tab\there", "bell\x07"])
@pytest.mark.parametrize(
    "name", ["ZENLAYER_TOKEN", "ZENLAYER_ACCESS_KEY_ID", "ZENLAYER_ACCESS_KEY_SECRET"]
)
def test_a_key_that_no_header_can_carry_is_refused(place: Place, name: str, value: str) -> None:
    """Line ends and control characters are refused, and the value is not repeated."""
    said = "\n".join(place.faults(**{**KEYS, name: value}))
    assert f"{name}: holds characters that no key has" in said
    assert value not in said


def test_a_secret_can_be_revealed_where_it_is_used() -> None:
    """The one way to the text of a secret is to ask for it."""
    assert Secret("x").reveal() == "x"
    assert parsers.secret(" x\n").reveal() == "x"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "no"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_asked_for_by_the_standard_variables(
    environment: dict[str, str], wanted: bool
) -> None:
    """An endpoint asks for traces, OTEL_SDK_DISABLED and OTEL_TRACES_EXPORTER=none do not."""
    assert wanted == parsers.traces(environment)


@pytest.mark.parametrize(
    ("no_proxy", "excepted"),
    [
        ("", False),
        (" , ", False),
        ("*", True),
        ("other, *", True),
        ("api.example.com", True),
        ("API.Example.COM", True),
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("other.com .example.com", True),
        ("ample.com", False),
        ("api.example.com.", True),
        ("api.example.com:443", True),
        (".example.com:443", True),
        ("api.example.com:8443", False),
        ("10.0.0.0/8", False),
        ("[", False),
        ("api.example.com:x", False),
    ],
)
def test_no_proxy_excepts_a_name(no_proxy: str, excepted: bool) -> None:
    assert excepted == parsers.is_excepted("api.example.com", 443, no_proxy)


@pytest.mark.parametrize(
    ("host", "no_proxy", "excepted"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "localhost,10.1.2.99/24", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("10.1.2.3", "2.3", True),  # by its end, as other programs do
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]:443", True),
        ("fd00::1", "[fd00::1]:80", False),
        ("fd00::1", "fd00:0::1", True),
    ],
)
def test_no_proxy_excepts_addresses_and_networks(host: str, no_proxy: str, excepted: bool) -> None:
    assert excepted == parsers.is_excepted(host, 443, no_proxy)
