"""CEL rules: constraints that a schema cannot express."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sagemaker_operator.kinds.descriptor import Kind

Rule = dict[str, str]

# Reserved in CEL; in Kubernetes a rule writes a field of that name __like__ this.
_RESERVED = frozenset(
    {
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    }
)

# A ternary, because cel-python evaluates both sides of ||: a write of the status takes 1 ms in the sandbox, instead of 14.
_FROZEN = """\
!has(self.spec) || !has(oldSelf.spec) || self.spec == oldSelf.spec
? true
: !has(self.status) || !has(self.status.ackResourceMetadata) || !has(self.status.ackResourceMetadata.arn)
? true
: has(self.status.conditions) && self.status.conditions.exists(c, c.status == 'True' &&
  (c.type == 'ACK.Terminal' || (c.type == 'ACK.Advisory' && has(c.reason) && c.reason == 'Differs')))
? true
: """
# With --write-late-init, the operator fills these once SageMaker returns them; this condition is False until then.
_NOT_YET_FILLED = """\
has(self.status.conditions) && self.status.conditions.exists(c, c.type == 'ACK.LateInitialized' && c.status == 'False')
? true
: """


def one_of(fields: Sequence[str]) -> Rule:
    """Exactly one of these fields of one structure must be set."""
    present = ", ".join(f"has(self.{_identifier(field)})" for field in fields)
    return {
        "rule": f"[{present}].exists_one(set, set)",
        "message": f"exactly one of {', '.join(fields)} must be set",
    }


def not_both(field: str, other: str) -> Rule:
    """At most one of two fields of one structure may be set."""
    return {
        "rule": f"!has(self.{_identifier(field)}) || !has(self.{_identifier(other)})",
        "message": f"{field} and {other} cannot both be set",
    }


def frozen(kind: Kind, fields: Sequence[str]) -> Rule:
    """Fields of spec that no update can change, by their paths (`resourceConfig.instanceType`). A rule on the whole object.

    It applies once SageMaker has accepted the resource, so that a rejected spec can be corrected. It does not apply
    while the object is terminal, so that an edit which was stored before this rule was installed can be reverted,
    while a read-only object is reported to differ, so that it can be corrected, and while fields wait for SageMaker's
    defaults. One rule for all fields, because a real server and the sandbox run it at every write of the status.
    """
    same = {field: _same(field) for field in fields}
    changed = [f"({unchanged} ? '' : ' spec.{field}')" for field, unchanged in same.items()]
    who = f"of an existing {kind.name}; delete it and create another"
    return {
        "rule": _FROZEN + (_NOT_YET_FILLED if kind.late_init else "") + " &&\n".join(same.values()),
        "message": f"SageMaker cannot change this {who}",
        "messageExpression": "'SageMaker cannot change' +\n" + " +\n".join(changed) + f" +\n' {who}'",
        "reason": "FieldValueForbidden",
        "fieldPath": ".spec",
    }


def _same(path: str) -> str:
    identifiers = [_identifier(field) for field in path.split(".")]
    new, old = ".".join(("self.spec", *identifiers)), ".".join(("oldSelf.spec", *identifiers))
    was = _present("oldSelf.spec", identifiers)
    still_absent = f"!{was}" if len(identifiers) == 1 else f"!({was})"
    return f"({_present('self.spec', identifiers)} ? {was} && {new} == {old} : {still_absent})"


def _present(root: str, identifiers: Sequence[str]) -> str:
    """has() of every part of the path: a field inside an optional one may be tested only if that is set."""
    return " && ".join(f"has({'.'.join((root, *identifiers[:depth]))})" for depth in range(1, len(identifiers) + 1))


def _identifier(field: str) -> str:
    return f"__{field}__" if field in _RESERVED else field
