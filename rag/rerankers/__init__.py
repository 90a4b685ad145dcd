"""Second looks at the best passages: each reranker is one file and fulfils `rag.ports.Reranker`."""
