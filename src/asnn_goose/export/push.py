"""A folder to share, on the Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

from asnn_goose.export.forms import ExportError
from asnn_goose.export.hub_folder import is_hub_folder

NOT_OURS = ["*.part", ".*"]
"""What may lie in a folder and is none of what was exported."""


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a folder as one commit, and give the address of it.

    repository is OWNER/NAME, which is made where there is none; HF_ENDPOINT names another Hub than
    huggingface.co.
    Raises ExportError for a folder that `export_hub_folder` did not write, and for what the Hub
    refuses: a wrong name, no token, no right to write.
    """
    if not is_hub_folder(folder):
        raise ExportError(
            f"{folder} is no folder to share: make one with asnn-goose export RUN --to hub-folder"
        )
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"{folder.resolve().name}, exported by asnn-goose",
            ignore_patterns=NOT_OURS,
        )
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError) as error:
        raise ExportError(f"{repository}: {_said(error)}") from error
    return str(done.commit_url)


def _said(error: Exception) -> str:
    """The Hub's words, and what to do where it does not know who asks."""
    response = getattr(error, "response", None)
    if response is not None and response.status_code in (401, 403):
        return f"{error}\nlog in with: hf auth login, or set HF_TOKEN to a token that may write"
    return str(error)
