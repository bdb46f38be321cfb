"""Whatever our own OpenAPI document allows, and more, is answered in OpenAI's forms."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

PATHS = ["/v1/completions", "/v1/chat/completions", "/tokenize", "/v1/models", "/v1/models/{name}"]


@pytest.fixture
def document(server: Any) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


schema = schemathesis.pytest.from_fixture("document")


@schema.include(path=PATHS).parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_no_request_is_a_server_error(case: Any) -> None:
    if isinstance(case.body, dict) and case.path != "/tokenize":
        case.body["max_tokens"] = 2
    response = case.call()
    case.validate_response(response, checks=[not_a_server_error])
    if response.status_code >= 400:
        error = response.json()["error"]
        assert error["message"]
        assert error["type"].endswith("_error")


def test_nothing_is_left_over(server: Any) -> None:
    server.eventually(server.is_idle)
    assert httpx.get(f"{server.url}/health").json()["slots_taken"] == 0
