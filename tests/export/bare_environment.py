"""Loads the students of a folder where only torch and transformers are installed.

Arguments: the folder, and the file to write.

Every module of another distribution is hidden, our own above all; what is left are the packages
that the two themselves require. Writes, as JSON, what came out for each folder.
"""

import importlib.metadata
import importlib.util
import json
import re
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from pathlib import Path
from typing import Any


def required(*names: str) -> set[str]:
    """Distributions that these require, and so on, extras left out."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name not in found:
            try:
                wanted = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue  # for another system
            found.add(name)
            queue += [re.split(r"[^\w.-]", one)[0] for one in wanted if "extra ==" not in one]
    return found


def hidden(allowed: set[str]) -> set[str]:
    """Modules on the path that belong to other distributions."""
    owners = importlib.metadata.packages_distributions()
    return {"asnn_goose"} | {
        module
        for module, names in owners.items()
        if not allowed & {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    }


class BarePath(PathFinder):
    """The search on sys.path, which finds no hidden module."""

    names = hidden(required("torch", "transformers"))

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] in cls.names:
            return None
        return super().find_spec(fullname, path, target)


# Finders beside the path's, an editable install's among them, would find what is hidden.
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, BarePath]
assert importlib.util.find_spec("pytest") is importlib.util.find_spec("asnn_goose") is None

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

found = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    words = AutoTokenizer.from_pretrained(folder)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        logits = model(ids).logits
    greedy = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
    found[folder.name] = {
        "logits": logits[0, ::13].tolist(),
        "drawn": greedy[0, 40:].tolist(),
        "words": words("goose").input_ids,
    }

model.save_pretrained(folder / "again")
again = AutoModelForCausalLM.from_pretrained(folder / "again", trust_remote_code=True)
with torch.no_grad():
    found[folder.name]["saved again"] = torch.equal(again(ids).logits, logits)
assert "asnn_goose" not in sys.modules
Path(sys.argv[2]).write_text(json.dumps(found))
