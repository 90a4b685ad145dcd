"""How Qdrant Edge is to lay out a shard: its graphs, and its indexes of payload fields.

The graphs are made by `optimize` alone: one of all passages, with links (`payload_m`) among those that share a value of
an indexed field. Those of a language let a search stay in it. Those of a document, and of an ordinal, which share no
topic, hold the whole together: vectors lie in dense clusters, of a language and a topic, between which the graph of
nearest ones alone breaks. With languages alone it found 89 of the 100 nearest at 22,000 made-up passages however much
of it was looked at, with all fields 99.8 (benchmarks.search_speed.Passages, 6 languages, 256 dimensions, hnsw_ef 400).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rag.stores.schema import DENSE, INTEGER_FIELDS, KEYWORD_FIELDS, LANGUAGE, SPARSE, Conditions

if TYPE_CHECKING:
    import qdrant_edge

EF_OF_A_RESULT = 4
"""Nodes that a search of a graph keeps in view for each result: at 100,000 passages it finds 99.4 of the 100 nearest,
and the ten best of 300 hybrid searches are those of reading all vectors. With 2 it finds 96.6, and 99.7 of the best."""

_LINKS, _CONSTRUCTION = 16, 100  # qdrant's own
_LEAST_GROUP = 10
"""Points with one value of a field that get links. The engine also takes it for the least number of points that meet a
condition to be looked for in the graph, where of 210 given by their ids it found three: see `search_params`."""
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
            full_scan_threshold=max(1, _LEAST_GROUP * dimension * 4 // 1024),  # in KB of float32
            payload_m=_LINKS,
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_INDEXED_KB, default_segment_number=1),
    )


def index_fields(shard: qdrant_edge.EdgeShard) -> None:
    """Makes the payload indexes."""
    import qdrant_edge as edge

    for field in KEYWORD_FIELDS:
        shard.update(edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Keyword))
    for field in INTEGER_FIELDS:
        shard.update(edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Integer))


def search_params(count: int, where: Conditions, but_not: Conditions) -> qdrant_edge.SearchParams:
    """Of a search by dense vectors for the nearest `count` of the points that meet conditions.

    The graph is trusted with all points and with those of one language. Any other condition may leave points that no
    links join, so the vectors of those that meet it are read.
    """
    import qdrant_edge as edge

    plain = not but_not and where.keys() <= {LANGUAGE, "state"} and len(where.get(LANGUAGE, ())) < 2
    return edge.SearchParams(hnsw_ef=EF_OF_A_RESULT * count) if plain else edge.SearchParams(exact=True)
