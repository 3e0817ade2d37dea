"""docs/configuration.md from the table of flags: python -m tests.docs.configuration > docs/configuration.md"""

from __future__ import annotations

import sys
from itertools import groupby

from sagemaker_operator.cli.flags import default_text
from sagemaker_operator.cli.options import OPTIONS

_INTRODUCTION = """\
# Configuration

`sagemaker-operator run` takes each setting as a flag, as the environment variable `SAGEMAKER_OPERATOR_<FLAG>`
(`--watch-namespace` is `SAGEMAKER_OPERATOR_WATCH_NAMESPACE`), under the name that ACK's chart gives the variable, or from the
file that `--config` (or `SAGEMAKER_OPERATOR_CONFIG`) names. A flag wins over the environment, and the environment over the
file. Settings are read once: a change is a restart. An empty value counts as none; a name that does not exist ends the start
with the nearest one that does.

Lists have commas between their items, and their flags may be repeated; an item that has a comma itself is put into double
quotes. A file is YAML or JSON with the flags as keys:

```yaml
aws-region: eu-west-1
watch-namespace: [team-a, team-b]
resource-tags: {team: data science}
reconcile-resource-resync-seconds: {Endpoint: 600}
feature-gates: {TeamLevelCARM: true}
```

In a cluster put it into a ConfigMap, mount that, and set `args: [run, --config, /etc/sagemaker-operator/config.yaml]`.

All of ACK's flags are here. What [differs](ack-compatibility.md#flags): the leader is elected by default, a kind has 16
workers, not one, and `--http-client-timeout` is 20 s, not 60 s. The image has ACK's program too (`./bin/controller`), so that
ACK's Deployment runs with nothing but its image changed, if its service account gets `manifests/rbac.yaml`: leases and events
are beyond ACK's default role.
"""


def document() -> str:
    parts = [_INTRODUCTION]
    for group, options in groupby(OPTIONS, lambda option: option.group):
        parts.append(f"\n## {group.value}\n\n| flag | what | default | ACK's variable |\n|---|---|---|---|\n")
        for option in options:
            default = default_text(option)
            shown = f"`{default.replace(',', ', ')}`" if default else ""
            variable = f"`{option.ack_env}`" if option.ack_env else ""
            parts.append(f"| `{option.flag}` | {option.help} | {shown} | {variable} |\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(document())
