"""A profile's hooks: the two places where a site may put Python of its own, for what rows cannot say.

    # profiles/NAME/hooks.py
    def before(message): ...      # a Message in, a Message out, or None for "as it is": `edited(message, lines)`
    def after(conversion): ...    # a Conversion in, a Conversion out, or None: `dataclasses.replace(conversion, …)`

Both must be functions of their argument alone: the same message is converted again by replay, by `map diff` and by a
second child, and must become the same. They run in the conversion child, without keys, store or network of ours;
`before` also at receipt, where the patients of a message are named. A hook that fails, or gives back something else,
costs its message (`hook-failed`, quarantined), not the feed. Layers run theirs in order, the most general first.

Source: design chapter HL7 v2 §3 (overlays), §12.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from mappings.errors import MappingError
from mappings.hl7v2.message import Message

FILE = "hooks.py"
NAMES = ("before", "after")

T = TypeVar("T")


class HookFailed(MappingError):
    """A hook raised, or gave back what is no message or conversion. Names the profile and the hook, no content."""

    code = "hook-failed"


class HookFault(MappingError):
    """A hooks file that cannot be loaded."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One function of one layer."""

    layer: str  # the profile folder's name
    name: str
    call: Callable[[Any], Any]

    def __call__(self, value: T, kind: type[T]) -> T:
        try:
            found = self.call(value)
        except Exception as exc:  # the site's code may raise anything; its text may hold content, so the type alone
            raise HookFailed(f"hook-failed: {self.layer}/{FILE}: {self.name} raised {type(exc).__name__}") from exc
        if found is None:
            return value
        if not isinstance(found, kind):
            raise HookFailed(f"hook-failed: {self.layer}/{FILE}: {self.name} gave back no {kind.__name__}")
        return found


@dataclass(frozen=True, slots=True)
class Hooks:
    """Those of all layers. `digest` is "" where there is none."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    digest: str = ""

    def read(self, message: Message) -> Message:
        """The message as the hooks leave it. Raises HookFailed."""
        for hook in self.before:
            message = hook(message, Message)
        return message


NO_HOOKS = Hooks()


def load(folders: Sequence[Path]) -> Hooks:
    """The hooks of a profile's layers. Raises HookFault for a file that cannot be read or offers anything else."""
    found: dict[str, list[Hook]] = {name: [] for name in NAMES}
    digest = hashlib.sha256()
    for folder in folders:
        if (file := folder / FILE).is_file():
            source = file.read_bytes()
            digest.update(source)
            for hook in _hooks(folder.name, source):
                found[hook.name].append(hook)
    if not any(found.values()):
        return NO_HOOKS
    return Hooks(tuple(found["before"]), tuple(found["after"]), digest.hexdigest())


def _hooks(layer: str, source: bytes) -> list[Hook]:
    scope: dict[str, Any] = {"__name__": f"chartbridge_hooks_{layer}"}
    try:
        code: CodeType = compile(source, f"{layer}/{FILE}", "exec", dont_inherit=True)
        exec(code, scope)  # noqa: S102 - the site's own code, which its administrator put into the profile
    except Exception as exc:  # whatever a module may do while it is loaded
        raise HookFault(f"{layer}/{FILE}: cannot be loaded: {type(exc).__name__}: {exc}") from exc
    hooks = [Hook(layer, name, scope[name]) for name in NAMES if callable(scope.get(name))]
    if not hooks:
        raise HookFault(f"{layer}/{FILE}: offers neither {' nor '.join(NAMES)}")
    return hooks
