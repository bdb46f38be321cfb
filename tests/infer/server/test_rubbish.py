"""Whatever fits our own OpenAPI document, and what does not, is answered in OpenAI's forms."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode

LIMITED = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("mode", [*GenerationMode], ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions", "/tokenize"])
def test_no_request_is_a_server_error(server: Any, path: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    seen = set()

    @LIMITED
    @given(case=document[path]["POST"].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        if isinstance(case.body, dict) and path != "/tokenize":
            case.body = case.body | {"max_tokens": 2}
        response = case.call(timeout=60)
        seen.add(response.status_code)
        assert response.status_code < 500
        if response.status_code >= 400:
            error = response.json()["error"]
            assert error["message"]
            assert error["type"].endswith("_error")

    ask()
    assert seen
    server.eventually(server.is_idle)
