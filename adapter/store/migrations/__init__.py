"""Alembic migrations of the data store; run by `adapter/store/engine.py`, never at import."""
