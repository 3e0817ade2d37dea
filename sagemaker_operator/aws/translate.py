from __future__ import annotations
from sagemaker_operator.clock import rfc3339, parse_rfc3339
from sagemaker_operator.errors import OperatorError
from sagemaker_operator.kinds.naming import member_names, field_name
class TranslationError(OperatorError): pass
def to_api(shape, value, *, path="spec"):
    t=shape.type_name
    if t=="structure":
        names=member_names(shape)
        out={}
        for k,v in value.items():
            if k not in names: raise TranslationError(f"{path}.{k}: unknown field")
            out[names[k]]=to_api(shape.members[names[k]], v, path=f"{path}.{k}")
        return out
    if t=="list": return [to_api(shape.member,v,path=f"{path}[{i}]") for i,v in enumerate(value)]
    if t=="map": return {k:to_api(shape.value,v,path=path) for k,v in value.items()}
    if t=="timestamp": return parse_rfc3339(value)
    return value
def to_field(shape, value):
    t=shape.type_name
    if t=="structure": return {field_name(k): to_field(shape.members[k],v) for k,v in value.items() if k in shape.members and v is not None}
    if t=="list": return [to_field(shape.member,v) for v in value]
    if t=="map": return {k:to_field(shape.value,v) for k,v in value.items()}
    if t=="timestamp": return rfc3339(value)
    return value
