"""Argo CD's built-in health check for ACK's resources, as an oracle: its rule, evaluated with a Lua interpreter as Argo does.

The first condition that decides, in the order of the list: ACK.Terminal=True is Degraded, Ready=False is Progressing, Ready=True is
Healthy. Written from that description, not copied.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from lupa import LuaRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_RULE = """
function (obj)
  local conditions = obj.status and obj.status.conditions or {}
  for _, condition in ipairs(conditions) do
    if condition.type == "ACK.Terminal" and condition.status == "True" then
      return "Degraded", condition.message
    end
    if condition.type == "Ready" and condition.status == "False" then
      return "Progressing", condition.message
    end
    if condition.type == "Ready" and condition.status == "True" then
      return "Healthy", condition.message
    end
  end
  return "Progressing", "waiting for the controller"
end
"""


@cache
def _lua() -> tuple[LuaRuntime, Callable[[Any], tuple[str, str | None]]]:
    lua = LuaRuntime(unpack_returned_tuples=True)
    return lua, lua.eval(_RULE)


def health(status: Mapping[str, Any]) -> str:
    """Healthy, Progressing or Degraded."""
    lua, rule = _lua()
    conditions = lua.table_from([lua.table_from(dict(condition)) for condition in status.get("conditions", ())])
    return rule(lua.table_from({"status": lua.table_from({"conditions": conditions})}))[0]
