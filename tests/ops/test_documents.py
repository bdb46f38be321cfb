from __future__ import annotations

import torch

from asnn_goose.ops.documents import document_starts, same_document

DOCUMENTS_BT = torch.tensor([[7, 7, 2, 7], [1, 1, 1, 1]])


def test_a_document_starts_where_the_number_changes() -> None:
    assert document_starts(DOCUMENTS_BT).tolist() == [[False, False, True, True], [False] * 4]


def test_a_number_that_returns_is_another_document() -> None:
    assert same_document(DOCUMENTS_BT).int().tolist() == [
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[1] * 4] * 4,
    ]
