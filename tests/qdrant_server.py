"""A server on this machine that speaks Qdrant's HTTP and gRPC, over the engine that qdrant-client brings along.

    with qdrant_server() as server:
        store = ServerStore(server.url, "library")
        ...
        assert server.calls[-1].name == "query"

It is no Qdrant: one lock, exact search, none of Qdrant's own errors except those below. What it shows is what goes over
the wire and comes back, and what becomes of an adapter whose server refuses, breaks off or goes away:

    qdrant_server(api_key="k")            401 for requests without the key, except `GET /` and the health check
    qdrant_server(version="1.12.4")       says that it is another version
    qdrant_server(grpc=False)             the gRPC port is closed
    server.refuse(3, 503)                 the next three requests get this HTTP status, or the gRPC status that means it
    server.stop(), server.start()         goes away, and comes back at the same ports with its data
    server.before = function              called with each request's `Call` before it is served; may raise `Refusal`
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as wire
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
_DONE = models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


@dataclass(frozen=True)
class Call:
    """One request as the server understood it.

    Attributes:
        name: `create`, `drop`, `exists`, `list`, `info`, `index`, `upsert`, `set_payload`, `delete`, `count`, `facet`,
            `scroll`, `query`, `aliases`, `point_aliases`
        protocol: `http` or `grpc`.
    """

    name: str
    protocol: str
    collection: str
    arguments: dict[str, Any]


class Refusal(Exception):  # noqa: N818  # not an error: an answer
    """A request that is not served."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class QdrantServer:
    """See the module."""

    def __init__(self, api_key: str | None, version: str, with_grpc: bool) -> None:
        self.version = version
        self.grpc_version = version
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = lambda call: None
        self._api_key = api_key
        self._engine = QdrantClient(":memory:")
        self._indexes: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._refusals: list[Refusal] = []
        self._with_grpc = with_grpc
        self.port = two_free_ports()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._http_thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._http_thread.start()
        self._grpc = None
        if self._with_grpc:
            self._grpc = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
            wire.add_QdrantServicer_to_server(_Health(self), self._grpc)
            wire.add_CollectionsServicer_to_server(_Collections(self), self._grpc)
            wire.add_PointsServicer_to_server(_Points(self), self._grpc)
            self._grpc.add_insecure_port(f"127.0.0.1:{self.port + 1}")
            self._grpc.start()

    def stop(self) -> None:
        if self._grpc is not None:
            self._grpc.stop(grace=None).wait()
        self._http.shutdown()
        self._http.server_close()
        self._http_thread.join()

    def refuse(self, times: int, status: int, reason: str = "the server says no") -> None:
        self._refusals += [Refusal(status, reason)] * times

    def names(self) -> list[str]:
        return [call.name for call in self.calls]

    def serve(self, name: str, protocol: str, key: str | None, collection: str, **arguments: Any) -> Any:
        """The answer to one request."""
        if self._api_key is not None and key != self._api_key:
            raise Refusal(401, "Must provide an API key or an Authorization bearer token" if not key else "Invalid key")
        call = Call(name, protocol, collection, arguments)
        self.calls.append(call)
        self.before(call)
        if self._refusals:
            raise self._refusals.pop(0)
        with self._lock:
            try:
                return getattr(self, f"_{name}")(collection, **arguments)
            except ValueError as error:
                if "not found" in str(error):
                    raise Refusal(404, f"Not found: Collection `{collection}` doesn't exist!") from error
                raise Refusal(409 if "already exists" in str(error) else 400, f"Wrong input: {error}") from error

    def _drop(self, collection: str) -> bool:
        return self._engine.delete_collection(collection)

    def _exists(self, collection: str) -> bool:
        return self._engine.collection_exists(collection)

    def _info(self, collection: str) -> models.CollectionInfo:
        info = self._engine.get_collection(collection)
        return info.model_copy(update={"payload_schema": dict(self._indexes.get(collection, {}))})

    def _create(self, collection: str, request: models.CreateCollection) -> bool:
        return self._engine.create_collection(
            collection,
            vectors_config=request.vectors,
            sparse_vectors_config=request.sparse_vectors,
            metadata=request.metadata,
        )

    def _list(self, collection: str) -> list[str]:
        return [each.name for each in self._engine.get_collections().collections]

    def _aliases(self, collection: str) -> list[models.AliasDescription]:
        return self._engine.get_aliases().aliases

    def _point_aliases(self, collection: str, operations: list[Any]) -> bool:
        return self._engine.update_collection_aliases(operations)

    def _index(
        self, collection: str, field: str, kind: models.PayloadSchemaType, params: models.KeywordIndexParams | None
    ) -> models.UpdateResult:
        schema = models.PayloadIndexInfo(data_type=kind, params=params, points=0)
        self._indexes.setdefault(collection, {})[field] = schema
        return _DONE

    def _upsert(
        self, collection: str, points: list[models.PointStruct], update_filter: models.Filter | None
    ) -> models.UpdateResult:
        return self._engine.upsert(collection, points, update_filter=update_filter)

    def _set_payload(self, collection: str, payload: dict[str, Any], where: models.Filter) -> models.UpdateResult:
        return self._engine.set_payload(collection, payload, where)

    def _delete(self, collection: str, where: models.Filter) -> models.UpdateResult:
        return self._engine.delete(collection, where)

    def _count(self, collection: str, where: models.Filter | None) -> int:
        return self._engine.count(collection, where).count

    def _facet(self, collection: str, field: str, limit: int) -> models.FacetResponse:
        return self._engine.facet(collection, field, limit=limit)

    def _scroll(self, collection: str, request: models.ScrollRequest) -> tuple[list[models.Record], Any]:
        return self._engine.scroll(
            collection,
            scroll_filter=request.filter,
            limit=request.limit or 10,
            offset=request.offset,
            with_payload=True if request.with_payload is None else request.with_payload,
            with_vectors=request.with_vector or False,
        )

    def _query(self, collection: str, requests: list[models.QueryRequest]) -> list[models.QueryResponse]:
        return self._engine.query_batch_points(collection, [_without_params(each) for each in requests])


@contextmanager
def qdrant_server(*, api_key: str | None = None, version: str = "1.19.1", grpc: bool = True) -> Iterator[QdrantServer]:
    server = QdrantServer(api_key, version, grpc)
    try:
        yield server
    finally:
        server.stop()


def _without_params(request: Any) -> Any:
    """The engine is always exact, and warns when it is told to be."""
    prefetch = request.prefetch
    if prefetch is not None:
        prefetch = [each.model_copy(update={"params": None}) for each in prefetch]
    return request.model_copy(update={"params": None, "prefetch": prefetch})


def two_free_ports() -> int:
    """A port that is free together with the next one."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no two neighbouring ports are free")


# HTTP

_PATH = re.compile(r"/collections/([^/]+)(/.*)?")
_OF_ALL = {"/collections": "list", "/aliases": "aliases"}


def _read_http(method: str, rest: str, body: Any) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of a request below /collections/NAME."""

    def where() -> Any:
        return models.Filter.model_validate(body["filter"]) if body.get("filter") else None

    match method, rest:
        case "POST", "/aliases":
            return "point_aliases", {"operations": models.ChangeAliasesOperation.model_validate(body).actions}
        case "GET", "":
            return "info", {}
        case "GET", "/exists":
            return "exists", {}
        case "PUT", "":
            return "create", {"request": models.CreateCollection.model_validate(body)}
        case "DELETE", "":
            return "drop", {}
        case "PUT", "/index":
            return "index", {"field": body["field_name"], **_index_kind(body["field_schema"])}
        case "PUT", "/points":
            points = models.PointsList.model_validate(body)
            return "upsert", {"points": points.points, "update_filter": points.update_filter}
        case "POST", "/points/payload":
            return "set_payload", {"payload": body["payload"], "where": where()}
        case "POST", "/points/delete":
            return "delete", {"where": where()}
        case "POST", "/points/count":
            return "count", {"where": where()}
        case "POST", "/facet":
            return "facet", {"field": body["key"], "limit": body["limit"]}
        case "POST", "/points/scroll":
            return "scroll", {"request": models.ScrollRequest.model_validate(body)}
        case "POST", "/points/query/batch":
            return "query", {"requests": models.QueryRequestBatch.model_validate(body).searches}
    raise Refusal(404, f"no {method} {rest}")


def _index_kind(schema: Any) -> dict[str, Any]:
    """A field's schema is the name of its kind, or parameters with the name in them."""
    if isinstance(schema, str):
        return {"kind": models.PayloadSchemaType(schema), "params": None}
    params = models.KeywordIndexParams.model_validate(schema)
    return {"kind": models.PayloadSchemaType(params.type.value), "params": params}


def _written_http(name: str, answer: Any) -> Any:
    match name:
        case "exists":
            return {"exists": answer}
        case "count":
            return {"count": answer}
        case "list":
            return {"collections": [{"name": each} for each in answer]}
        case "aliases":
            return {"aliases": _plain(answer)}
        case "scroll":
            return {"points": _plain(answer[0]), "next_page_offset": answer[1]}
    return _plain(answer)


def _plain(answer: Any) -> Any:
    return TypeAdapter(Any).dump_python(answer, mode="json")


def _handler(server: QdrantServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self._send(200, {"title": "qdrant - vector search engine", "version": server.version})
            else:
                self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            try:
                path = self.path.split("?")[0]
                found = _PATH.fullmatch(path)
                collection, rest = (found[1], found[2] or "") if found else ("", "")
                if (collection, rest) == ("aliases", ""):  # a path of its own, though it looks like a collection's
                    collection, rest = "", "/aliases"
                arguments: dict[str, Any] = {}
                if path in _OF_ALL:
                    name = _OF_ALL[path]
                elif found is None:
                    raise Refusal(404, "no such path")
                else:
                    name, arguments = _read_http(self.command, rest, body)
                answer = server.serve(name, "http", self.headers.get("api-key"), collection, **arguments)
            except Refusal as refusal:
                self._send(refusal.status, {"status": {"error": refusal.reason}, "time": 0})
            else:
                self._send(200, {"result": _written_http(name, answer), "status": "ok", "time": 0})

        def _send(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


# gRPC


class _Service:
    def __init__(self, server: QdrantServer) -> None:
        self._server = server

    def _serve(self, name: str, message: Any, context: Any, **arguments: Any) -> Any:
        key = dict(context.invocation_metadata()).get("api-key")
        try:
            collection = getattr(message, "collection_name", "")
            return self._server.serve(name, "grpc", key, collection, **arguments)
        except Refusal as refusal:
            context.abort(_CODES[refusal.status], refusal.reason)


class _Health(_Service, wire.QdrantServicer):
    def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's name, as below
        return wire.HealthCheckReply(title="qdrant - vector search engine", version=self._server.grpc_version)


class _Collections(_Service, wire.CollectionsServicer):
    def CollectionExists(self, request: Any, context: Any) -> Any:  # noqa: N802
        exists = self._serve("exists", request, context)
        return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=exists))

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        names = self._serve("list", request, context)
        return wire.ListCollectionsResponse(collections=[wire.CollectionDescription(name=name) for name in names])

    def ListAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._serve("aliases", request, context)
        return wire.ListAliasesResponse(
            aliases=[wire.AliasDescription(alias_name=a.alias_name, collection_name=a.collection_name) for a in found]
        )

    def UpdateAliases(self, request: Any, context: Any) -> Any:  # noqa: N802
        operations = [GrpcToRest.convert_alias_operations(action) for action in request.actions]
        done = self._serve("point_aliases", request, context, operations=operations)
        return wire.CollectionOperationResponse(result=done)

    def Get(self, request: Any, context: Any) -> Any:  # noqa: N802
        info = self._serve("info", request, context)
        return wire.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(info))

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        read = models.CreateCollection(
            vectors=GrpcToRest.convert_vectors_config(request.vectors_config),
            sparse_vectors=GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config),
            quantization_config=GrpcToRest.convert_quantization_config(request.quantization_config)
            if request.HasField("quantization_config")
            else None,
            shard_number=request.shard_number,
            metadata=GrpcToRest.convert_payload(request.metadata),
        )
        return wire.CollectionOperationResponse(result=self._serve("create", request, context, request=read))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        return wire.CollectionOperationResponse(result=self._serve("drop", request, context))


class _Points(_Service, wire.PointsServicer):
    def CreateFieldIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        kinds = {
            wire.FieldType.FieldTypeKeyword: models.PayloadSchemaType.KEYWORD,
            wire.FieldType.FieldTypeInteger: models.PayloadSchemaType.INTEGER,
            wire.FieldType.FieldTypeFloat: models.PayloadSchemaType.FLOAT,
        }
        kind = kinds[request.field_type]
        params = None
        if request.HasField("field_index_params"):
            params = GrpcToRest.convert_payload_schema_params(request.field_index_params)
        return _updated(self._serve("index", request, context, field=request.field_name, kind=kind, params=params))

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        update_filter = GrpcToRest.convert_filter(request.update_filter) if request.HasField("update_filter") else None
        return _updated(self._serve("upsert", request, context, points=points, update_filter=update_filter))

    def SetPayload(self, request: Any, context: Any) -> Any:  # noqa: N802
        where = GrpcToRest.convert_filter(request.points_selector.filter)
        payload = GrpcToRest.convert_payload(request.payload)
        return _updated(self._serve("set_payload", request, context, payload=payload, where=where))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        where = GrpcToRest.convert_filter(request.points.filter)
        return _updated(self._serve("delete", request, context, where=where))

    def Count(self, request: Any, context: Any) -> Any:  # noqa: N802
        count = self._serve("count", request, context, where=GrpcToRest.convert_filter(request.filter))
        return wire.CountResponse(result=wire.CountResult(count=count))

    def Scroll(self, request: Any, context: Any) -> Any:  # noqa: N802
        read = models.ScrollRequest(
            filter=GrpcToRest.convert_filter(request.filter),
            limit=request.limit,
            offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
            with_payload=GrpcToRest.convert_with_payload_interface(request.with_payload),
            with_vector=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
        )
        records, following = self._serve("scroll", request, context, request=read)
        return wire.ScrollResponse(
            result=[RestToGrpc.convert_retrieved_point(record) for record in records],
            next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following),
        )

    def Facet(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self._serve("facet", request, context, field=request.key, limit=request.limit)
        hits = [wire.FacetHit(value=wire.FacetValue(string_value=hit.value), count=hit.count) for hit in found.hits]
        return wire.FacetResponse(hits=hits)

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        requests = [GrpcToRest.convert_query_points(each) for each in request.query_points]
        answers = self._serve("query", request, context, requests=requests)
        return wire.QueryBatchResponse(
            result=[
                wire.BatchResult(result=[RestToGrpc.convert_scored_point(point) for point in answer.points])
                for answer in answers
            ]
        )


def _updated(result: models.UpdateResult) -> Any:
    status = wire.UpdateStatus.Completed
    return wire.PointsOperationResponse(result=wire.UpdateResult(operation_id=result.operation_id, status=status))
