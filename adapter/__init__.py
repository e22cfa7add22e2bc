"""The shell around the pure core: edges, sealing, store, access, API and command line."""

__version__ = "0.1.0"
