"""When what is stored was last said: the event times that decide which statement is late.

One small record a resource, sealed under its owner's body key: times of events are health data, unlike the time of a
commit. The axes are `mappings/merge.py`'s; `feed` is who said it last, `scope` (a row's number) what a snapshot of that
feed last listed it under: what a later one no longer lists is ended.
Source: hl7v2 chapter §8 "Order of statements".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from adapter.seal.envelope import NONCE_BYTES, seal_record, unseal_record
from adapter.seal.kek import Entropy
from adapter.seal.keyring import Keyring, OwnerKeys
from adapter.store.names import Known

KIND = "clock"


@dataclass(frozen=True, slots=True)
class Clock:
    """Axis → event time; the feed; the snapshot."""

    axes: Mapping[str, str] = field(default_factory=dict)
    feed: str = ""
    scope: int = 0


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(Clock).decode


def open_clock(keyring: Keyring, org: str, known: Known) -> Clock:
    """What is stored; an empty one where nothing is. Raises NeedKeys."""
    if known.clock is None:
        return Clock()
    return _decode(unseal_record(keyring.owner(known.owner), org, KIND, known.fid, known.clock))


def seal_clock(keys: OwnerKeys, fid: bytes, clock: Clock, entropy: Entropy) -> bytes:
    return seal_record(keys, keys.org, KIND, fid, _encode(clock), entropy(NONCE_BYTES))
