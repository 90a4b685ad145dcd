"""How Qdrant Edge is to lay out a shard: its graphs, and its indexes of payload fields.

The graphs are made by `optimize` alone. A search for one language goes through the graph of all passages; where one has
few of them it would fall apart there, so the engine then makes one of its own for it (`payload_m`). Figures are of
100,000 passages in 6 languages, 256 dimensions (benchmarks/search_speed.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.stores.schema import DENSE, INTEGER_FIELDS, KEYWORD_FIELDS, LANGUAGE, SPARSE

if TYPE_CHECKING:
    import qdrant_edge

EF_OF_A_RESULT = 2
"""Nodes that a search of a graph keeps in view for each result: of the 100 nearest it then finds 97 in 100, of the 12
nearest in a language 99.8 and of the 10 nearest all, in a fifth of the time that reading all vectors takes."""

_LINKS, _CONSTRUCTION = 16, 100  # qdrant's own
_SCANNED = 1000
"""Of so few points that meet a condition all vectors are read: as fast as a graph, and exact. Far fewer, and a ranking
of some 200 points by their ids is looked for in the graph, which finds three of them."""
# So few points that meet a condition have all their sparse vectors read: the token lists of a question take 2 ms. With
# the engine's 5,000 a sparse search in one of 30 languages took 30 ms.
_SPARSE_SCANNED = 300
_INDEXED_KB = 1000
"""Segments of more than this get graphs; the engine's 10,000 would leave out what is worth it in few dimensions."""


def configuration(dimension: int) -> qdrant_edge.EdgeConfig:
    """Of a new shard, and of an older one when it is optimized."""
    import qdrant_edge as edge

    return edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(full_scan_threshold=_SPARSE_SCANNED)},
        hnsw_config=edge.HnswIndexConfig(
            m=_LINKS,
            ef_construct=_CONSTRUCTION,
            full_scan_threshold=_SCANNED * dimension * 4 // 1024,  # in KB of float32
            payload_m=_LINKS,
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_INDEXED_KB, default_segment_number=1),
    )


def index_fields(shard: qdrant_edge.EdgeShard) -> None:
    """Makes the payload indexes, or makes them anew where they are others.

    Only languages get graphs of their own: those of documents would be as many as there are documents.
    """
    import qdrant_edge as edge

    there = shard.info().payload_schema
    for field in KEYWORD_FIELDS:
        graphs = field == LANGUAGE
        found = there[field].params if field in there else None
        if not isinstance(found, edge.KeywordIndexParams) or found.enable_hnsw is not graphs:
            wanted: qdrant_edge.PayloadSchemaParams = edge.KeywordIndexParams(enable_hnsw=graphs)
            shard.update(edge.UpdateOperation.create_field_index(field, wanted))
    for field in INTEGER_FIELDS:
        numbers = there[field].params if field in there else None
        if not isinstance(numbers, edge.IntegerIndexParams) or numbers.enable_hnsw is not False:
            wanted = edge.IntegerIndexParams(lookup=True, range=True, enable_hnsw=False)
            shard.update(edge.UpdateOperation.create_field_index(field, wanted))


def search_params(count: int) -> qdrant_edge.SearchParams:
    """Of a search for the nearest `count`."""
    import qdrant_edge as edge

    return edge.SearchParams(hnsw_ef=EF_OF_A_RESULT * count)
