"""Stores: adapters of rag.ports.PassageStore, and the schema they share."""
