"""What is said when a TLS connection to an application cannot be made."""

import ssl

import pytest

from proxy.net.client_contexts import explained


def test_an_error_without_a_reason_is_explained_too() -> None:
    assert explained(ssl.SSLError(1, "it failed")) == "the TLS handshake failed (it failed)"


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("WRONG_VERSION_NUMBER", "write its address without https://"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "set upstream_cert and upstream_key"),
    ],
)
def test_a_reason_leads_to_its_fix(reason: str, fix: str) -> None:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    assert fix in explained(error)
