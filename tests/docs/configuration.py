"""docs/configuration.md from the table of flags: python -m tests.docs.configuration > docs/configuration.md"""

from __future__ import annotations

import sys
from itertools import groupby

from sagemaker_operator.cli.flags import default_text
from sagemaker_operator.cli.options import OPTIONS

_INTRODUCTION = """\
# Configuration

For operators of the process: every flag of `sagemaker-operator run`, as `sagemaker-operator run --help` prints them.

Each setting is a flag, an environment variable `SAGEMAKER_OPERATOR_<FLAG>` (`--watch-namespace` is
`SAGEMAKER_OPERATOR_WATCH_NAMESPACE`), the variable of ACK's chart, or a key in the file that `--config` (or
`SAGEMAKER_OPERATOR_CONFIG`) names. Flags take precedence over the environment, and the environment over the file.
Settings are read at the start only. An empty value counts as unset; an unknown name is an error that suggests the nearest one.

Items of a list are separated by commas, or the flag is repeated; an item that contains a comma is put into double quotes. A file is
YAML or JSON with the flags as keys:

```yaml
aws-region: eu-west-1
watch-namespace: [team-a, team-b]
resource-tags: {team: data science}
reconcile-resource-resync-seconds: {Endpoint: 600}
feature-gates: {TeamLevelCARM: true}
```

In a cluster, put the file into a ConfigMap, mount it, and set `args: [run, --config, /etc/sagemaker-operator/config.yaml]`.

All of ACK's flags exist. [Defaults that differ](ack-compatibility.md#flags): leader election is on, a kind has 16 workers
instead of one, and `--http-client-timeout` is 20 s instead of 60 s. The image also has ACK's program (`./bin/controller`), so
ACK's Deployment runs with only its image changed, if its service account gets `manifests/rbac.yaml`: ACK's default role does
not include leases and Events.
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
