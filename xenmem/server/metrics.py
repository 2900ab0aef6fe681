"""The text of /metrics, as Prometheus reads it. Names of messages and codes only: nothing that clients can make up."""

from collections.abc import Iterable, Iterator

from xenmem.server.http import Traffic
from xenmem.server.rpc import Endpoint

Sample = tuple[dict[str, str], float]


def text(traffic: Traffic, endpoints: Iterable[tuple[str, Endpoint]]) -> str:
    """What is counted.

    Parameters
    ----------
    traffic : of the server
    endpoints : by the uuid of the pool
    """
    served = list(endpoints)
    families: list[tuple[str, str, str, list[Sample]]] = [
        ("xenmem_connections", "gauge", "Open connections.", [({}, len(traffic.connections))]),
        (
            "xenmem_http_answers_total",
            "counter",
            "Answers by HTTP status.",
            [({"status": str(status)}, count) for status, count in sorted(traffic.answers.items())],
        ),
        (
            "xenmem_messages_total",
            "counter",
            "Messages by their name and how they ended.",
            [
                ({"pool": pool, "message": message, "result": result}, count)
                for pool, endpoint in served
                for (message, result), count in sorted(endpoint.counts.items())
            ],
        ),
        (
            "xenmem_waiting_clients",
            "gauge",
            "Clients that wait for events.",
            [({"pool": pool}, len(endpoint.hub)) for pool, endpoint in served],
        ),
        (
            "xenmem_sessions",
            "gauge",
            "Sessions that are logged in.",
            [({"pool": pool}, len(endpoint.pool.database.session)) for pool, endpoint in served],
        ),
        (
            "xenmem_generation",
            "counter",
            "Changes of the database.",
            [({"pool": pool}, endpoint.pool.database.generation) for pool, endpoint in served],
        ),
    ]
    return "".join(_lines(families))


def _lines(families: Iterable[tuple[str, str, str, list[Sample]]]) -> Iterator[str]:
    for name, kind, about, samples in families:
        yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
        for labels, value in samples:
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{name}{{{shown}}} {value:g}\n" if shown else f"{name} {value:g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
