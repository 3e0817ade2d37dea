"""The program of the process in which a jq path runs: one request on stdin, one answer on stdout, and hard limits."""

from __future__ import annotations

import json
import sys

_CPU_SECONDS = 1
_MEMORY = 256 * 2**20
# A key of a ConfigMap holds at most 1 MiB, with all others.
_OUTPUT = 256 * 2**10


def main() -> None:
    import jq

    request = json.loads(sys.stdin.buffer.read())
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        value = next(iter(jq.compile(request["path"]).input_value(request["document"])), None)
    except ValueError as error:
        answer = json.dumps({"error": str(error)[:_OUTPUT]})
    else:
        answer = json.dumps({"value": value})
        if len(answer) > _OUTPUT:
            answer = json.dumps({"error": f"gives more than {_OUTPUT // 1024} KiB"})
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()
