"""What `ledger/` raises, and nothing else.

- LedgerError
    - AppendFailed: no receipt; a retry, under the same ids, may help
    - BasisEnded: an entry rests on something that has ended, or on an older epoch; decide again
    - ConflictError: the same id with another event, or an ending of what has ended
    - EntryError: an event or entry outside the grammar (ledger chapter §2)
    - StorageError: a database of ours refused, failed or is away; a retry may help
    - VerificationError: a signature, proof, root or opening that does not hold
    - IntegrityError: the store does not hold what its last checkpoint says
"""


class LedgerError(Exception):
    """The root. Messages name references and sizes, never a person."""


class AppendFailed(LedgerError):
    """Nothing was appended; or, where a database server was lost while it committed, nobody can tell. The same ids
    again then give the receipts of what was."""


class BasisEnded(LedgerError):
    """A required reference has ended, lapsed, or its subject has a newer epoch; `refs` lists which."""

    def __init__(self, refs: tuple[str, ...]) -> None:
        super().__init__(f"basis ended: {', '.join(refs)}")
        self.refs = refs


class ConflictError(LedgerError):
    """An id is taken by another event, or a reference has been ended before."""


class EntryError(LedgerError):
    """An event or entry outside the grammar."""


class StorageError(LedgerError):
    """A log or vault that cannot be used now; the cause is chained."""


class VerificationError(LedgerError):
    """A signature, proof, root or opening does not hold."""


class IntegrityError(LedgerError):
    """The stored log contradicts itself or its last checkpoint."""
