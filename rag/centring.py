"""A question's vector away from what all passages of a collection have in common; pure.

Vectors of a model, and of one subject matter the more so, share a direction that says nothing of any of them. Passages
that are near to it are near to every question, so a part of it is taken out of the question before passages are
compared: the mean, as in Mu & Viswanath 2018 (arXiv 1702.01417), of the collection that is searched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def centred(questions: Vectors, centre: Vectors, share: float) -> Vectors:
    """`questions` less `share` of `centre`, of unit norm again.

    Args:
        questions: (..., dimension) unit vectors.
        centre: (dimension,) mean of passages' unit vectors, so at most 1 long.
        share: 0 leaves the questions as they are. One of which nothing would be left stays as it is, too.
    """
    moved = questions.astype(np.float64) - share * centre.astype(np.float64)
    norms = np.linalg.norm(moved, axis=-1, keepdims=True)
    left = norms > 1e-6
    return np.where(left, moved / np.where(left, norms, 1.0), questions).astype(np.float32)
